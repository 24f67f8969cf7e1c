"""Recorded results for the plant by MQTT: one JSON message each, once the log has it.

The log is the truth: who inspects never waits for the broker. While it is away messages wait in
memory, up to a limit; those beyond it are dropped, counted and told. Each is delivered at least
once (QoS 1).
"""

import argparse
import json
import os
import re
import ssl
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from common.errors import UserError
from common.packages import require_packages
from traceability.log import Record, storable
from traceability.schema import TABLES

USER, PASSWORD, CA = "CASTING_MQTT_USER", "CASTING_MQTT_PASSWORD", "CASTING_MQTT_CA"
PORTS = {"mqtt": 1883, "mqtts": 8883}
MOST_WAITING = 10_000  # messages, of some 600 bytes
FLUSH_S = 2.0  # at the end
RECONNECT_S = (1, 30)  # at first, and at most
PORT_RULE = "the port, the number behind the host and ':', must be from 1 to 65,535"
EXAMPLE = "for example mqtt://broker.example/plant/line3/inspections"


@dataclass(frozen=True)
class MqttAddress:
    """Where results go."""

    host: str
    port: int
    topic: str
    is_encrypted: bool

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def mqtt_address(text: str) -> MqttAddress:
    """An address from the command line, for argparse."""
    try:
        url = urlsplit(text)
        (url.hostname or "").encode("idna")
        port = url.port
    except UnicodeError:  # is a ValueError
        problem = "there can be no host of this name"
    except ValueError:
        problem = f"what stands in '[]' is no address, or {PORT_RULE}" if "[" in text else PORT_RULE
    else:
        topic = unquote(url.path).removeprefix("/")
        if url.scheme not in PORTS:
            problem = "it begins with mqtt:// or, encrypted, mqtts://"
        elif url.username is not None or url.password is not None:
            problem = f"set {USER} and {PASSWORD} instead: others can read a command line"
        elif not url.hostname:
            problem = "there is no host behind mqtt://"
        elif port == 0:
            problem = PORT_RULE
        elif set("?#") & set(text) or not re.fullmatch(r"[^$#+\0][^#+\0]{0,1000}", topic):
            problem = "a topic follows the host, without '#', '+' and '?'"
        else:
            return MqttAddress(
                url.hostname, port or PORTS[url.scheme], topic, url.scheme == "mqtts"
            )
    # Not the text itself: there may be a password in it
    raise argparse.ArgumentTypeError(f"{problem}; {EXAMPLE}")


def add_mqtt_argument(parser: argparse.ArgumentParser) -> None:
    """The option of what publishes its results."""
    parser.add_argument(
        "--mqtt", type=mqtt_address, metavar="URL",
        help="publish each recorded result there, as JSON: mqtt://broker:1883/plant/line3, or "
        f"mqtts:// with TLS; user and password: {USER}, {PASSWORD}",
    )  # fmt: skip


def message(number: int, record: Record) -> str:
    """A record as JSON, as it is in the log."""
    values = {name: storable(getattr(record, name)) for name in TABLES["inspections"]}
    return json.dumps({"inspection_id": number} | values)


class MqttSink:
    """Publishes in a thread of its own; `put` never waits.

    Args:
        say: told when the broker comes and goes, and what is lost.
    """

    def __init__(self, address: MqttAddress, say: Callable[[str], object]):
        self.address, self.acknowledged, self.dropped = address, 0, 0
        self._say, self._state = say, ""
        self._count = 0  # of messages given to the client
        self._changed = threading.Condition()
        self._client = new_client(address)
        self._client.on_connect, self._client.on_disconnect = self._connected, self._disconnected
        self._client.on_connect_fail = self._not_reached
        self._client.on_publish = self._published
        self._client.connect_async(address.host, address.port)
        self._client.loop_start()

    @property
    def waiting(self) -> int:
        """Messages that the broker has not acknowledged yet."""
        return self._count - self.acknowledged

    def put(self, number: int, record: Record) -> None:
        """Publish a record of the log."""
        with self._changed:
            if self.waiting >= MOST_WAITING:
                self.dropped += 1
                self._tell(f"takes too little: {MOST_WAITING:,} results wait, others are dropped")
                return
            self._count += 1
        self._client.publish(self.address.topic, message(number, record), qos=1)

    def close(self) -> None:
        """Wait briefly for what is on its way, then hang up; say what was not delivered."""
        with self._changed:
            self._changed.wait_for(lambda: not (self.waiting and self.is_connected), FLUSH_S)
        if lost := self.waiting + self.dropped:
            self._tell(f"did not get {lost:,} of {self._count + self.dropped:,} results")
        self._client.disconnect()
        # Its thread may be waiting for a host that does not answer
        ending = threading.Thread(target=self._client.loop_stop, daemon=True)
        ending.start()
        ending.join(FLUSH_S)

    @property
    def is_connected(self) -> bool:
        """Whether the broker takes messages now."""
        return self._client.is_connected()

    def _tell(self, state: str) -> None:
        """Say what has changed, once; the log has all results."""
        if state != self._state:
            self._state = state
            self._say(f"MQTT broker {self.address} {state}")

    # --- called by the client's thread -----------------------------------------------------------

    def _connected(self, client, userdata, flags, reason, properties) -> None:
        self._tell(f"refuses: {reason}" if reason.is_failure else "is connected")

    def _not_reached(self, client, userdata) -> None:
        or_else = ", or its certificate is not trusted" if self.address.is_encrypted else ""
        self._tell(f"cannot be reached{or_else}; results wait")

    def _disconnected(self, client, userdata, flags, reason, properties) -> None:
        with self._changed:
            self._changed.notify_all()
        if self._state == "is connected" and reason.is_failure:
            self._tell("is away; results wait")

    def _published(self, client, userdata, number, reason, properties) -> None:
        with self._changed:
            self.acknowledged += 1
            self._changed.notify_all()


def new_client(address: MqttAddress):
    """A client of the library, with what the environment says.

    Raises:
        UserError: the library is missing, or the environment makes no sense.
    """
    require_packages("paho.mqtt.client")
    from paho.mqtt.client import CallbackAPIVersion, Client

    client = Client(CallbackAPIVersion.VERSION2, client_id=f"casting-{uuid.uuid4().hex[:12]}")
    client.max_queued_messages_set(0)  # `MqttSink.put` limits them, and counts what it drops
    client.reconnect_delay_set(*RECONNECT_S)
    user, password = os.environ.get(USER), os.environ.get(PASSWORD)
    if password and not user:
        raise UserError(f"{PASSWORD} is set and {USER} is not: set both, or none")
    if user:
        client.username_pw_set(user, password)
    authority = os.environ.get(CA)
    if authority and not address.is_encrypted:
        raise UserError(f"{CA} is set, but the address is not encrypted: write mqtts://")
    if address.is_encrypted:
        try:
            client.tls_set(authority or None)
        except (OSError, ssl.SSLError) as error:
            raise UserError(f"{CA} {authority} is no file of certificates: {error}") from error
    return client


@contextmanager
def mqtt_sink(
    address: MqttAddress | None, say: Callable[[str], object]
) -> Iterator[MqttSink | None]:
    """A sink while the block runs; None where there is no address.

    Raises:
        UserError: as `new_client`.
    """
    if address is None:
        yield None
        return
    sink = MqttSink(address, say)
    try:
        yield sink
    finally:
        sink.close()
