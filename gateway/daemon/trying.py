"""Trying a reader out, whether the gateway runs or not."""

from collections.abc import Mapping
from typing import Any

from gateway.config import Settings
from gateway.control import Answer, NobodyListensError, RequestError, Tell, ask
from gateway.daemon.capture import open_capture, source
from gateway.language import _, said
from gateway.trying import Trying, tried


async def try_reader(settings: Settings, request: Mapping[str, Any], tell: Tell) -> Answer:
    """Ask the running capture half to try a reader out; without one, open the reader here, holding the half's lock.

    Raises RequestError, StoreError, ConfigError.
    """
    try:
        return await ask(settings.gateway.sockets, request, tell)
    except NobodyListensError:
        return await _alone(settings, request, tell)


async def _alone(settings: Settings, request: Mapping[str, Any], tell: Tell) -> Answer:
    chosen = tried(settings, request["reader"])
    async with open_capture(settings) as half, source(chosen, half) as opened:
        try:
            return await Trying(half, settings).read(chosen.name, lambda: anext(opened), request, tell)
        except RequestError:
            status = half.readers.get(chosen.name)
            if status is None or status.up:
                raise
            raise RequestError(
                _("reader {name} is not working: {reason}").format(name=chosen.name, reason=said(status.reason))
            ) from None
