"""What is measured of a gateway: apart from `gateway.uplink.metrics`, so that nobody need load its library."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from gateway.core.sighting import Moment


@dataclass(frozen=True, slots=True)
class Measured:
    """A gateway as its configuration describes it, and what its uplink half knows; the rest is read from its files.

    The functions are called in a thread of their own.
    """

    names: Mapping[str, str]
    """Version, tenant, site and gateway."""
    state: Path
    limit_bytes: int
    """How far the outbox may grow."""
    readers: Mapping[str, str]
    """The kind of each reader."""
    certificate: Path | None
    """For mutual TLS."""
    now: Callable[[], Moment]
    connected: Callable[[], bool]
    """Whether a broker takes what is published."""
    condition: Callable[[], Mapping[str, str | None]]
    """What the uplink half sees for itself, `capture` among it: what is wrong by component, None where nothing is."""
