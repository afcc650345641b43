"""iBeacon (Apple, Proximity Beacon Specification R1): manufacturer data of company 0x004C.

02 15 | UUID, 16 | major, 2 big-endian | minor, 2 big-endian | measured power at 1 m, int8
"""

from struct import Struct

from gateway.core.decode.beacon import Beacon
from gateway.core.decode.namespace import Octets
from gateway.core.sighting import Identifier

COMPANY = 0x004C
_FRAME = Struct(">2x16sHHb")
_LENGTH = 23


def decode(data: bytes, wanted: Octets = None) -> Beacon | None:
    """Decode manufacturer data without the company identifier; None if it is no iBeacon of a wanted UUID."""
    if len(data) != _LENGTH or data[:2] != b"\x02\x15" or (wanted is not None and data[2:18] not in wanted):
        return None
    uuid, major, minor, power = _FRAME.unpack(data)
    digits = uuid.hex()
    text = f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}/{major}/{minor}"
    return Beacon(Identifier("ibeacon", text), power, power)
