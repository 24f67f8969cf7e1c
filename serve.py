"""A REST service that inspects photographs, records every decision, and can be watched.

    python serve.py                           on http://127.0.0.1:8000, for this machine only
    CASTING_API_KEY=... python serve.py       for other machines too, which send it as X-API-Key
    curl -F file=@part.jpeg http://127.0.0.1:8000/v1/predict
    curl -H 'Content-Type: image/jpeg' --data-binary @part.jpeg 'http://127.0.0.1:8000/v1/predict?lot=7'

A decision is in the log (--log, see records.py) before it is answered; photographs of parts that do
not pass are kept in a folder beside it for the page (app.py), while its disk has 1 GB free.
Requests that come together are inspected together. When too many wait: 503 with Retry-After. A
photograph may have 32 MB and 64 megapixels. In a browser, /docs shows all requests and answers and
lets you try them; GET /openapi.json describes them for programs, GET /metrics is for Prometheus; on
standard error is a JSON line for each request. A new model in the file's place is taken up within a
second or two, at SIGHUP at once; each request is answered by one model, and one that cannot be used
changes nothing. --mqtt publishes each result that has been recorded. SIGTERM: what has been
accepted is answered, then exit code 143. One process serves a machine: all its cores work on each
batch.
"""

import argparse
import os
import re
import socket
from contextlib import suppress

from common.arguments import script_parser, whole_number
from common.errors import UserError, run_script
from common.packages import require_packages
from common.progress import load_pytorch
from common.sockets import listening_socket, port
from inspection.options import add_inspection_arguments, checked_band
from service.limits import MAX_BATCH_PARTS, MAX_QUEUE_PARTS
from traceability.log import InspectionLog, add_log_argument, warn_of_losses
from traceability.mqtt import add_mqtt_argument, mqtt_sink

KEY_VARIABLE = "CASTING_API_KEY"
LOCAL, ALL_INTERFACES = "127.0.0.1", "0.0.0.0"
PACKAGES = ("fastapi", "fastapi_offline", "uvicorn", "python_multipart", "prometheus_client")
DRAIN_S = 30
DEFAULT_PORTS = {"http": "80", "https": "443"}  # a browser leaves them out


def allow_many_connections() -> None:
    """Take as many files and connections as the system lets a process have."""
    with suppress(ImportError, ValueError, OSError):  # not on Windows
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def origin(text: str) -> str:
    """What a browser sends as Origin, for argparse: no path, no port that goes without saying."""
    found = re.fullmatch(r"(https?)://([a-z0-9.-]+|\[[0-9a-f:]+\])(?::([1-9]\d{0,4}))?", text)
    scheme, _, port = found.groups() if found else ("", "", None)
    if not found or port == DEFAULT_PORTS[scheme] or int(port or 1) > 65535:
        raise argparse.ArgumentTypeError(f"{text}: as a browser sends it: https://mes.example:8443")
    return text


def queue(text: str) -> int:
    """How many parts may wait, for argparse: those of one request at least."""
    return whole_number(text, MAX_BATCH_PARTS, MAX_QUEUE_PARTS)


def checked_key() -> str | None:
    """The key that clients must send; None when none is set.

    Raises:
        UserError: it can be guessed, or cannot be sent in a header.
    """
    key = os.environ.get(KEY_VARIABLE) or None
    if key and not re.fullmatch(r"[!-~]{16,}", key):
        raise UserError(
            f"{KEY_VARIABLE} needs at least 16 letters, digits or signs, without blanks; make one "
            "with: openssl rand -hex 16"
        )
    return key


def build_parser() -> argparse.ArgumentParser:
    """The options of serve.py."""
    parser = script_parser(__doc__)
    add_inspection_arguments(parser)
    add_log_argument(parser)
    add_mqtt_argument(parser)
    parser.add_argument(
        "--host", help=f"default: {ALL_INTERFACES} with {KEY_VARIABLE}, else {LOCAL}"
    )
    parser.add_argument("--port", type=port, default=8000, help="default: 8000; 0: any free one")
    parser.add_argument(
        "--cors", "--allow-origin", dest="origins", action="append", default=[], type=origin,
        metavar="ORIGIN",
        help="let the web pages of https://mes.example call from a browser; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--queue", type=queue, default=128, metavar="N",
        help="parts that may wait, at least 64, the parts of one request; default: 128",
    )  # fmt: skip
    return parser


def serve(args: argparse.Namespace, key: str | None, host: str, listening: socket.socket) -> None:
    """Load the model, then answer requests until this process is told to end."""
    load_pytorch(args.threads, quiet=True)  # its log, in JSON, goes there
    import uvicorn

    from inspection.model_file import ModelFile, announce, reload_on_hangup
    from inspection.recording import doubts
    from service.application import create_app
    from service.models import in_own_thread
    from service.runtime import ServiceSettings
    from service.telemetry import log_as_json, log_broker

    log_as_json()
    with mqtt_sink(args.mqtt, log_broker) as sink:
        file = ModelFile.of(args)
        reload_on_hangup(file)
        predictor = in_own_thread(file.load)
        announce(file.path, predictor)
        if doubt := doubts(predictor.checkpoint):
            print(f"warning: {doubt}")
        with InspectionLog(args.log, "create") as log:  # what is wrong with it is said here
            warn_of_losses(log)
        settings = ServiceSettings(
            log=args.log, station=args.station, lot=args.lot, api_key=key, queue_limit=args.queue,
            allow_origins=tuple(args.origins), sink=sink,
        )  # fmt: skip
        config = uvicorn.Config(
            create_app(settings, predictor, file), log_config=None, access_log=False,
            server_header=False, timeout_graceful_shutdown=DRAIN_S,
        )  # fmt: skip
        allow_many_connections()
        port = listening.getsockname()[1]
        who = "with X-API-Key" if key else f"for this machine only ({KEY_VARIABLE} is not set)"
        print(f"http://{host}:{port} {who}, recording in {args.log}; end with Ctrl-C", flush=True)
        uvicorn.Server(config).run(sockets=[listening])


def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    key = checked_key()
    host = args.host or (ALL_INTERFACES if key else LOCAL)
    if not key and host not in (LOCAL, "localhost"):
        raise UserError(f"--host {host} needs a key: set {KEY_VARIABLE}, else use {LOCAL}")
    checked_band(args.review)
    with listening_socket(host, args.port) as listening:  # before all that takes time
        require_packages(*PACKAGES)
        serve(args, key, host, listening)
    return 0


if __name__ == "__main__":
    run_script(main)
