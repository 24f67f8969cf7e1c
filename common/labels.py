"""The one convention of class folders that every folder here relies on.

A class's name says whether it is good: it begins with 'ok' or 'good'. Where a person names the good
classes (--good), the others' and their labels are made to say so too, once, when images are listed.
"""

GOOD = ("ok", "good")
ANY_DEFECT = "defect"  # the one class of defects of a model that has learned from good parts alone


def is_defect(label: str) -> bool:
    """Whether a class holds defective parts: all but those that begin with 'ok' or 'good' do."""
    return not label.lower().startswith(GOOD)


def label_of(folder: str, good: str | None = None, good_only: bool = False) -> str:
    """The label of a class folder: its name, where that says the right thing.

    Args:
        good: the names of the good folders, with '/' in between; None: the convention tells.
        good_only: whether all defects are one class.
    """
    label = folder
    if good is not None:
        wanted = folder not in good.split("/")
        if is_defect(folder) != wanted:
            label = f"bad_{folder}" if wanted else f"ok_{folder}"
    return ANY_DEFECT if good_only and is_defect(label) else label
