"""What every source has in common."""

import asyncio
from collections.abc import Callable, Iterator
from itertools import islice, repeat

import pytest

from gateway.sources.source import LONGEST_PAUSE, DeviceLostError, Source, SourceStatus, pauses
from tests.sources.watch import Watch


class Broken(Source):
    """A device for which `trouble` is called at each attempt."""

    def __init__(self, watch: Watch, trouble: Callable[[], None]) -> None:
        super().__init__("broken", status=watch.status, dropped=watch.drop)
        self._trouble = trouble

    async def _read(self) -> None:
        self._trouble()


def test_pauses_double_up_to_the_longest() -> None:
    """The first attempt to heal comes soon, and a replug is noticed within five seconds for ever after."""
    assert list(islice(pauses(), 7)) == [0.25, 0.5, 1.0, 2.0, 4.0, 4.0, 4.0]
    assert LONGEST_PAUSE < 5


async def test_a_status_is_reported_when_it_changes(watch: Watch) -> None:
    """The same trouble twice is one report; another reason is another."""
    reasons = iter(["missing", "missing", "busy"])

    def lose() -> None:
        raise DeviceLostError(next(reasons, "busy"))

    async with Broken(watch, lose):
        await watch.until(lambda: watch.reason == "busy")
    assert watch.statuses == [SourceStatus("broken", up=False, reason=reason) for reason in ("missing", "busy")]


@pytest.mark.parametrize(("longest", "resets"), [(60.0, 0), (-1.0, 2)])
async def test_a_device_that_was_read_for_long_is_looked_for_at_once(
    watch: Watch, monkeypatch: pytest.MonkeyPatch, longest: float, resets: int
) -> None:
    """The pauses begin anew only for a device that lasted: one that comes and goes is not asked ever faster."""
    begun: list[int] = []
    attempts: list[int] = []

    def count_pauses(_: float) -> Iterator[float]:
        begun.append(len(attempts))
        return repeat(0.0)

    monkeypatch.setattr("gateway.sources.source.pauses", count_pauses)
    monkeypatch.setattr("gateway.sources.source.LONGEST_PAUSE", longest)
    async with Broken(watch, lambda: attempts.append(len(attempts))):
        await watch.until(lambda: len(attempts) >= 3)
    assert begun[1:3] == [1, 2][:resets]


async def test_a_defect_is_not_hidden(watch: Watch) -> None:
    """An error that is no trouble with the device ends the iteration with that error."""

    def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ExceptionGroup) as caught:
        async with Broken(watch, fail) as source, asyncio.timeout(5):
            await anext(source)
    assert caught.group_contains(ZeroDivisionError)
