"""The mark in every picture that we draw: found again below a folder, it is no photograph."""

from PIL.PngImagePlugin import PngInfo

SOFTWARE = "casting-inspection"
HEAD_BYTES = 4096  # of a file, in which its mark is


def own_mark() -> PngInfo:
    """For Pillow's `save(pnginfo=)`."""
    mark = PngInfo()
    mark.add_text("Software", SOFTWARE)
    return mark


def is_marked(head: bytes) -> bool:
    """Whether a file that begins so is a picture of ours."""
    text = f"tEXtSoftware\0{SOFTWARE}".encode()
    return head.startswith(b"\x89PNG") and text in head[:HEAD_BYTES]
