"""Staff try things out: for an hour at most every event says `test`, and nothing counts as use.

The end is kept in `capture.db` on both clocks, so that a restart does not forget it. Within a boot the boot-time clock
decides, which nobody sets; after another boot the wall clock, if it can be believed then and could before. Where
neither tells, the training is over: what customers do must not pass for a test.
"""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Self

from gateway.capture import Capture
from gateway.control import Answer, Handler, RequestError, Tell
from gateway.core.sighting import ClockQuality, Moment
from gateway.language import _
from gateway.store import audit, marks
from gateway.store.outbox import Outbox

LONGEST_MINUTES: Final = 60
_MINUTE_NS: Final = 60_000_000_000
_MARK: Final = "training"


@dataclass(frozen=True, slots=True)
class End:
    """When a training ends, on both clocks."""

    boot: str
    """The boot whose clock `boot_ns` is of."""
    boot_ns: int
    wall_ms: int | None
    """None when the clock was not synced."""

    @classmethod
    def after(cls, minutes: int, boot: str, now: Moment) -> Self:
        """Return the end of a training that begins now."""
        wall_ms = None if now.quality is ClockQuality.UNSYNCED else now.wall_ms + minutes * 60_000
        return cls(boot, now.boot_ns + minutes * _MINUTE_NS, wall_ms)

    @classmethod
    def from_json(cls, text: str | None) -> "End | None":
        """Read what `to_json` wrote; None for anything else."""
        try:
            read = json.loads(text or "null")
            return cls(
                str(read["boot"]), int(read["boot_ns"]), None if read["wall_ms"] is None else int(read["wall_ms"])
            )
        except (ValueError, LookupError, TypeError, RecursionError):
            return None

    def to_json(self) -> str:
        """Write it down."""
        return json.dumps(asdict(self))

    def on_this_boot(self, boot: str, now: Moment) -> int:
        """Return the end on this boot's clock (CLOCK_BOOTTIME, ns): never later than of a training that begins now."""
        if boot == self.boot:
            left_ns = self.boot_ns - now.boot_ns
        elif self.wall_ms is None or now.quality is ClockQuality.UNSYNCED:
            left_ns = 0
        else:
            left_ns = (self.wall_ms - now.wall_ms) * 1_000_000
        return now.boot_ns + min(left_ns, LONGEST_MINUTES * _MINUTE_NS)


@dataclass(slots=True)
class Training:
    """Begins and ends the training of the capture half."""

    capture: Capture

    def handlers(self) -> Mapping[str, Handler]:
        """Return what may be asked, by name."""
        return {"training-on": self.on, "training-off": self.off, "training-status": self.status}

    async def on(self, request: Mapping[str, Any], tell: Tell) -> Answer:
        """Begin a training, or have the one that is under way last so long from now on. Raises RequestError."""
        del tell
        minutes = int(request.get("minutes", LONGEST_MINUTES))
        if not 1 <= minutes <= LONGEST_MINUTES:
            raise RequestError(_("a training lasts 1 to {longest} minutes").format(longest=LONGEST_MINUTES))
        end = End.after(minutes, self.capture.writer.outbox.boot, self.capture.clock.now())
        await self._set(request, end, "training-on", {"minutes": minutes})
        return self._said()

    async def off(self, request: Mapping[str, Any], tell: Tell) -> Answer:
        """End a training, if one is under way."""
        del tell
        if seconds_left(self.capture):
            await self._set(request, None, "training-off", {})
        return self._said()

    async def status(self, request: Mapping[str, Any], tell: Tell) -> Answer:
        """Tell whether a training is under way."""
        del request, tell
        return self._said()

    def _said(self) -> Answer:
        return {"seconds": seconds_left(self.capture)}

    async def _set(self, request: Mapping[str, Any], end: End | None, what: str, detail: Mapping[str, Any]) -> None:
        """Commit, and only then go by it; both, even if whoever asked has left meanwhile."""
        at_ms, who = self.capture.clock.now().wall_ms, str(request.get("who") or audit.GATEWAY)

        def job(outbox: Outbox) -> None:
            if end is None:
                marks.remove(outbox.connection, _MARK)
            else:
                marks.write(outbox.connection, _MARK, end.to_json())
            audit.append(outbox.connection, at_ms, who, what, detail)

        async def change() -> None:
            await self.capture.writer.commit(job)
            self.capture.path.training_until_ns = 0 if end is None else end.boot_ns

        await asyncio.shield(change())


def seconds_left(capture: Capture) -> int:
    """Return how long a training goes on, in seconds, rounded up; 0 when there is none."""
    return max(0, -((capture.clock.now().boot_ns - capture.path.training_until_ns) // 1_000_000_000))


async def take_up(capture: Capture) -> None:
    """Go on with a training that was under way when the half ended. Raises sqlite3.Error."""
    text = await capture.writer.commit(lambda outbox: marks.read(outbox.connection, _MARK))
    if (end := End.from_json(text)) is not None:
        capture.path.training_until_ns = end.on_this_boot(capture.writer.outbox.boot, capture.clock.now())
