"""The one place that reads the time: both clocks, and how far the wall clock can be trusted."""

import ctypes
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from uuid import UUID

from gateway.core.sighting import ClockQuality, Moment

STA_UNSYNC = 0x40
"""Set in `timex.status` while no reference disciplines the clock (adjtimex(2))."""
_STATUS_OFFSET = 40 if ctypes.sizeof(ctypes.c_long) == 8 else 20  # noqa: PLR2004  # struct timex: int, four longs, int
_TIMESYNCD = Path("/run/systemd/timesync/synchronized")
_ASK_EVERY_NS = 10_000_000_000


@dataclass(slots=True)
class Clock:
    """`source`: "system" asks the kernel whether the clock is synced; "trusted" takes the operator's word for it."""

    source: Literal["system", "trusted"] = "system"
    _asked_ns: int = -_ASK_EVERY_NS
    _quality: ClockQuality = ClockQuality.UNSYNCED
    _ever_synced: bool = field(default=False)

    def now(self) -> Moment:
        """Return this instant."""
        boot_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        return Moment(boot_ns, time.time_ns() // 1_000_000, self._trust(boot_ns))

    def _trust(self, boot_ns: int) -> ClockQuality:
        if self.source == "trusted":
            return ClockQuality.SYNCED
        if boot_ns - self._asked_ns >= _ASK_EVERY_NS:
            self._asked_ns = boot_ns
            self._quality = self._ask()
        return self._quality

    def _ask(self) -> ClockQuality:
        synced = kernel_says_synced()
        if synced is None:  # a sandbox may forbid adjtimex; systemd-timesyncd leaves a file when it has synced
            synced = _TIMESYNCD.exists()
        self._ever_synced = self._ever_synced or synced or _TIMESYNCD.exists()
        if synced:
            return ClockQuality.SYNCED
        return ClockQuality.HOLDOVER if self._ever_synced else ClockQuality.UNSYNCED


def kernel_says_synced() -> bool | None:
    """Ask adjtimex(2) without changing anything; None where it cannot be asked."""
    timex = ctypes.create_string_buffer(512)
    try:
        answer = ctypes.CDLL(None, use_errno=True).adjtimex(timex)
    except (OSError, AttributeError):
        return None
    if answer < 0:
        return None
    return not ctypes.c_int.from_buffer(timex, _STATUS_OFFSET).value & STA_UNSYNC


def boot_id() -> str:
    """Return the id of this boot of the machine (random(4)): with it, a boot-time stamp is unambiguous.

    From $TOUCHPOINT_BOOT_ID, if a sandbox hides what the kernel says and systemd says it instead (`%b`).
    """
    if told := os.environ.get("TOUCHPOINT_BOOT_ID"):
        return str(UUID(told))
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
