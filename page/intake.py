"""Part of the page Inspect: photographs from files or a camera, their station and lot, samples."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import streamlit as st

from imaging.unreadable import UnreadableImageError
from inspection.recording import MAX_IMAGE_BYTES, Part, file_name
from page.desk import Desk
from page.heic import HEIC_TYPES, readable
from page.parts import IMAGE_TYPES, ask_for_lot
from page.samples import KINDS, sample_part

FILES, CAMERA = "Files", "Camera"
LARGEST_MB = MAX_IMAGE_BYTES >> 20
SAMPLE_KIND = "sample"  # in the session
TYPES = [*IMAGE_TYPES, *HEIC_TYPES, "pdf"]  # the last to say what to do with it
KINDS_TEXT = "JPEG, PNG, HEIC, TIFF, BMP, WebP or GIF"


@dataclass(frozen=True)
class Given:
    """What a visitor asks for, as it is on the page now."""

    photographs: list  # Streamlit's uploaded files
    from_camera: bool
    station: str
    lot: str
    sample: tuple[str, int] | None  # kind and number of a rendered part

    def new_parts(self, done: set[str]) -> Iterator[tuple[str, Part | str]]:
        """Those that are not in `done`, each under Streamlit's name for it; or why it is none."""
        for file in self.photographs:
            if file.file_id not in done:
                yield file.file_id, self._part(file)

    def _part(self, file) -> Part | str:
        name = file_name(file.name)
        try:
            data = content_of(name, file)
        except UnreadableImageError as error:
            return str(error)
        if self.from_camera:
            name = f"camera {datetime.now():%Y-%m-%d %H.%M.%S}.jpg"
        return Part(name, data, self.station, self.lot)


def ask_for_parts(desk: Desk) -> Given:
    """Where photographs come from, and what the log shall say of them."""
    source = st.segmented_control(
        "Photographs from", [FILES, CAMERA], default=FILES, key="source", required=True,
        label_visibility="collapsed",
    )  # fmt: skip
    photographs = from_camera() if source == CAMERA else from_files()
    with st.container(horizontal=True, vertical_alignment="bottom"):
        station, lot = ask_for_lot(desk)
    with st.expander("Try a rendered part", icon=":material/experiment:"):
        sample = choose_sample()
    return Given(photographs, source == CAMERA, station, lot, sample)


def from_files() -> list:
    return st.file_uploader(
        f"Photographs of parts: {KINDS_TEXT}, up to {LARGEST_MB} MB each", TYPES,
        accept_multiple_files=True, key="photographs",
    )  # fmt: skip


def from_camera() -> list:
    """One photograph from the camera of the device that shows the page."""
    one = st.camera_input("Photograph of a part", key="camera", resolution="1080p")
    st.caption(
        "A browser gives its camera to pages of this machine and to https alone; elsewhere choose "
        "Files, and there the camera."
    )
    return [one] if one else []


def choose_sample() -> tuple[str, int] | None:
    """A kind and a number of a rendered part."""
    kind = st.pills("It is not recorded", KINDS, key=SAMPLE_KIND)
    number = st.session_state.setdefault("sample number", 1)
    if kind and st.button("Another", icon=":material/refresh:"):
        number = st.session_state["sample number"] = number + 1
    return (kind, number) if kind else None


@st.cache_data(max_entries=100, show_spinner="rendering")
def rendered(kind: str, number: int) -> bytes:
    """The photograph of a sample."""
    return sample_part(kind, number)


def content_of(name: str, file) -> bytes:
    """The photograph in an uploaded file.

    Raises:
        UnreadableImageError: there can be none; the message is a sentence.
    """
    if file.size > MAX_IMAGE_BYTES:
        size = f"{file.size / (1 << 20):.0f} MB"
        raise UnreadableImageError(f"{name} has {size}; a photograph may have {LARGEST_MB} MB.")
    data = file.getvalue()
    if data.startswith(b"%PDF"):
        what = f"{name} is a PDF, no photograph: save its picture as JPEG or PNG."
        raise UnreadableImageError(what)
    try:
        return readable(data)
    except UnreadableImageError as error:
        raise UnreadableImageError(
            f"{name} cannot be read: {error}. It is not inspected."
        ) from error
