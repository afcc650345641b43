"""Watching beacons, whether the gateway runs or not."""

import asyncio
from collections.abc import Mapping
from typing import Any

from gateway.capture import Capture
from gateway.config import Settings
from gateway.control import Answer, NobodyListensError, RequestError, Tell, ask
from gateway.daemon.capture import open_capture, source
from gateway.sources.ble import UnhealedError
from gateway.together import first_of
from gateway.watching import Watching


async def watch(settings: Settings, request: Mapping[str, Any], tell: Tell) -> Answer:
    """Ask the running capture half which beacons are around; without one, open its BLE readers here, under its lock.

    Raises RequestError, StoreError, ConfigError, UnhealedError.
    """
    try:
        return await ask(settings.gateway.sockets, request, tell)
    except NobodyListensError:
        return await _alone(settings, request, tell)


async def pick(settings: Settings, seconds: float) -> tuple[Answer | None, Answer]:
    """Wait until somebody holds a beacon that is nobody's yet to an antenna; return it, or None, and the last picture.

    Raises RequestError, StoreError, ConfigError, UnhealedError.
    """
    found = asyncio.get_running_loop().create_future()

    async def look(picture: Answer) -> None:
        if picture["held"] is not None and not found.done():
            found.set_result(picture)

    watching = asyncio.ensure_future(watch(settings, {"ask": "beacons-watch", "seconds": seconds}, look))
    try:
        await asyncio.wait({watching, found}, return_when=asyncio.FIRST_COMPLETED)
        picture: Answer = found.result() if found.done() else watching.result()
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    return next((each for each in picture["beacons"] if each["identifier"] == picture["held"]), None), picture


async def _alone(settings: Settings, request: Mapping[str, Any], tell: Tell) -> Answer:
    async with open_capture(settings) as half:
        _know_own(half)
        try:
            async with asyncio.TaskGroup() as tasks:
                ble = [source(each, half) for each in settings.readers if each.channel == "ble"]
                opened = [tasks.create_task(half.listen(each)) for each in ble]
                answer = await Watching(half, settings).watch(request, tell)
                for each in opened:
                    each.cancel()
        except BaseExceptionGroup as errors:
            raise first_of(errors, RequestError, UnhealedError) or errors from None
        return answer


def _know_own(half: Capture) -> None:
    """Fill the table of the identifiers that the store's own beacons send about now, as a running half does in time."""
    ephemeral, now = half.path.ephemeral, half.clock.now()
    while (due := ephemeral.next_deadline()) is not None and due <= now.boot_ns:
        ephemeral.expire(now)
