"""Whether a half may go on, or should be started again: what systemd's watchdog is told (systemd.service(5)).

Starting again costs the open visits and presences, so only what a new process may cure is a reason:

1. The store took no write for STORE_S: its thread hangs in a sync, the file system has gone read-only, the disk fails.
2. The thread that reads a device has shown no life for THREAD_S: it hangs in a driver. That the device is missing is no
   reason: such a thread ends, or says so.
3. A Bluetooth reader that counts as up, and that has heard the store's own beacons, has heard nobody at all for
   SILENT_S. Beacons of the store do not go home at night; without any, silence is a quiet place.

What no new process cures is no reason: a broker that is away, a reader that is unplugged, switched off or lent, a full
disk. A blocked event loop needs no rule: whoever should say that all is well runs on it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

STORE_S: Final = 150.0
THREAD_S: Final = 60.0
SILENT_S: Final = 900.0
"""Longer than the source's own cures take, which end with the adapter switched off and on (`sources/ble.py`)."""


@dataclass(frozen=True, slots=True)
class ReaderSigns:
    """What a reader shows of itself. Times in seconds, of a clock that never goes back; None: nothing to show."""

    name: str
    up: bool
    beat_at: float | None = None
    """When the thread of its device last showed that it lives."""
    heard_at: float | None = None
    """When it last heard anybody at all."""
    has_beacons: bool = False
    """It has heard beacons of the store since this process started."""


@dataclass(frozen=True, slots=True)
class Signs:
    """What a half shows of itself, by the same clock."""

    now: float
    store_at: float
    """When the store last took a write, or the half was started."""
    readers: Sequence[ReaderSigns] = ()


def fault(signs: Signs) -> str | None:
    """Return why the half should be started again; None while it is well."""
    if signs.now - signs.store_at > STORE_S:
        return f"the store has taken no write for {signs.now - signs.store_at:.0f} s"
    faults = (_reader_fault(reader, signs.now) for reader in signs.readers)
    return next((each for each in faults if each is not None), None)


def _reader_fault(reader: ReaderSigns, now: float) -> str | None:
    if reader.beat_at is not None and now - reader.beat_at > THREAD_S:
        return f"reader {reader.name}: its driver has not answered for {now - reader.beat_at:.0f} s"
    if reader.up and reader.has_beacons and reader.heard_at is not None and now - reader.heard_at > SILENT_S:
        return (
            f"reader {reader.name}: it has heard nobody for {now - reader.heard_at:.0f} s, not even the store's beacons"
        )
    return None
