"""NFC readers on USB that nfcpy can drive, as the kernel shows them (sysfs)."""

from collections.abc import Iterator
from pathlib import Path

from gateway.doctor.facts import UsbReader

PRODUCTS = {"054c:06c1": "Sony RC-S380", "054c:06c3": "Sony RC-S380", "072f:2200": "ACS ACR122U"}
"""By vendor and product."""


def usb_readers(root: Path) -> Iterator[UsbReader]:
    """List those that are plugged in, with the kernel's driver that holds each."""
    for device in sorted((root / "sys/bus/usb/devices").glob("*")):
        named = f"{_text(device / 'idVendor')}:{_text(device / 'idProduct')}"
        if named in PRODUCTS:
            drivers = (link.resolve().name for link in device.glob(f"{device.name}:*/driver"))
            yield UsbReader(PRODUCTS[named], next((name for name in drivers if name != "usbfs"), None), named)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
