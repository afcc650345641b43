"""Whether a command is carried out: the closed list is the schema, the rest is decided here, in both halves alike."""

from collections.abc import Mapping
from types import MappingProxyType

from gateway.core.downlink import Command, unix_ms
from gateway.core.sighting import ClockQuality, Moment

FUTURE_MS = 5 * 60_000
"""So far the centre's clock may be ahead of ours."""


NAMES: Mapping[str, str] = MappingProxyType(
    {
        "it is for another gateway": "wrong-gateway",
        "its counter was used before": "replayed",
        "the clock is not synced, so whether it has expired is not known": "clock-unsynced",
        "it has expired": "expired",
        "it was issued in the future": "from-the-future",
    }
)
"""What refusals are called in counters."""


class RestartAskedError(Exception):
    """The centre asks the gateway to stop cleanly and start again."""


def refusal(command: Command, gateway: str, counted: int, now: Moment) -> str | None:
    """Say why a command is refused, None if it is not. `counted` is the highest counter that was taken before."""
    if command.gateway != gateway:
        return "it is for another gateway"
    if command.counter <= counted:
        return "its counter was used before"
    if now.quality is ClockQuality.UNSYNCED:
        return "the clock is not synced, so whether it has expired is not known"
    if unix_ms(command.expires) <= now.wall_ms:
        return "it has expired"
    if unix_ms(command.issued) > now.wall_ms + FUTURE_MS:
        return "it was issued in the future"
    return None
