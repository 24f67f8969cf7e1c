"""The page that a quality engineer keeps open: inspect, sort a batch, watch the process.

    python app.py                                            http://127.0.0.1:8501
    python app.py --review 0.2 0.8 --log /srv/inspections.db --station line3
    streamlit run app.py                                     the same with all defaults

Inspect shows the decision on a photograph and where it comes from. On Review parts wait for a
person, wherever they were inspected. Batch sorts a folder or zip file. Process charts the log,
Model says what the model is worth. Every decision is in the log (--log, see records.py)
before it is shown, the same one that serve.py, watch.py and predict.py --log write. Needs no
network. It asks nobody who they are: to open it to other machines put it behind a proxy that does
(docs/deploy.md).
"""

import argparse
import importlib
import os
import shlex
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from common.arguments import checkpoint, script_parser
from common.errors import EXIT_OK, UserError, run_script, tell
from common.files import ROOT
from common.packages import require_packages
from common.sockets import listening_socket, port
from common.threads import limit_threads
from inspection.options import add_inspection_arguments, checked_band
from traceability.clock import add_clock_arguments
from traceability.log import InspectionLog, add_log_argument, log_file, warn_of_losses

LOCAL = ("127.0.0.1", "localhost", "::1")  # as in .streamlit/config.toml
OPTIONS_VARIABLE = "CASTING_APP_OPTIONS"  # how they reach the script that Streamlit runs


def build_parser(
    model: Callable[[str], Path] = checkpoint, log: Callable[[str], Path] = log_file
) -> argparse.ArgumentParser:
    """The options of app.py; `model` reads --checkpoint, `log` reads --log."""
    parser = script_parser(__doc__)
    add_inspection_arguments(parser, model)
    add_log_argument(parser, log)
    add_clock_arguments(parser, "the browser's")
    parser.add_argument("--host", default="127.0.0.1", help="default: 127.0.0.1, this machine only")
    parser.add_argument("--port", type=port, default=8501, help="default: 8501")
    parser.add_argument(
        "--allow-host", action="append", default=[], metavar="NAME",
        help="under which name a proxy, or another machine, asks for the page; may be repeated",
    )  # fmt: skip
    return parser


def start() -> None:
    """What every page begins with: the options, title and style."""
    import streamlit as st

    place = st.empty()
    if "page.frame" not in sys.modules:  # PyTorch takes its time
        place.caption("Starting; only the first visitor waits.")
    from page.frame import set_up

    place.empty()
    try:
        # Model and log may be gone meanwhile, or other files: whoever opens them says so
        words = shlex.split(os.environ.get(OPTIONS_VARIABLE, ""))
        options = build_parser(Path, Path).parse_args(words)
    except (SystemExit, ValueError):
        st.error(f"{OPTIONS_VARIABLE} holds wrong options; the terminal says which.")
        st.stop()
    set_up(options)


def show() -> None:
    """The page itself, as Streamlit runs it from top to bottom whenever somebody touches it."""
    start()
    import streamlit as st

    from page import batch as page_batch
    from page import inspect as page_inspect
    from page import model as page_model
    from page import process as page_process
    from page import review as page_review

    review = f"Review{count_waiting()}"
    pages = [
        st.Page(page_inspect.show, title="Inspect", icon=":material/search:", url_path="inspect"),
        st.Page(page_review.show, title=review, icon=":material/person_search:", url_path="review"),
        st.Page(page_batch.show, title="Batch", icon=":material/grid_view:", url_path="batch"),
        st.Page(page_process.show, title="Process", icon=":material/timeline:", url_path="process"),
        st.Page(page_model.show, title="Model", icon=":material/school:", url_path="model"),
    ]
    st.navigation(pages, position="top").run()


def count_waiting() -> str:
    """' (3)' where parts wait for a person; empty where none does, or where nobody knows."""
    import streamlit as st

    from page.log import GLANCE_S, PageLog
    from page.review import waiting_parts

    try:
        found = waiting_parts(PageLog(st.session_state["options"].log), GLANCE_S)
    except (UserError, OSError):  # the page itself says what is wrong with the log
        return ""
    return f" ({len(found):,})" if found else ""


def hosts(args: argparse.Namespace) -> list[str]:
    """Under which names the page may be asked for; no others, unless it is open to all anyway.

    Else a web page in a browser here could let its own name stand for this machine.
    """
    if args.host in LOCAL or args.allow_host:
        return list(dict.fromkeys([*LOCAL, args.host, *args.allow_host]))
    return ["*"]


def main(argv: list[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    args = build_parser().parse_args(argv)
    require_packages("streamlit")
    checked_band(args.review)
    if args.checkpoint and not args.checkpoint.is_file():
        raise UserError(f"no such checkpoint: {args.checkpoint}")
    with InspectionLog(args.log, "create") as log:  # what is wrong with it is said here
        warn_of_losses(log)
    listening_socket(args.host, args.port).close()
    if args.host not in LOCAL:
        tell("note: whoever reaches this machine can use the page; see docs/deploy.md")
    os.environ[OPTIONS_VARIABLE] = shlex.join(argv)
    limit_threads(args.threads)
    command = ["run", str(ROOT / "app.py")]
    command += [word for name in hosts(args) for word in ("--server.allowedHosts", name)]
    command += ["--server.address", args.host, "--server.port", str(args.port)]
    # Streamlit prints the address once its port answers
    print(f"starting the page, recording in {args.log}; end with Ctrl-C", flush=True)
    threading.Thread(target=load_what_takes_long, daemon=True).start()
    from streamlit.web.cli import main as streamlit

    streamlit(command, prog_name="streamlit")  # ends this process
    return EXIT_OK


def load_what_takes_long() -> None:
    """Import what the page needs while the server starts, so that the first visitor waits less.

    Nothing of Streamlit, which another thread imports.
    """
    for name in ("model", "rendering.casting", "scipy.stats", "traceability.process_figures"):
        importlib.import_module(name)


def runs_in_streamlit() -> bool:
    """Whether this is the page's script, and not the command that starts the page."""
    runtime = sys.modules.get("streamlit.runtime")
    return runtime is not None and runtime.exists()


if __name__ == "__main__":
    if runs_in_streamlit():
        show()
    else:
        run_script(main)
