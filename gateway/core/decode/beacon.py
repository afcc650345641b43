"""What a beacon's frame says: who it is, and how strong it should be heard."""

from dataclasses import dataclass

from gateway.core.sighting import Identifier


@dataclass(frozen=True, slots=True)
class Beacon:
    """An identifying advertisement."""

    identifier: Identifier
    tx_power: int
    """The power in the frame, dBm, as sent."""
    reference_rssi: int
    """What a receiver should hear at one metre, dBm."""
