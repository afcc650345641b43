"""AltBeacon 1.0 (altbeacon.org): manufacturer data of any company.

BE AC | beacon id, 20 | reference RSSI at 1 m, int8 | reserved for the manufacturer, 1
"""

from gateway.core.decode.beacon import Beacon
from gateway.core.decode.namespace import Octets
from gateway.core.sighting import Identifier

_LENGTH = 24


def decode(data: bytes, wanted: Octets = None) -> Beacon | None:
    """Decode manufacturer data without the company identifier; None if it is no AltBeacon of a wanted organisation."""
    if len(data) != _LENGTH or data[:2] != b"\xbe\xac" or (wanted is not None and data[2:18] not in wanted):
        return None
    power = int.from_bytes(data[22:23], signed=True)
    return Beacon(Identifier("altbeacon", data[2:22].hex()), power, power)
