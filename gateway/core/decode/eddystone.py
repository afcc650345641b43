"""Eddystone (Google, github.com/google/eddystone): service data of the 16-bit service UUID 0xFEAA.

The first byte is the frame: 0x00 UID, 0x10 URL, 0x20 TLM, 0x30 EID. The power of UID, URL and EID is that at 0 m;
41 dB less is heard at 1 m. Encrypted telemetry (TLM version 1) needs a key, and is only taken apart here.
"""

from collections.abc import Callable, Mapping
from struct import Struct
from types import MappingProxyType

from gateway.core.decode import link
from gateway.core.decode.beacon import Beacon
from gateway.core.decode.namespace import ANY, Namespaces
from gateway.core.sighting import Identifier, SealedTelemetry, Telemetry

SERVICE = "feaa"
LOSS_AT_1_M = 41
"""Attenuation over the first metre, dB (Eddystone-UID, Tx Power)."""

SCHEMES = ("http://www.", "https://www.", "http://", "https://")
_DOMAINS = (".com", ".org", ".edu", ".net", ".info", ".biz", ".gov")
EXPANSIONS = (*(f"{domain}/" for domain in _DOMAINS), *_DOMAINS)
"""Eddystone-URL, HTTP URL encoding: 0x00 to 0x06 with a slash, 0x07 to 0x0D without."""

_UID, _EID = 0x00, 0x30
_UID_LENGTHS = (18, 20)
"""The two reserved bytes at the end are often left out."""
_TLM = Struct(">HhLL")
_SEALED = Struct(">12s2s2s")
_PLAIN_TLM, _ENCRYPTED_TLM = b"\x00", b"\x01"
_EID_LENGTH = 10
_GRAPHIC = range(0x21, 0x7F)
_NO_TEMPERATURE = -0x8000


def decode(data: bytes, wanted: Namespaces = ANY) -> Beacon | Telemetry | SealedTelemetry | None:
    """Decode service data; None if it is no frame that identifies or reports, or of a namespace that is not wanted."""
    frame = _FRAMES.get(data[0]) if data else None
    return None if frame is None else frame(data, wanted)


def _uid(data: bytes, wanted: Namespaces) -> Beacon | None:
    if len(data) not in _UID_LENGTHS or not (wanted.eddystone_uid is None or data[2:12] in wanted.eddystone_uid):
        return None
    return _beacon("eddystone-uid", f"{data[2:12].hex()}/{data[12:18].hex()}", data)


def _eid(data: bytes, wanted: Namespaces) -> Beacon | None:
    eid = data[2:]
    is_wanted = wanted.eddystone_eid is None or eid in wanted.eddystone_eid or eid in wanted.own
    return _beacon("eddystone-eid", eid.hex(), data) if len(data) == _EID_LENGTH and is_wanted else None


def _url(data: bytes, wanted: Namespaces) -> Beacon | None:
    if len(data) < 4 or data[2] >= len(SCHEMES):  # noqa: PLR2004  # frame, power, scheme, one character
        return None
    parts = [_expand(code) for code in data[3:]]
    if None in parts:
        return None
    url = link.canonical(SCHEMES[data[2]] + "".join(part for part in parts if part is not None))
    if url is None or not (wanted.links is None or f"{url}/".startswith(wanted.links)):
        return None
    return _beacon("link", url, data)


def _expand(code: int) -> str | None:
    if code < len(EXPANSIONS):
        return EXPANSIONS[code]
    return chr(code) if code in _GRAPHIC else None


def _tlm(data: bytes, _: Namespaces) -> Telemetry | SealedTelemetry | None:
    version, body = data[1:2], data[2:]
    if version == _PLAIN_TLM and len(body) == _TLM.size:
        return telemetry(body)
    if version == _ENCRYPTED_TLM and len(body) == _SEALED.size:
        return SealedTelemetry(*_SEALED.unpack(body))
    return None


def telemetry(body: bytes) -> Telemetry:
    """Read the 12 octets of telemetry, plain or decrypted."""
    millivolts, temperature, advertisements, deciseconds = _TLM.unpack(body)
    return Telemetry(
        battery_mv=millivolts or None,
        temperature_c=None if temperature == _NO_TEMPERATURE else temperature / 256,
        advertisements=advertisements,
        uptime_s=deciseconds / 10,
    )


def _beacon(kind: str, value: str, data: bytes) -> Beacon:
    power = int.from_bytes(data[1:2], signed=True)
    return Beacon(Identifier(kind, value), power, power - LOSS_AT_1_M)


_FRAMES: Mapping[int, Callable[[bytes, Namespaces], Beacon | Telemetry | SealedTelemetry | None]] = MappingProxyType(
    {_UID: _uid, 0x10: _url, 0x20: _tlm, _EID: _eid}
)
