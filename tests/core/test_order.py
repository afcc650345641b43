"""Whether a command is carried out: for us, new, in time, by a clock that can tell."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.downlink import Report
from gateway.core.order import FUTURE_MS, NAMES, refusal
from gateway.core.sighting import ClockQuality, Moment

NOW_MS = 1_795_000_000_000
NOW = Moment(1, NOW_MS)
MINUTE_MS = 60_000


def command(*, gateway: str = "gw-1", counter: int = 7, issued_ms: int = NOW_MS, lives_ms: int = MINUTE_MS) -> Report:
    issued = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=issued_ms)
    return Report(
        id="c", gateway=gateway, counter=counter, issued=issued, expires=issued + timedelta(milliseconds=lives_ms),
        command="report",
    )  # fmt: skip


def test_a_new_command_for_us_is_carried_out() -> None:
    """From the first millisecond to the last of its life, and if the centre's clock is a little ahead."""
    assert refusal(command(), "gw-1", 6, NOW) is None
    assert refusal(command(issued_ms=NOW_MS - MINUTE_MS + 1), "gw-1", 0, NOW) is None
    assert refusal(command(issued_ms=NOW_MS + FUTURE_MS), "gw-1", 6, NOW) is None
    assert refusal(command(), "gw-1", 6, Moment(1, NOW_MS, ClockQuality.HOLDOVER)) is None


REFUSED = {
    "wrong-gateway": (command(gateway="gw-2"), NOW),
    "replayed": (command(counter=6), NOW),
    "clock-unsynced": (command(), Moment(1, NOW_MS, ClockQuality.UNSYNCED)),
    "expired": (command(issued_ms=NOW_MS - MINUTE_MS), NOW),
    "from-the-future": (command(issued_ms=NOW_MS + FUTURE_MS + 1), NOW),
}


@pytest.mark.parametrize("name", NAMES.values())
def test_whatever_else_is_refused(name: str) -> None:
    """Each reason has a name in the counters."""
    order, now = REFUSED[name]
    assert NAMES[refusal(order, "gw-1", 6, now) or ""] == name


@given(st.integers(1, 1 << 40), st.integers(0, 1 << 40))
def test_no_counter_counts_twice(counter: int, counted: int) -> None:
    """What was counted once, or anything before it, is never carried out."""
    assert (refusal(command(counter=counter), "gw-1", counted, NOW) is None) == (counter > counted)
