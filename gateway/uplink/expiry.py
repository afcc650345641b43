"""Watching the certificates: a month before one expires it shows in `touchpoint status` and in the retained state."""

import asyncio
import sqlite3
from collections.abc import Callable
from typing import Final

from gateway.config import Settings, expiry_fault
from gateway.core.sighting import ClockQuality, Moment
from gateway.store.progress import Component, report

LOOK_SECONDS: Final = 3_600.0
COMPONENT: Final = "certificate"


async def watch(settings: Settings, database: sqlite3.Connection, now: Callable[[], Moment]) -> None:
    """Report once an hour how long the certificates hold, if there are any. Raises CorruptError."""
    while settings.mqtt.ca is not None:
        look(settings, database, now())
        await asyncio.sleep(LOOK_SECONDS)


def look(settings: Settings, database: sqlite3.Connection, now: Moment) -> None:
    """Report whether a certificate expires soon; by a clock that is not synced nothing is said. Raises CorruptError."""
    if now.quality is not ClockQuality.UNSYNCED:
        fault = expiry_fault(settings, now.wall_ms)
        report(database, COMPONENT, Component(fault is None, fault, now.wall_ms))
