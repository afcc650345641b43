"""What a scanner hears of an advertiser: path loss, shadowing, fading, bodies in between, and lost packets.

The received signal strength of a packet, in dBm, over a distance in metres:

    power at 1 m - 10 n log10(distance) - walls - a body + shadowing + fading

- n = 2.2, indoors (Rappaport, Wireless Communications, 2nd ed., table 4.2: 1.6 to 3 in shops)
- shadowing: normal, 3 dB, correlated over 8 s, as somebody who stands and turns causes it
- fading: normal, 4 dB, anew for each packet: advertising hops over three channels
- a body between: 10 dB, for 4 s on average, once in 50 s
- a quarter of the packets is lost, and whatever is weaker than -95 dBm

These are the figures under which the defaults of `gateway.core.presence` were chosen.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import exp, log10, sqrt
from random import Random

EXPONENT = 2.2
SHADOWING_DB, SHADOWING_S = 3.0, 8.0
FADING_DB = 4.0
BODY_DB, BODY_S, BODIES_HZ = 10.0, 4.0, 0.02
LOSS = 0.25
SENSITIVITY_DBM = -95
ADVERTISING_DELAY_S = 0.010
"""Each interval is longer by a random delay of up to 10 ms (Bluetooth Core 5.4, Vol 6, Part B, 4.4.2.2.1)."""


def instants(interval: float, begins: float, ends: float, dice: Random) -> Iterator[float]:
    """Yield when an advertiser sends, in seconds."""
    at = begins + dice.random() * interval
    while at < ends:
        yield at
        at += interval + dice.random() * ADVERTISING_DELAY_S


@dataclass
class Link:
    """The way from one advertiser to one scanner."""

    power: float
    """At 1 m, dBm."""
    dice: Random
    _shadow: float = 0.0
    _heard_at: float = float("-inf")
    _behind_until: float = float("-inf")

    def receive(self, at: float, metres: float, walls_db: float) -> int | None:
        """Return the signal strength of the packet that is sent now, dBm; None if it is not received."""
        passed = min(at - self._heard_at, 1_000.0)
        self._heard_at = at
        kept = exp(-passed / SHADOWING_S)
        self._shadow = kept * self._shadow + sqrt(1 - kept * kept) * self.dice.gauss(0, SHADOWING_DB)
        if at >= self._behind_until and self.dice.random() < BODIES_HZ * min(passed, 5.0):
            self._behind_until = at + self.dice.expovariate(1 / BODY_S)
        level = self.power - 10 * EXPONENT * log10(max(metres, 0.3)) - walls_db + self._shadow
        level += self.dice.gauss(0, FADING_DB) - (BODY_DB if at < self._behind_until else 0.0)
        lost = self.dice.random() < LOSS or level < SENSITIVITY_DBM
        return None if lost else min(round(level), -20)
