"""What every page stands in: style, header, messages; and every error as a sentence."""

import argparse
import functools
import html
import io
from collections.abc import Callable

import streamlit as st
from PIL import Image
from streamlit.delta_generator import DeltaGenerator

from common.errors import UserError
from common.files import ROOT
from common.text import count_of, printable
from evaluation.released_model import unseen_figures
from inspection.model_file import ModelFile, cautions, restriction
from inspection.options import checked_band
from inspection.predictor import Predictor
from inspection.recording import plain
from page.desk import Desk, DeskKeeper
from page.log import PageLog
from page.samples import GOOD, sample_part
from page.words import escape_markdown

PRODUCT = "Casting inspection"
STYLE = (ROOT / "page" / "style.css").read_text(encoding="utf-8")
# In a narrow window, unless the browser says that it is a phone's, Streamlit leaves its menu open
# over the page that was chosen in it. It closes it when somebody presses beside it: as this does.
MENU_SCRIPT = """
if (!window.closesMenu) {
  window.closesMenu = true;
  const press = () => document.querySelector('[data-testid="stMain"]')
    .dispatchEvent(new MouseEvent("mousedown", { bubbles: true }));
  document.addEventListener("click", (event) => {
    if (event.target.closest('[data-testid="stSidebarNavLink"]')) setTimeout(press);
  });
}
"""
SCROLL_SCRIPT = """
document.querySelector('[data-testid="stMain"]')?.scrollTo({ top: 0 }); // %d
"""
# In the session: the place for messages in this run of the page, and those of what was clicked
MESSAGES, STORED, REFUSED = "messages", "stored", "refused"
SCROLLED = "scrolled up"  # how often


def set_up(options: argparse.Namespace) -> None:
    """The options of app.py; title, width and style of every page."""
    st.session_state["options"] = options
    # An image: Streamlit fetches icons for a browser's tab from another host
    st.set_page_config(PRODUCT, _icon(), layout="wide")
    st.html(f"<style>{STYLE}</style>")
    with st.container(key="menu_script"):
        st.html(f"<script>{MENU_SCRIPT}</script>", unsafe_allow_javascript=True)


@st.cache_data
def _icon() -> Image.Image:
    return Image.open(io.BytesIO(sample_part(GOOD, 1))).resize((64, 64))


def framed(show: Callable[[Desk], None]) -> Callable[[], None]:
    """A page under the header; what the disk or a person can cause becomes a sentence there."""

    @functools.wraps(show)
    def told() -> None:
        head = st.empty()
        st.session_state[MESSAGES] = st.container()
        head.html(header_html(restriction="", lines=[]))
        try:
            desk = open_desk()
            show_header(head, desk)
            show(desk)
        except UserError as error:
            tell_error(str(error))
        except OSError as error:  # a disk, or a folder that has changed meanwhile
            where = f"{error.filename}: " if error.filename else ""
            tell_error(f"{where}{error.strerror or error}")
        finally:  # a script runs once, when it is another one than before
            times = st.session_state.get(SCROLLED, 0)
            with st.container(key="scroll_script"):
                st.html(f"<script>{SCROLL_SCRIPT % times}</script>", unsafe_allow_javascript=True)

    return told


# --- messages ------------------------------------------------------------------------------------


def messages() -> DeltaGenerator:
    """The place for messages, below the header, wherever in the page they come from."""
    return st.session_state[MESSAGES]


def tell_error(text: str) -> None:
    """What went wrong, as it is written."""
    messages().error(escape_markdown(text), icon=":material/error:")


def tell_warning(text: str) -> None:
    """What a person has to know, as it is written."""
    messages().warning(escape_markdown(text), icon=":material/warning:")


def scroll_up() -> None:
    """Bring what is told and found above the fold, once this run of the page ends."""
    st.session_state[SCROLLED] = st.session_state.get(SCROLLED, 0) + 1


# --- the desk ------------------------------------------------------------------------------------


def open_desk() -> Desk:
    """The desk; without a model a sentence takes the page's place.

    Raises:
        UserError: an option is wrong.
    """
    options = st.session_state["options"]
    checked_band(options.review)
    try:
        keeper = _keeper(options, str(vars(options)))
    except UserError as error:
        tell_error(f"There is no model to inspect with yet: {error}")
        st.markdown("`make demo` makes a small one in 3 to 5 minutes; then reload this page.")
        st.stop()
    desk = keeper.desk()
    if stored := st.session_state.pop(STORED, None):
        st.toast(escape_markdown(stored), icon=":material/check:")
    if refused := st.session_state.pop(REFUSED, None):
        tell_error(refused)
    for doubt in filter(None, (*cautions(desk.predictor), keeper.refusal)):
        tell_warning(f"{doubt[0].upper()}{doubt[1:]}.")
    return desk


@st.cache_resource(max_entries=1, show_spinner="loading the model")
def _keeper(_options, as_text: str) -> DeskKeeper:
    """Once for all visitors; from then on the desk follows the model's file."""
    places = (plain(_options.station), plain(_options.lot))
    return DeskKeeper(ModelFile.of(_options), PageLog(_options.log), *places)


# --- the header ----------------------------------------------------------------------------------


def show_header(place: DeltaGenerator, desk: Desk) -> None:
    """What inspects here, where it is recorded, and what it may be used for."""
    lines = [model_text(desk.predictor), log_text(desk.log)]
    place.html(header_html(restriction(desk.predictor.checkpoint), lines))


def header_html(restriction: str, lines: list[str]) -> str:
    """The product's name, and lines of text below it."""
    only = f'<span class="only">{html.escape(restriction)}</span>' if restriction else ""
    facts = "".join(f"<span>{html.escape(line)}</span>" for line in lines)
    return f'<header class="head"><h1>{PRODUCT}</h1>{only}<p>{facts}</p></header>'


def model_text(predictor: Predictor) -> str:
    """'Model 0f3a91bc22d4, trained on castings, photo sessions dark and light'."""
    text = f"Model {predictor.model_id}, trained on {printable(predictor.checkpoint.data)}"
    sessions = _sessions(predictor, predictor.sha256)
    return f"{text}, photo sessions {' and '.join(sessions)}" if sessions else text


@st.cache_data(max_entries=4, show_spinner=False)
def _sessions(_predictor: Predictor, sha256: str) -> list[str]:
    unseen = unseen_figures(_predictor.checkpoint)
    return unseen.sessions if unseen else []


def log_text(log: PageLog) -> str:
    """'Log inspections.db, 132 inspections'; or that there is none yet, or what is wrong with it.

    The page itself says the latter in full.
    """
    name = f"Log {printable(log.path.name)}"
    try:
        if not log.exists():
            return f"{name}, begins with the first part"
        return f"{name}, {count_of(log.count(), 'inspection')}"
    except (UserError, OSError):
        return f"{name}, cannot be read"
