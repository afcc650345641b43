"""What a device reads, and when: the words that every other module speaks.

Payloads and identifiers may belong to a customer, so nothing here shows its content in `repr` or `str`:
an exception or a log line that carries one by accident carries a name and no value.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class ClockQuality(StrEnum):
    """How far the wall clock can be trusted. A Raspberry Pi has no real-time clock."""

    SYNCED = "synced"
    """Disciplined by NTP or another reference now."""
    HOLDOVER = "holdover"
    """Was synced since this boot, and runs free at present."""
    UNSYNCED = "unsynced"
    """Never synced since this boot: the wall clock may be years off."""


@dataclass(frozen=True, slots=True)
class Moment:
    """An instant on both clocks: durations come from `boot_ns`, time stamps from `wall_ms`."""

    boot_ns: int
    """CLOCK_BOOTTIME, nanoseconds: monotonic, counts suspend, starts at 0 with each boot."""
    wall_ms: int
    """Unix time, milliseconds."""
    quality: ClockQuality = ClockQuality.SYNCED


@dataclass(frozen=True, slots=True)
class Identifier:
    """`kind:value`, the value in canonical text; the identity of a touchpoint or of a customer's token."""

    kind: str
    value: str = field(repr=False)

    @property
    def text(self) -> str:
        """The canonical text `kind:value`. It may identify a customer: never log it, never store it."""
        return f"{self.kind}:{self.value}"


@dataclass(frozen=True, slots=True)
class Telemetry:
    """What a beacon says of itself (Eddystone-TLM). No identifier."""

    battery_mv: int | None
    temperature_c: float | None
    advertisements: int
    uptime_s: float


@dataclass(frozen=True, slots=True)
class SealedTelemetry:
    """What a beacon says of itself to whoever has its key (Eddystone-TLM, version 1)."""

    ciphertext: bytes = field(repr=False)
    salt: bytes = field(repr=False)
    tag: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Advertisement:
    """One BLE advertisement as bleak hands it over."""

    address: str = field(repr=False)
    """The sender's MAC address: only ever a key in memory that joins telemetry to an identifier."""
    rssi: int
    """Received signal strength, dBm."""
    manufacturer: Mapping[int, bytes] = field(default_factory=dict, repr=False)
    """Manufacturer-specific data by company identifier."""
    service: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    """Service data by 16-bit service UUID, four lower-case hex digits."""


@dataclass(frozen=True, slots=True)
class Tag:
    """One NFC tag in the field."""

    uid: bytes = field(repr=False)
    ndef: bytes = field(default=b"", repr=False)
    """The raw NDEF message; empty when the tag holds none."""


@dataclass(frozen=True, slots=True)
class Scan:
    """One reading of an optical scanner."""

    text: str = field(repr=False)
    symbology: str | None = None
    """The AIM symbology identifier (ISO/IEC 15424), for instance `]Q1`; None when the scanner sends none."""


Payload = Advertisement | Tag | Scan


@dataclass(frozen=True, slots=True)
class Sighting:
    """One reading by a reader. Lives in memory only."""

    reader: str
    """The name of the reader in the configuration."""
    payload: Payload
