"""Recorded sightings: JSON lines that simulated readers and `touchpoint replay` play, `at` in seconds from the start.

    {"at": 12.345, "reader": "salon", "ble": {"address": "C4:00:00:00:00:01", "rssi": -61, "service": {"feaa": "00e3"}}}
    {"at": 14.1, "reader": "counter-nfc", "nfc": {"uid": "04a2b3c4d5e680", "ndef": "d1010155"}}
    {"at": 15.9, "reader": "counter-scanner", "scan": {"text": "https://id.acme.example/01/...", "symbology": "]Q1"}}
    {"at": 20.0, "reader": "salon", "up": false}
    {"at": 33.3, "clock": -2.5}

The last two say that a reader's device can be read no longer, until it is up again, and that the wall clock was set
forward by so many seconds, or back. Bytes are in hexadecimal, company identifiers and service UUIDs four hex digits.
What is empty may be left out.
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


@dataclass(frozen=True, slots=True)
class Condition:
    """From then on a reader's device can be read, or it cannot."""

    at: float
    reader: str
    up: bool


@dataclass(frozen=True, slots=True)
class ClockStep:
    """The wall clock was set forward by so many seconds, or back if they are negative."""

    at: float
    seconds: float


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
    reader: str | None = Field(default=None, min_length=1)
    ble: _Ble | None = None
    nfc: _Nfc | None = None
    scan: _Scan | None = None
    up: bool | None = None
    clock: float | None = Field(default=None, ge=-LONGEST_SECONDS, le=LONGEST_SECONDS, allow_inf_nan=False)

    def said(self) -> Recorded | Condition | ClockStep:
        """Return the one thing that the line says. Raises ValueError."""
        devices = [device for device in (self.ble, self.nfc, self.scan) if device is not None]
        if len(devices) + (self.up is not None) + (self.clock is not None) != 1:
            raise ValueError("exactly one of ble, nfc, scan, up and clock is needed")
        if (self.reader is None) is (self.clock is None):
            raise ValueError("reader: is needed for whatever a reader does, and for nothing else")
        if self.clock is not None:
            return ClockStep(self.at, self.clock)
        reader = self.reader or ""
        if self.up is not None:
            return Condition(self.at, reader, self.up)
        return Recorded(self.at, Sighting(reader, devices[0].payload()))


_KEYS = frozenset(key for model in (_Line, _Ble, _Nfc, _Scan) for key in model.model_fields)


def parse(line: str | bytes) -> Recorded | Condition | ClockStep:
    """Return what a line of a recording says.

    Raises ValueError, with the place in the line (a key or a column) and what is wrong there, but nothing of what
    stands there: a recording may hold customers' tokens.
    """
    try:
        read = _Line.model_validate_json(line)
    except ValidationError as error:
        raise ValueError(_complaint(error)) from None
    return read.said()


def format(said: Recorded | Condition | ClockStep) -> str:  # noqa: A001 -- read as `recording.format`
    """Return the line, without its end, that `parse` reads as this."""
    match said:
        case Recorded():
            line = {"at": said.at, "reader": said.sighting.reader, **_device(said.sighting.payload)}
        case Condition():
            line = {"at": said.at, "reader": said.reader, "up": said.up}
        case ClockStep():
            line = {"at": said.at, "clock": said.seconds}
        case _:
            assert_never(said)
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
