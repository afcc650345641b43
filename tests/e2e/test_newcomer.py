"""A new member of staff at the terminal: from an empty store to a tag, a sheet and a scan, as the screen says."""

import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.provision.readback import read_file
from tests.e2e.centre import Subscriber, until
from tests.e2e.conftest import Store
from tests.e2e.terminal import Terminal, suggested
from tests.simulators.ntag21x import WritableNtag21x
from tests.simulators.pn532 import Pn532

READER = """
[[reader]]
name = "counter-nfc"
kind = "nfc"
device = "{device}"
touchpoint = "counter"

[links]
domain = "id.acme.example"
"""


@pytest.fixture
def chip(directory: Path) -> Iterator[Pn532]:
    """A tag reader on a serial port."""
    with Pn532(directory / "pn532") as plugged:
        yield plugged


@pytest.fixture
def terminal(store: Store, chip: Pn532) -> Iterator[Terminal]:
    """A shell beside a gateway that runs, with nothing in its registry."""
    file = store.directory / "gateway.toml"
    file.write_text(file.read_text() + READER.format(device=chip.device))
    (store.directory / "registry.csv").write_text(
        "id,kind,name,zone,phase,gtin,reference,serial,campaign,valid_from,valid_until,identifiers\n"
        "counter,counter,Counter,,,,,,,,,\n"
    )
    assert store.run("touchpoints", "import", "--yes", str(store.directory / "registry.csv")).returncode == 0
    store.start()
    command = store.directory / "bin" / "touchpoint"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m gateway "$@"\n')
    command.chmod(command.stat().st_mode | stat.S_IXUSR)
    environment = {"PATH": f"{command.parent}:/usr/bin:/bin", "TOUCHPOINT_CONFIG": str(file)}
    root = Path(__file__).parents[2]
    with Terminal(store.directory, environment | {"PYTHONPATH": str(root)}) as opened:
        yield opened


def test_from_an_empty_store_to_a_tag_a_sheet_and_a_scan(
    terminal: Terminal, store: Store, chip: Pn532, subscriber: Subscriber
) -> None:
    """Every command but the first is one that the screen has named before."""
    said = terminal.run("touchpoint touchpoints --help")
    said = terminal.run(suggested(said, "touchpoints", "add"))
    terminal.type(suggested(said, "tags", "write"))
    terminal.until(r"Hold a tag")
    tag = WritableNtag21x(213, bytes.fromhex("04c0ffee123480"))
    chip.place(tag)
    terminal.until(r"NTAG213, .*\n")
    chip.remove()
    terminal.back()
    said = terminal.run(suggested(said, "codes", "sheet"))
    assert "read back" in said
    (printed,) = store.directory.glob("*.pdf")
    (link,) = {code.text for page in read_file(printed) for code in page if "vitrine-1" in code.text}
    store.scanner.scan(link)
    until(lambda: "touchpoint.scan.v1" in seen(subscriber), "the scan at the centre")
    chip.place(tag)
    until(lambda: "touchpoint.tap.v1" in seen(subscriber), "the tap at the centre")
    said = terminal.run("touchpoint touchpoints list")
    assert "vitrine-1" in said


def seen(subscriber: Subscriber) -> set[str]:
    """Return the types of events that came of the new touchpoint."""
    return {event["type"] for event in subscriber.events() if "vitrine-1" in str(event["data"].get("touchpoint"))}
