"""Staff try things out: for an hour at most, whatever happens to the gateway and its clocks meanwhile."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.control import RequestError
from gateway.core.event import Event
from gateway.core.sighting import ClockQuality, Moment, Scan, Sighting
from gateway.desk import Desk
from gateway.store import audit, marks, usage
from gateway.training import End, seconds_left, take_up
from tests.test_desk import CONFIGURATION, HEADER, act, desk_in, events

MINUTE_NS, MINUTE_MS = 60_000_000_000, 60_000
NOW = Moment(100 * MINUTE_NS, 1_795_000_000_000)
LONGEST_NS = 60 * MINUTE_NS


async def scanned(desk: Desk) -> Event:
    """Scan the display case's code, and return the event that it makes."""
    half = desk.capture
    half.path.debounce.expire(1 << 62)
    await half.commit(half.path.see(Sighting("scanner", Scan("a")), half.clock.now()))
    return events(desk.settings.gateway.state)[-1]


def is_test(event: Event) -> bool:
    return bool(json.loads(event.model_dump_json())["data"]["test"])


async def test_a_training_marks_every_event_until_it_ends(directory: Path) -> None:
    """Nothing counts as use meanwhile; who began and ended it stands in the audit log; a restart forgets nothing."""
    async with desk_in(directory, CONFIGURATION) as desk:
        await act(desk, "registry-import", csv=f"{HEADER}\na,display,A,,,,,,,,,text:a\n")
        assert await act(desk, "training-off") == await act(desk, "training-status") == {"seconds": 0}
        assert 3_500 < (await act(desk, "training-on", who="anna"))["seconds"] <= 3_600
        assert is_test(await scanned(desk))
    async with desk_in(directory, CONFIGURATION) as desk:
        assert (await act(desk, "status"))["training"] == (await act(desk, "training-status"))["seconds"] > 3_400
        assert is_test(await scanned(desk))
        assert (await act(desk, "training-off"))["seconds"] == 0
        assert not is_test(await scanned(desk))
        counted, log = await desk.capture.writer.commit(
            lambda outbox: (usage.load(outbox.connection), list(audit.entries(outbox.connection)))
        )
    assert [(use.touchpoint, number) for use, number in counted.items()] == [("a", 1)]
    assert [(each.who, each.what) for each in log][-2:] == [("anna", "training-on"), ("gateway", "training-off")]
    async with desk_in(directory, CONFIGURATION) as desk:
        assert (await act(desk, "training-status"))["seconds"] == 0


async def test_it_lasts_an_hour_at_most(directory: Path) -> None:
    """Asked again it lasts that long from then on; longer is refused."""
    async with desk_in(directory, CONFIGURATION) as desk:
        assert 60 < (await act(desk, "training-on", minutes=2))["seconds"] <= 120
        assert (await act(desk, "training-on", minutes=1))["seconds"] <= 60
        for minutes in (0, 61):
            with pytest.raises(RequestError, match="1 to 60 minutes"):
                await act(desk, "training-on", minutes=minutes)


async def test_a_mark_that_makes_no_sense_is_none(directory: Path) -> None:
    """The gateway starts all the same, and what is tapped counts."""
    async with desk_in(directory, CONFIGURATION) as desk:
        for text in ("", "[]", "{", '{"boot": "b", "boot_ns": "soon", "wall_ms": null}'):
            await desk.capture.writer.commit(lambda outbox, text=text: marks.write(outbox.connection, "training", text))  # type: ignore[misc]  # a default binds text
            await take_up(desk.capture)
            assert seconds_left(desk.capture) == 0


def test_within_a_boot_the_clock_may_be_set() -> None:
    """Only the boot-time clock counts, however far the wall clock jumps."""
    end = End.after(60, "b", NOW)
    later = replace(NOW, boot_ns=NOW.boot_ns + 20 * MINUTE_NS, wall_ms=0, quality=ClockQuality.UNSYNCED)
    assert end.on_this_boot("b", later) == NOW.boot_ns + LONGEST_NS


@pytest.mark.parametrize(
    ("begun", "found", "left"),
    [
        (ClockQuality.SYNCED, ClockQuality.SYNCED, 40),
        (ClockQuality.HOLDOVER, ClockQuality.SYNCED, 40),
        (ClockQuality.UNSYNCED, ClockQuality.SYNCED, 0),
        (ClockQuality.SYNCED, ClockQuality.UNSYNCED, 0),
    ],
)
def test_after_another_boot_the_wall_clock_counts(begun: ClockQuality, found: ClockQuality, left: int) -> None:
    """If it could be believed then and can be now; else it is over."""
    end = End.after(60, "b", replace(NOW, quality=begun))
    later = Moment(MINUTE_NS, NOW.wall_ms + 20 * MINUTE_MS, found)
    assert end.on_this_boot("c", later) == later.boot_ns + left * MINUTE_NS


moments = st.builds(Moment, st.integers(0, 1 << 60), st.integers(0, 1 << 45), st.sampled_from(ClockQuality))


@given(st.integers(1, 60), moments, moments, st.sampled_from("bc"))
def test_no_clock_makes_it_longer_than_an_hour(minutes: int, begun: Moment, now: Moment, boot: str) -> None:
    """Whatever the clocks say, at the beginning and later; and the mark survives the file."""
    end = End.after(minutes, "b", begun)
    assert End.from_json(end.to_json()) == end
    assert end.on_this_boot(boot, now) - now.boot_ns <= LONGEST_NS
