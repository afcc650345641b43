"""Readers that are there: what the machine shows of them, for whoever sets a gateway up to choose from."""

from dataclasses import dataclass
from pathlib import Path

from gateway.doctor.usb import usb_readers


@dataclass(frozen=True, slots=True)
class Candidate:
    """A device that may be a reader: what kind, how the configuration names it, and how people know it."""

    kind: str
    device: str
    label: str


def candidates(root: Path = Path("/")) -> list[Candidate]:
    """List serial ports and keyboards by their own paths, NFC readers on USB, and Bluetooth adapters."""
    found = [Candidate("scanner", f"/{each.relative_to(root)}", each.name) for each in _named(root, "serial", "*")]
    typing = _named(root, "input", "*-event-kbd")
    found += [Candidate("scanner", f"/{each.relative_to(root)}", each.name) for each in typing]
    found += [Candidate("nfc", f"usb:{each.id}", each.product) for each in usb_readers(root)]
    adapters = sorted((root / "sys/class/bluetooth").glob("hci*"))
    return found + [Candidate("ble", each.name, f"Bluetooth {each.name}") for each in adapters if ":" not in each.name]


def _named(root: Path, where: str, pattern: str) -> list[Path]:
    return sorted((root / "dev" / where / "by-id").glob(pattern))
