"""`touchpoint readers`: what staff see of the readers, and what a reader reads, without showing whom."""

import asyncio
import json
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from gateway.cli.app import app
from gateway.config import load
from gateway.control import NobodyListensError, ask
from gateway.store.backlog import Backlog
from tests.simulators.nfc_field import Ntag21x, TypeATag
from tests.simulators.pn532 import Pn532

TOKEN = "id.acme.example/m/Zk3vX9c1QmS7tB0dLw2RfA"
UID = bytes.fromhex("04a1b2c3d4e5f6")
REGISTRY = """id,kind,name,zone,phase,gtin,reference,serial,campaign,valid_from,valid_until,identifiers
vitrine-3,display,Vitrine 3,salon,before,,,,,,,link:https://id.acme.example/t/vitrine-3
exit,feedback,How was it?,,,,,,,,,text:good#5
"""
CONFIGURATION = """
[gateway]
tenant = "acme"
site = "zrh-1"
id = "gw-1"
state = "."
[mqtt]
host = "127.0.0.1"
[clock]
source = "trusted"
[links]
domain = "id.acme.example"
[[reader]]
name = "counter-nfc"
kind = "nfc"
device = "{device}"
touchpoint = "counter"
[[reader]]
name = "salon"
kind = "ble"
zone = "salon"
[[bearer]]
kind = "link"
prefix = "https://id.acme.example/m/"
"""


@pytest.fixture
def chip(directory: Path) -> Iterator[Pn532]:
    with Pn532(directory / "ttyPN532") as chip:
        yield chip


@pytest.fixture
def store(directory: Path, chip: Pn532) -> Path:
    """A store with an NFC reader and two touchpoints; no gateway runs."""
    (directory / "gateway.toml").write_text(CONFIGURATION.format(device=chip.device), encoding="utf-8")
    (directory / "registry.csv").write_text(REGISTRY, encoding="utf-8")
    assert run(directory, "touchpoints", "import", str(directory / "registry.csv")).exit_code == 0
    return directory


def run(store: Path, *words: str) -> Result:
    at = 1 if words[0] == "status" else 2
    return CliRunner().invoke(app, [*words[:at], "--config", str(store / "gateway.toml"), *words[at:]])


def record(kind: str, content: bytes) -> bytes:
    """Return an NDEF message of one short record (NFC Forum NDEF 1.0, 3.2)."""
    return bytes([0xD1, 1, len(content), ord(kind)]) + content


def link(rest: str) -> bytes:
    """Return a URI record with `https://` (NFC Forum RTD URI 1.0, 3.2.2: 04)."""
    return record("U", b"\x04" + rest.encode())


@contextmanager
def running(store: Path) -> Iterator[None]:
    """Run the capture half beside, until its reader is up."""
    words = [sys.executable, "-m", "gateway", "capture", "--config", str(store / "gateway.toml")]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as daemon:
        try:
            wait(lambda: up(store))
            yield
        finally:
            daemon.terminate()


def up(store: Path) -> bool:
    settings = load(store / "gateway.toml")
    with suppress(NobodyListensError):
        readers = asyncio.run(ask(settings.gateway.sockets, {"ask": "status"}))["readers"]
        return bool(readers.get("counter-nfc", {}).get("up"))
    return False


def wait(condition: "object") -> None:
    """Wait until the condition holds."""
    assert callable(condition)
    until = threading.Event()
    for _ in range(2000):
        if condition():
            return
        until.wait(0.01)
    raise AssertionError("it did not come about")


SAID = [
    (link("id.acme.example/t/vitrine-3"), "counter-nfc read touchpoint vitrine-3: Vitrine 3 (link).\n"),
    (record("T", b"\x02engood"), "counter-nfc read touchpoint exit: How was it?, answer 5 (text).\n"),
    (link(TOKEN), "counter-nfc read a customer's token (link).\n"),
    (link("id.acme.example/t/none"), "counter-nfc read a link of your domain that belongs to no touchpoint (link).\n"),
    (link("other.example/x"), "counter-nfc read something that the registry does not know (link).\n"),
    (b"", "counter-nfc read something that the registry does not know (nfc-uid).\n"),
]


@pytest.mark.parametrize(("message", "said"), SAID, ids=range(len(SAID)))
def test_what_a_reader_reads_is_told_by_its_meaning(store: Path, chip: Pn532, message: bytes, said: str) -> None:
    """Without a gateway, by the same rules; no token and no UID is shown, and no event is made."""
    chip.place(Ntag21x(213, UID, message))
    told = run(store, "readers", "test", "counter-nfc")
    assert (told.exit_code, told.stdout, told.stderr) == (0, said, "Hold a tag or code to counter-nfc now.\n")
    assert not any(each in told.output.lower() for each in (TOKEN.lower(), UID.hex(), "other.example"))
    assert Backlog(store).waiting() == 0


def test_a_running_gateway_tells_the_same(store: Path, chip: Pn532) -> None:
    """It lends its next reading; scripts get JSON. What comes after it is an event again."""
    with running(store):
        chip.place(Ntag21x(213, UID, link("id.acme.example/t/vitrine-3")))
        wait(lambda: Backlog(store).waiting() == 1)
        chip.place(Ntag21x(213, bytes(7), link("id.acme.example/t/vitrine-3")))
        wait(lambda: asyncio.run(sightings(store)) == 2)  # the debounce has it
        threading.Timer(0.5, lambda: chip.place(Ntag21x(213, UID[::-1], link(TOKEN)))).start()
        told = run(store, "readers", "test", "counter-nfc", "--json")
        assert json.loads(told.stdout) == {
            "reader": "counter-nfc",
            "means": "customer",
            "by": "link",
            "own_link": False,
            "authenticity": None,
        }
        assert Backlog(store).waiting() == 1


async def sightings(store: Path) -> int:
    answer = await ask(load(store / "gateway.toml").gateway.sockets, {"ask": "status"})
    return int(answer["counts"].get("sightings", 0))


def test_nothing_in_time_is_said(store: Path, chip: Pn532) -> None:
    """Exit status 1, with where the reason of an unreadable tag stands; a reader that is not there is named as such."""
    chip.place(TypeATag(bytes.fromhex("deadbeef"), sak=0x08))
    told = run(store, "readers", "test", "counter-nfc", "--seconds", "1.5")
    assert (told.exit_code, told.stdout) == (1, "")
    assert "nothing was read at counter-nfc within 1.5 s; why a tag cannot be read stands in" in told.stderr
    chip.unplug()
    told = run(store, "readers", "test", "counter-nfc", "--seconds", "0.5")
    assert told.exit_code == 1
    assert "reader counter-nfc is not working: tty:" in told.stderr


@pytest.mark.parametrize("name", ["salon", "none"])
def test_a_reader_that_cannot_be_tried_out_is_named(store: Path, name: str) -> None:
    """The message has the names of those that can."""
    told = run(store, "readers", "test", name)
    assert told.exit_code == 1
    assert f"no reader {name} to which a tag or code can be held: counter-nfc" in told.stderr


def test_a_running_gateway_says_that_a_reader_is_down(store: Path, chip: Pn532) -> None:
    """At once, with its reason."""
    with running(store):
        chip.unplug()
        wait(lambda: not up(store))
        told = run(store, "readers", "test", "counter-nfc")
        assert told.exit_code == 1
        assert "reader counter-nfc is not working: tty:" in told.stderr
        listed = run(store, "readers", "list")
        assert re.search("is not there|does not answer", listed.stdout)


def test_ctrl_c_ends_a_test_with_nothing_left(store: Path) -> None:
    """The next test, and the gateway, find the reader free."""
    words = [sys.executable, "-m", "gateway", "readers", "test", "--config", str(store / "gateway.toml"), "counter-nfc"]
    for again in (False, True):
        with running(store) if again else nullcontext():
            command = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            assert command.stderr is not None
            assert b"Hold a tag" in command.stderr.readline()
            command.send_signal(signal.SIGINT)
            command.communicate(timeout=10)
            assert command.returncode not in {0, None}


def test_the_readers_are_listed(store: Path, chip: Pn532) -> None:
    """Kind, device, place and state; as JSON for scripts; with a gateway and without."""
    listed = run(store, "readers", "list")
    assert listed.exit_code == 0
    assert listed.stdout.count("the gateway is not running") == 2
    with running(store):
        (nfc, ble) = json.loads(run(store, "readers", "list", "--json").stdout)
        assert nfc == {
            "name": "counter-nfc",
            "kind": "nfc",
            "device": chip.device,
            "at": "counter",
            "running": True,
            "up": True,
            "reason": None,
            "lent": False,
        }
        assert (ble["kind"], ble["at"]) == ("ble", "salon")


def test_a_program_runs_with_the_device(store: Path, chip: Pn532) -> None:
    """It finds it in its environment, the gateway shows that it is lent, and its exit status is the command's."""
    program = "import os, sys; print(os.environ['TOUCHPOINT_DEVICE'], flush=True); sys.stdin.read(); sys.exit(7)"
    words = [sys.executable, "-m", "gateway", "readers", "lend", "--config", str(store / "gateway.toml"), "counter-nfc"]
    with running(store):
        command = subprocess.Popen(
            [*words, "--", sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert command.stdout is not None
        assert command.stdout.readline() == f"{chip.device}\n"
        assert f"lent to {sys.executable[:40]} by" in run(store, "readers", "list").stdout
        shown = run(store, "status", "--json")
        assert json.loads(shown.stdout)["readers"]["counter-nfc"]["lent"]
        assert not any("counter-nfc" in problem for problem in json.loads(shown.stdout)["problems"])
        command.communicate(timeout=10)
        assert command.returncode == 7
        wait(lambda: up(store))


def test_a_program_that_takes_too_long_is_ended(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When its time is over it is asked to end, and killed if it does not; the command says why."""
    monkeypatch.setattr("gateway.cli.readers.GRACE_SECONDS", 0.3)
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
    with running(store):
        told = run(store, "readers", "lend", "counter-nfc", "--minutes", "0.01", "sleep", "60")
        assert told.exit_code == 1
        assert "lent for 0.6 seconds, as asked for; the gateway has taken it back" in told.stderr
        wait(lambda: up(store))
        told = run(store, "readers", "lend", "counter-nfc", "--minutes", "0.01", "--", sys.executable, "-c", deaf)
        assert told.exit_code == 1
    told = run(store, "readers", "lend", "counter-nfc", "no-such-program")
    assert (told.exit_code, told.stderr) == (1, "no-such-program: No such file or directory\n")
