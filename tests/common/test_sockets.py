"""A server's socket answers at once, or says why it cannot listen."""

import argparse
import socket

import pytest

from common.errors import UserError
from common.sockets import listening_socket, port


def test_what_asyncio_accepts_on_it_does_not_hold_answers_back():
    with listening_socket("127.0.0.1", 0) as listening:
        assert listening.proto == socket.IPPROTO_TCP  # asyncio's condition for TCP_NODELAY
        with socket.create_connection(listening.getsockname()) as client:
            accepted, _ = listening.accept()
            with accepted:
                accepted.sendall(b"x")
                assert client.recv(1) == b"x"


def test_a_port_in_use_is_told():
    with listening_socket("127.0.0.1", 0) as taken:
        with pytest.raises(UserError, match="in use; choose another --port"):
            listening_socket("127.0.0.1", taken.getsockname()[1])
    with pytest.raises(UserError, match="cannot listen"):
        listening_socket("no.such.host.invalid", 0)


def test_ports_are_numbers_in_range():
    assert [port("0"), port("65535")] == [0, 65535]
    for wrong in ("65536", "-1"):
        with pytest.raises(argparse.ArgumentTypeError):
            port(wrong)
