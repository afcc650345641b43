"""A clock that is wrong, jumps, and is right at last, under the capture half as it runs."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.capture import Capture
from gateway.config import Settings
from gateway.core.path import Fate, Outcome
from gateway.core.sighting import ClockQuality, Moment
from tests.disk.conftest import capture_on, configured, drafted, publish, verified
from tests.disk.test_damage import waiting

TRUE_MS = 1_790_000_000_000
SECONDS = 10.0


@dataclass(slots=True)
class SetClock:
    """A clock that a test sets: seconds since the boot, and what it takes the boot's instant for."""

    boot_s: float = 100.0
    began_ms: int = 0
    quality: ClockQuality = ClockQuality.UNSYNCED

    def now(self) -> Moment:
        """Return this instant."""
        return Moment(int(self.boot_s * 1e9), self.began_ms + int(self.boot_s * 1000), self.quality)


@pytest.fixture
def settings(directory: Path) -> Settings:
    """A gateway."""
    return configured(directory, directory / "s")


@asynccontextmanager
async def running(settings: Settings, clock: SetClock) -> AsyncIterator[Capture]:
    """Run the half, without sources, by this clock."""
    async with capture_on(settings) as half:
        half.clock = clock  # type: ignore[assignment]  # it has the one method that is used
        working = asyncio.ensure_future(half.run([]))
        yield half
        working.cancel()
        with suppress(asyncio.CancelledError):
            await working


async def tap(half: Capture) -> None:
    """Commit an event at this instant of the half's clock."""
    outcome = await half.commit(Outcome(Fate.ACTED_ON, None, (drafted(at=half.clock.now()),)))
    assert outcome.fate is Fate.ACTED_ON


async def times(settings: Settings, clocks: list[str]) -> list[str]:
    """Wait until the events that wait have these clocks; return their times."""
    deadline = time.monotonic() + SECONDS
    while [getattr(event.data, "clock", None) for event in waiting(settings.gateway.state)] != clocks:
        assert time.monotonic() < deadline, "the clocks are not as they should be"
        await asyncio.sleep(0.05)
    return [event.time for event in waiting(settings.gateway.state)]


async def test_events_from_before_the_sync_get_their_true_time(settings: Settings) -> None:
    """Those that were sent stay; those that come after are right from the first."""
    clock = SetClock()
    async with running(settings, clock) as half:
        await tap(half)
        publish(settings.gateway.state, 1)
        clock.boot_s = 160
        await tap(half)
        clock.began_ms, clock.quality, clock.boot_s = TRUE_MS, ClockQuality.SYNCED, 220
        await tap(half)
        half.bell.set()
        found = await times(settings, ["unsynced", "synced", "synced"])
    assert found == ["1970-01-01T00:01:40.000Z", "2026-09-21T14:16:00.000Z", "2026-09-21T14:17:00.000Z"]


async def test_a_process_that_starts_after_the_sync_corrects_what_the_last_one_left(settings: Settings) -> None:
    """It is the same boot, so the same clock."""
    async with running(settings, SetClock()) as half:
        await tap(half)
    async with running(settings, SetClock(220, TRUE_MS, ClockQuality.SYNCED)) as half:
        half.bell.set()
        assert await times(settings, ["synced"]) == ["2026-09-21T14:15:00.000Z"]


@pytest.mark.parametrize("jump_s", [86_400 * 365, -86_400 * 365])
async def test_a_jump_of_the_clock_moves_no_sequence_and_no_event_that_has_its_time(
    settings: Settings, jump_s: int
) -> None:
    """Order is by sequence, whatever the wall clock says; nothing is lost, held up, or dated anew."""
    clock = SetClock(100, TRUE_MS, ClockQuality.SYNCED)
    async with running(settings, clock) as half:
        await tap(half)
        clock.began_ms += jump_s * 1000
        await tap(half)
        clock.quality = ClockQuality.HOLDOVER
        await tap(half)
        first, *rest = await times(settings, ["synced", "synced", "holdover"])
    assert first == "2026-09-21T14:15:00.000Z"
    assert rest == [f"{2026 + jump_s // (86_400 * 365)}-09-21T14:15:00.000Z"] * 2
    assert verified(settings.gateway.state).numbers["waiting"] == 3
