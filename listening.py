"""Where a server listens: a port from the command line, and whether it is free."""

import argparse
import os
import socket

from common import UserError


def port(text: str) -> int:
    """A number from 0 to 65535, for argparse; 0 stands for any free port."""
    value = int(text)
    if not 0 <= value <= 65535:
        raise argparse.ArgumentTypeError("must lie between 0 and 65535")
    return value


def listening_socket(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        UserError: the address cannot be used.
    """
    try:
        return socket.create_server((host, port), backlog=2048)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
        raise UserError(
            f"cannot listen on {host}:{port}: {reason}; choose another --port (make: PORT=...)"
        ) from None
