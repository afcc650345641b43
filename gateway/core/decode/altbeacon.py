"""AltBeacon 1.0 (altbeacon.org): manufacturer data of any company.

BE AC | beacon id, 20 | reference RSSI at 1 m, int8 | reserved for the manufacturer, 1
"""

from functools import lru_cache

from gateway.core.decode.beacon import REPEATED, Beacon
from gateway.core.sighting import Identifier

_LENGTH = 24


def decode(data: bytes) -> Beacon | None:
    """Decode manufacturer data without the company identifier; None if it is no AltBeacon."""
    return _decoded(data) if len(data) == _LENGTH and data[:2] == b"\xbe\xac" else None


@lru_cache(maxsize=REPEATED)
def _decoded(data: bytes) -> Beacon:
    power = int.from_bytes(data[22:23], signed=True)
    return Beacon(Identifier("altbeacon", data[2:22].hex()), power, power)
