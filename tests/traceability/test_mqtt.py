"""Recorded results reach a broker, and no broker at all holds nobody up."""

import argparse
import gc
import json
import shutil
import socket
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from log_records import record

from common.errors import UserError
from common.files import ROOT
from traceability import mqtt
from traceability.log import InspectionLog
from traceability.mqtt import MqttAddress, message, mqtt_address, mqtt_sink
from traceability.schema import TABLES

pytest.importorskip("paho.mqtt.client")
MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")


@pytest.fixture(autouse=True)
def own_environment(monkeypatch):
    for name in (mqtt.USER, mqtt.PASSWORD, mqtt.CA):
        monkeypatch.delenv(name, raising=False)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mqtt://broker/a", MqttAddress("broker", 1883, "a", False)),
        ("mqtts://10.0.0.7/plant/line%203", MqttAddress("10.0.0.7", 8883, "plant/line 3", True)),
        ("mqtt://[::1]:99/a/b", MqttAddress("::1", 99, "a/b", False)),
    ],
)
def test_an_address_names_host_port_and_topic(text, expected):
    assert mqtt_address(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("broker/a", "begins with"),
        ("http://broker/a", "begins with"),
        ("mqtt:///a", "no host"),
        ("mqtt://broker:0/a", "port"),
        ("mqtt://broker:70000/a", "the port, the number behind the host and ':', must be from 1"),
        (f"mqtt://{'b' * 70}/a", "there can be no host of this name"),
        ("mqtt://[::1/a", "no address"),
        ("mqtt://broker:x/a", "port"),
        ("mqtt://broker", "topic"),
        ("mqtt://broker/", "topic"),
        ("mqtt://broker/a/#", "topic"),
        ("mqtt://broker/a/+", "topic"),
        ("mqtt://broker/$SYS", "topic"),
        ("mqtt://broker/a?qos=2", "topic"),
        ("mqtt://me:secret@broker/a", mqtt.PASSWORD),
        ("mqtt://me:secret@broker:x/a", "port"),
    ],
)
def test_an_address_that_means_nothing_is_refused_without_its_password(text, message):
    with pytest.raises(argparse.ArgumentTypeError, match=message) as refused:
        mqtt_address(text)
    assert "secret" not in str(refused.value)


def test_a_message_is_the_record_and_its_number():
    sent = json.loads(message(17, record(1, serial="S1", lot="Ä\udc80", prob_defect=None)))
    assert list(sent) == ["inspection_id", *TABLES["inspections"]]
    assert (sent["inspection_id"], sent["serial"], sent["prob_defect"]) == (17, "S1", None)
    assert sent["lot"] == "Ä\\udc80"  # as in the log


def test_a_broker_that_is_away_holds_nobody_up_and_what_is_dropped_is_counted(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(mqtt, "MOST_WAITING", 3)
    said, started = [], time.monotonic()
    address = MqttAddress("127.0.0.1", free_port(), "a", False)
    with (
        mqtt_sink(address, said.append) as sink,
        InspectionLog(tmp_path / "log.db", "create", tell=sink.put) as log,
    ):
        assert log.append([record(n) for n in range(5)]) == [1, 2, 3, 4, 5]
        assert (sink.waiting, sink.dropped, sink.acknowledged) == (3, 2, 0)
    assert time.monotonic() - started < 3
    assert "did not get 5 of 5 results" in said[-1]
    assert any("others are dropped" in text for text in said)


def test_what_the_log_refuses_is_not_published(tmp_path):
    told = []
    with InspectionLog(tmp_path / "log.db", "create", tell=lambda *one: told.append(one)) as log:
        log.append([record(1)])
        with pytest.raises(UserError):
            log.append([record(2), record(3, decision="perhaps")])
        log.append([record(4)])
    assert told == [(1, record(1)), (2, record(4))]


@pytest.mark.parametrize(
    ("variables", "encrypted", "message"),
    [
        ({mqtt.PASSWORD: "secret"}, False, f"{mqtt.USER} is not"),
        ({mqtt.CA: "ca.pem"}, False, "mqtts://"),
        ({mqtt.CA: "nowhere.pem"}, True, "no file of certificates"),
        ({mqtt.CA: __file__}, True, "no file of certificates"),
    ],
)
def test_an_environment_that_makes_no_sense_is_told(monkeypatch, variables, encrypted, message):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=message) as refused:
        mqtt.new_client(MqttAddress("broker", 1, "a", encrypted))
    assert "secret" not in str(refused.value)


def test_without_the_library_the_command_that_brings_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "paho.mqtt.client", None)
    with pytest.raises(UserError, match=r"pip install -r requirements-deploy\.txt"):
        mqtt.new_client(MqttAddress("broker", 1, "a", False))


# --- a real broker -------------------------------------------------------------------------------


@contextmanager
def broker(folder: Path, port: int, *lines: str):
    """Mosquitto on a port; it keeps nothing."""
    if MOSQUITTO is None:
        pytest.skip("needs mosquitto; on Debian: apt install mosquitto")
    settings = folder / "mosquitto.conf"
    own = lines or (f"listener {port} 127.0.0.1", "allow_anonymous true")
    settings.write_text("\n".join([*own, "user root", ""]))
    process = subprocess.Popen(
        [MOSQUITTO, "-c", str(settings)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            assert process.poll() is None
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(20)


@contextmanager
def listener(port: int, topic: str):
    """A list that gets what is published."""
    from paho.mqtt.client import CallbackAPIVersion, Client

    client, got, ready = Client(CallbackAPIVersion.VERSION2), [], []
    client.on_connect = lambda *_: client.subscribe(topic, qos=1)
    client.on_subscribe = lambda *_: ready.append(True)
    client.on_message = lambda c, u, one: got.append((one.topic, one.qos, json.loads(one.payload)))
    client.connect("127.0.0.1", port)
    client.loop_start()
    until(lambda: ready)
    yield got
    client.disconnect()
    client.loop_stop()


def until(holds, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.slow
def test_each_recorded_result_arrives_also_after_a_broker_was_away(tmp_path, monkeypatch):
    monkeypatch.setattr(mqtt, "RECONNECT_S", (1, 1))
    port, said = free_port(), []
    address = mqtt_address(f"mqtt://127.0.0.1:{port}/plant/line 3")
    with (
        mqtt_sink(address, said.append) as sink,
        InspectionLog(tmp_path / "log.db", "create", tell=sink.put) as log,
    ):
        for missed in (0, 2):  # before the broker is there, and after it was away
            log.append([record(missed)])
            with broker(tmp_path, port), listener(port, "plant/#") as got:
                log.append([record(missed + 1)])
                until(lambda: not sink.waiting)
                until(lambda got=got: len({one[2]["inspection_id"] for one in got}) == 2)
                topic, qos, _ = got[-1]
                assert (topic, qos) == ("plant/line 3", 1)
                files = {f"parts/{missed}.png", f"parts/{missed + 1}.png"}
                assert {one[2]["file"] for one in got} == files
            until(lambda: not sink.is_connected)
        assert (sink.acknowledged, sink.dropped) == (4, 0)
    states = [text.partition(str(address))[2] for text in said]
    assert " is connected" in states
    assert any("results wait" in state for state in states)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_wrong_password_is_told_and_the_right_one_is_encrypted(tmp_path, monkeypatch):
    openssl, passwd = shutil.which("openssl"), shutil.which("mosquitto_passwd")
    if not (MOSQUITTO and openssl and passwd):
        pytest.skip("needs mosquitto and openssl")
    monkeypatch.setattr(mqtt, "RECONNECT_S", (1, 1))
    certificate, key, users = (tmp_path / name for name in ("own.pem", "key.pem", "users"))
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
         "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-out", str(certificate),
         "-keyout", str(key)],
        check=True, capture_output=True,
    )  # fmt: skip
    subprocess.run([passwd, "-b", "-c", str(users), "line3", "the password"], check=True,
                   capture_output=True)  # fmt: skip
    port = free_port()
    lines = [f"listener {port} 127.0.0.1", f"certfile {certificate}", f"keyfile {key}",
             "allow_anonymous false", f"password_file {users}"]  # fmt: skip
    address = mqtt_address(f"mqtts://localhost:{port}/a")
    monkeypatch.setenv(mqtt.USER, "line3")
    with broker(tmp_path, port, *lines):
        for password, authority, expected in (
            ("the password", certificate, "is connected"),
            ("another", certificate, "refuses: Not authorized"),
            ("the password", "", "its certificate is not trusted"),
        ):
            monkeypatch.setenv(mqtt.PASSWORD, password)
            monkeypatch.setenv(mqtt.CA, str(authority))
            said = []
            with mqtt_sink(address, said.append):
                until(lambda said=said, text=expected: any(text in one for one in said))
            assert "the password" not in " ".join(said)
    gc.collect()  # the library leaves the socket of a failed handshake open until now


@pytest.mark.slow
@pytest.mark.parametrize("command", ["watch", "serve"])
def test_station_and_service_publish_and_end_cleanly(trained, paths, tmp_path, command):
    port, folder = free_port(), tmp_path / "incoming"
    folder.mkdir()
    shutil.copy(paths[0], folder / "S1.jpeg")
    own = ["--checkpoint", str(trained / "best.pth"), "--device", "cpu", "--log",
           str(tmp_path / "log.db"), "--mqtt", f"mqtt://127.0.0.1:{port}/plant"]  # fmt: skip
    if command == "watch":
        own = [str(folder), "--name-pattern", "{serial}", *own]
    else:
        own = ["--port", "0", *own]
    with broker(tmp_path, port), listener(port, "plant") as got:
        process = subprocess.Popen(
            [sys.executable, str(ROOT / f"{command}.py"), *own], stdout=subprocess.PIPE, text=True
        )
        with closing(process.stdout):
            if command == "serve":
                lines = iter(process.stdout.readline, "")
                url = next(line.split()[0] for line in lines if line.startswith("http"))
                send(f"{url}/v1/predict?serial=S1", paths[0])
            until(lambda: got, 60)
            process.terminate()
            assert process.wait(30) == 143
    ((_, _, sent),) = got
    with InspectionLog(tmp_path / "log.db") as log:
        (row,) = log.query(f"SELECT {', '.join(TABLES['inspections'])} FROM inspections")
    assert tuple(sent[name] for name in TABLES["inspections"]) == row
    assert sent["serial"] == "S1"


def send(url: str, path: Path) -> None:
    import urllib.request

    request = urllib.request.Request(url, path.read_bytes(), {"Content-Type": "image/jpeg"})
    urllib.request.urlopen(request).close()
