"""Recorded sightings: JSON lines that simulated readers and `touchpoint replay` play, `at` in seconds from the start.

    {"at": 12.345, "reader": "salon", "ble": {"address": "C4:00:00:00:00:01", "rssi": -61, "service": {"feaa": "00e3"}}}
    {"at": 14.1, "reader": "counter-nfc", "nfc": {"uid": "04a2b3c4d5e680", "ndef": "d1010155"}}
    {"at": 15.9, "reader": "counter-scanner", "scan": {"text": "https://id.acme.example/01/...", "symbology": "]Q1"}}

Bytes are in hexadecimal, company identifiers and service UUIDs four hex digits. What is empty may be left out.
"""

import json
from dataclasses import dataclass
from typing import Annotated, Any, assert_never

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gateway.core.sighting import Advertisement, Payload, Scan, Sighting, Tag

LONGEST_SECONDS = 1e9
"""No recording lasts longer (31 years): beyond it a clock in nanoseconds and a date in ISO 8601 run out."""
Hex = Annotated[str, Field(pattern=r"^([0-9A-Fa-f]{2})*$")]
Uuid16 = Annotated[str, Field(pattern=r"^[0-9A-Fa-f]{4}$")]


@dataclass(frozen=True, slots=True)
class Recorded:
    """A sighting and when it was made, in seconds from the start of the recording."""

    at: float
    sighting: Sighting


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True)


class _Ble(_Strict):
    address: str = Field(pattern=r"^([0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}$", repr=False)
    rssi: int = Field(ge=-128, le=127)
    manufacturer: dict[Uuid16, Hex] = Field(default={}, repr=False)
    service: dict[Uuid16, Hex] = Field(default={}, repr=False)

    def payload(self) -> Advertisement:
        manufacturer = {int(company, 16): bytes.fromhex(data) for company, data in self.manufacturer.items()}
        service = {uuid.lower(): bytes.fromhex(data) for uuid, data in self.service.items()}
        return Advertisement(self.address, self.rssi, manufacturer, service)


class _Nfc(_Strict):
    uid: Hex = Field(min_length=2, repr=False)
    ndef: Hex = Field(default="", repr=False)

    def payload(self) -> Tag:
        return Tag(bytes.fromhex(self.uid), bytes.fromhex(self.ndef))


class _Scan(_Strict):
    text: str = Field(repr=False)
    symbology: str | None = Field(default=None, pattern=r"^\][A-Za-z][0-9A-Za-z]$")

    def payload(self) -> Scan:
        return Scan(self.text, self.symbology)


class _Line(_Strict):
    at: float = Field(ge=0, le=LONGEST_SECONDS, allow_inf_nan=False)
    reader: str = Field(min_length=1)
    ble: _Ble | None = None
    nfc: _Nfc | None = None
    scan: _Scan | None = None


_KEYS = frozenset(key for model in (_Line, _Ble, _Nfc, _Scan) for key in model.model_fields)


def parse(line: str | bytes) -> Recorded:
    """Return what a line of a recording says.

    Raises ValueError, with the place in the line (a key or a column) and what is wrong there, but nothing of what
    stands there: a recording may hold customers' tokens.
    """
    try:
        read = _Line.model_validate_json(line)
    except ValidationError as error:
        raise ValueError(_complaint(error)) from None
    payloads = [device.payload() for device in (read.ble, read.nfc, read.scan) if device is not None]
    if len(payloads) != 1:
        raise ValueError("exactly one of ble, nfc and scan is needed")
    return Recorded(read.at, Sighting(read.reader, payloads[0]))


def format(recorded: Recorded) -> str:  # noqa: A001 -- read as `recording.format`, beside `recording.parse`
    """Return the line, without its end, that `parse` reads as this."""
    sighting = recorded.sighting
    line = {"at": recorded.at, "reader": sighting.reader, **_device(sighting.payload)}
    return json.dumps(line, ensure_ascii=False)


def _complaint(error: ValidationError) -> str:
    first = error.errors(include_input=False, include_url=False, include_context=False)[0]
    place = ".".join(key if key in _KEYS else "(key)" for key in map(str, first["loc"]))
    return f"{place}: {first['msg']}" if place else first["msg"]


def _device(payload: Payload) -> dict[str, dict[str, Any]]:
    match payload:
        case Advertisement():
            manufacturer = {f"{company:04x}": data.hex() for company, data in payload.manufacturer.items()}
            service = {uuid: data.hex() for uuid, data in payload.service.items()}
            optional = _filled(manufacturer=manufacturer, service=service)
            return {"ble": {"address": payload.address, "rssi": payload.rssi, **optional}}
        case Tag():
            return {"nfc": {"uid": payload.uid.hex(), **_filled(ndef=payload.ndef.hex())}}
        case Scan():
            return {"scan": {"text": payload.text, **_filled(symbology=payload.symbology)}}
        case _:
            assert_never(payload)


def _filled(**values: object) -> dict[str, object]:
    return {key: value for key, value in values.items() if value}
