"""One screen: what is wrong and what to do first, and never more than fits."""

from datetime import UTC
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cli.screen import Problem, lasted, screen

WELL: dict[str, Any] = {
    "gateway": "acme / zrh-1 / gw-1",
    "running": True,
    "now_ms": 1_795_000_600_000,
    "readers": {
        "counter": {"up": True, "reason": None, "lent": False},
        "salon-ble": {"up": False, "reason": "unplugged", "lent": False},
    },
    "zones": {"salon": ["salon-ble"]},
    "consents": {"here": 2, "centre": {"count": 1204, "confirmed": True, "at_ms": 1_795_000_420_000}},
    "waiting": 1,
    "oldest_ms": 1_795_000_000_000,
    "address": "broker.acme.example:8883",
    "broker": {"ok": True, "reason": None},
    "clock": "synced",
    "training": 0,
    "counters": {"sightings": 7, "absorbed": 1, "acted_on": 2, "dropped:unknown": 4, "appended": 3, "delivered": 2},
    "refused": {"down:command:expired": 1},
    "last": [
        {"at_ms": 1_795_000_000_000, "kind": "tap", "place": "vitrine-3"},
        {"at_ms": 1_795_000_001_000, "kind": "appeared", "place": "salon"},
    ],
}
WRONG = [Problem("reader salon-ble: unplugged", "is it plugged in?")]


def test_everything_on_one_screen() -> None:
    """Readers, zones, consents, outbox, broker, both balances, the last events; what is wrong comes first."""
    assert screen(WELL, WRONG, UTC) == [
        "acme / zrh-1 / gw-1   running",
        "! reader salon-ble: unplugged",
        "  > is it plugged in?",
        "",
        "Readers    salon-ble: unplugged",
        "           counter: up",
        "Zones      salon: 0 of 1 readers up",
        "Consents   2 given here, 1204 of the centre (complete, said 3 min ago)",
        "Outbox     1 event waits, the oldest for 10 min",
        "Broker     broker.acme.example:8883: connected",
        "Clock      synced",
        "Sightings  7 = absorbed 1 + acted on 2 + dropped 4",
        "           dropped: unknown 4",
        "Events     3 = delivered 2 + withdrawn 0 + evicted 0 + waiting 1",
        "Refused    from the centre: command:expired 1",
        "Last       11:06:41  appeared      salon",
        "           11:06:40  tap           vitrine-3",
    ]


def test_nothing_is_known_of_a_gateway_that_never_ran() -> None:
    """What is not known is said to be so."""
    never = WELL | {"running": False, "readers": {}, "zones": {}, "broker": None, "clock": None, "oldest_ms": None}
    never |= {"consents": {"here": 0, "centre": None}, "waiting": 0, "counters": {}, "refused": {}, "last": []}
    assert screen(never, [], UTC) == [
        "acme / zrh-1 / gw-1   not running",
        "",
        "Consents   0 given here",
        "Outbox     0 events wait",
        "Broker     broker.acme.example:8883: not known",
        "Clock      not known",
        "Sightings  0 = absorbed 0 + acted on 0 + dropped 0",
        "Events     0 = delivered 0 + withdrawn 0 + evicted 0 + waiting 0",
    ]


def test_readers_that_are_down_are_not_left_out() -> None:
    """Of many readers those that need somebody are shown, and the others counted; without a terminal all are."""
    readers = {f"r{number}": {"up": number != 9, "reason": "unplugged", "lent": False} for number in range(10)}
    lines = screen({**WELL, "readers": readers}, [], UTC)
    assert "Readers    r9: unplugged" in lines
    assert "           and 5 more" in lines
    assert "           r8: up" in screen({**WELL, "readers": readers}, [], UTC, 1000, 1000)


def test_problems_leave_room_for_the_rest() -> None:
    """Half of the screen at most is what is wrong; how much more there is, is said."""
    lines = screen(WELL, [Problem(f"problem {number}", "do it") for number in range(30)], UTC)
    assert "! 25 more: touchpoint doctor" in lines
    assert any(line.startswith("Outbox") for line in lines)


@given(
    problems=st.lists(st.builds(Problem, st.text(), st.text()), max_size=40),
    readers=st.lists(st.text(min_size=1, max_size=64), unique=True, max_size=40),
    width=st.integers(20, 200),
    height=st.integers(6, 100),
)
def test_any_screen(problems: list[Problem], readers: list[str], width: int, height: int) -> None:
    """Nothing is ever wider or higher than the terminal."""
    fares = {name: {"up": False, "reason": "x" * 100, "lent": False} for name in readers}
    lines = screen({**WELL, "readers": fares}, problems, UTC, width, height)
    assert len(lines) <= height
    assert all(len(line) <= width for line in lines)


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [(-5, "0 s"), (59_999, "59 s"), (60_000, "1 min"), (3_600_000, "1 h"), (86_400_000 * 3, "3 d")],
)
def test_how_long(milliseconds: int, text: str) -> None:
    """The largest unit is enough for people."""
    assert lasted(milliseconds) == text
