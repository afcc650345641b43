"""Touchpoints of a store that runs: made, tried out, used and retired by the command line, event by event."""

import asyncio
import json
import signal
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gateway.control import ask
from gateway.core.event import Event
from gateway.store import touchpoints, usage
from gateway.store.backlog import Backlog
from tests.e2e.centre import until
from tests.e2e.conftest import Store

CASE, VITRINE = "https://id.acme.example/t/case-9", "https://id.acme.example/t/vitrine-1"
ADD = ("touchpoints", "add", "case-9", "--kind", "display", "--name", "Case 9", "--identifier", f"link:{CASE}")
HEADER = "id,kind,name,zone,phase,gtin,reference,serial,campaign,valid_from,valid_until,identifiers\n"


def events(store: Store) -> list[dict[str, Any]]:
    """Read the data of the events that wait."""
    with closing(Backlog(store.state)) as backlog:
        rows = backlog.rows(0, 1_000, 1 << 20)
    return [json.loads(Event.model_validate_json(row.event).model_dump_json())["data"] for row in rows]


def use(store: Store) -> int:
    """Return how often the display case was touched."""
    with closing(Backlog(store.state)) as backlog:
        connection = backlog.connection()
        assert connection is not None
        return sum(number for each, number in usage.load(connection).items() if each.touchpoint == "case-9")


def registered(store: Store) -> set[str]:
    with closing(Backlog(store.state)) as backlog:
        connection = backlog.connection()
        assert connection is not None
        return {each.id for each in touchpoints.load(connection)[1]}


def not_valid(store: Store) -> int:
    """Return how many codes counted for nothing since the start."""
    return int(asyncio.run(ask(store.state, {"ask": "status"}))["counts"].get("dropped:not-valid", 0))


@pytest.mark.timeout(120)
def test_a_touchpoint_is_made_tried_out_used_and_retired(store: Store) -> None:
    """Without a restart; what staff try out counts for nothing, also after one."""
    store.start("capture")
    assert store.ask(*ADD)["id"] == "case-9"
    assert store.ask("training", "on")["seconds"] > 3_000
    assert "marked as tests" in store.run("status").stdout
    store.scan(CASE)
    store.stop()
    store.start("capture")
    store.scan(CASE)
    assert [(each["touchpoint"]["id"], each["test"]) for each in events(store)] == [("case-9", True)] * 2
    assert use(store) == 0

    assert store.ask("training", "off")["training"] is False
    store.scan(CASE, CASE)
    assert [each["test"] for each in events(store)] == [True, True, False, False]
    assert use(store) == 2
    (line,) = store.ask("touchpoints", "report", "case-9")
    assert line["periods"][-1]["scan"] == line["touches"] == 2

    assert store.run("touchpoints", "retire", "case-9", "--yes").returncode == 0
    store.scanner.scan(CASE)
    until(lambda: not_valid(store) == 1, "the scan to count for nothing")
    assert len(events(store)) == 4
    assert use(store) == 2, "history stays"


@pytest.mark.timeout(120)
def test_ctrl_c_during_an_import_leaves_all_of_it_or_nothing(store: Store) -> None:
    """Whenever it comes: the file, and what the running gateway goes by, agree."""
    store.start("capture")
    before, large = registered(store), store.directory / "large.csv"
    large.write_text(HEADER + "".join(f"p-{n},display,P,,,,,,,,,text:{n}\n" for n in range(3_000)), encoding="utf-8")
    for delay in (0.01, 0.2, 0.8):
        with subprocess.Popen(
            store.command("touchpoints", "import", str(large)), stderr=subprocess.PIPE, text=True
        ) as importing:
            maps = Path(f"/proc/{importing.pid}/maps")
            until(lambda maps=maps: "pydantic_core" in maps.read_text("utf-8"), "the command to read its settings")  # type: ignore[misc]  # a default binds maps
            try:
                importing.wait(delay)
            except subprocess.TimeoutExpired:
                importing.send_signal(signal.SIGINT)
            _, said = importing.communicate(timeout=30)
        assert "Traceback" not in said
        assert registered(store) == before or len(registered(store)) == 3_000
    known = {VITRINE: "vitrine-1"} if registered(store) == before else {"7": "p-7"}
    store.scan(*known)
    assert [each["touchpoint"]["id"] for each in events(store)] == list(known.values())
