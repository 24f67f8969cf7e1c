"""The one convention of class folders that every folder here relies on."""


def is_defect(label: str) -> bool:
    """Whether a class folder holds defective parts: all but those that begin with 'ok' do."""
    return not label.lower().startswith("ok")
