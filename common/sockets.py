"""Where a server listens: a port from the command line, and whether it is free."""

import os
import socket

from common.arguments import whole_number
from common.errors import UserError


def port(text: str) -> int:
    """A number from 0 to 65535, for argparse; 0 stands for any free port."""
    return whole_number(text, 0, 65_535)


def listening_socket(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        UserError: the address cannot be used.
    """
    try:
        kind = {"type": socket.SOCK_STREAM, "proto": socket.IPPROTO_TCP}
        family, *_, address = socket.getaddrinfo(host, port, **kind)[0]
        # Not by create_server: unless a socket says TCP, asyncio leaves Nagle's algorithm on, which
        # holds the second half of an answer back for 40 ms
        listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            listening.listen(2048)
        except OSError:
            listening.close()
            raise
        return listening
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
        raise UserError(
            f"cannot listen on {host}:{port}: {reason}; choose another --port (make: PORT=...)"
        ) from None
