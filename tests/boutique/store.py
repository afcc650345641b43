"""The store as the gateway knows it: readers, touchpoints, beacons of its own, keys, and who has consented."""

import json
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

from gateway.core.pseudonym import derive
from gateway.core.registry import BearerRule
from gateway.demo.boutique import (
    COUNTER,
    CUSTOMER_BEACONS,
    DOMAIN,
    GATEWAY,
    REGISTRY,
    SCANNER,
    SITE,
    TENANT,
    TOKENS,
    WINDOW,
)
from gateway.demo.signals import EDDYSTONE, eddystone_tlm, eddystone_uid, ibeacon
from gateway.keys import write_secret
from gateway.store import ledger, touchpoints
from gateway.store.database import open_writer, transaction
from gateway.store.device import leave_public
from gateway.store.registry_csv import Bounds, parse
from gateway.store.schema import CAPTURE
from tests.boutique.floor import SCANNERS, Spot
from tests.simulators import frames
from tests.simulators.centre_keys import GATEWAY as DEVICE
from tests.store.conftest import consent, signed

OPENING = datetime(2026, 11, 21, 9, tzinfo=UTC)
START_MS = int(OPENING.timestamp() * 1000)
RING = derive(bytes(range(32)), TENANT, SITE, [("2026Q4", 0, None)])
RULES = (BearerRule("link", TOKENS), BearerRule("ibeacon", f"{CUSTOMER_BEACONS}/"))
STORE_UUID = UUID("b9407f30-f5f8-466e-aff9-25556b57fe6d")
ORGANISATION = bytes.fromhex("00112233445566778899aabbccddeeff")
NAMESPACE = bytes.fromhex("c0ffee00c0ffee00c0ff")
GOODBYE, AUTUMN = f"https://{DOMAIN}/t/goodbye", f"https://{DOMAIN}/c/autumn-11"
VISIT_SECONDS, DEBOUNCE_SECONDS = 30, 2
VECTORS = Path(__file__).parents[1] / "vectors" / "advertisements.json"
"""Advertisements that were captured from devices or published with their formats; the file names its sources."""
CONFIGURATION = f"""[gateway]
tenant = "{TENANT}"
site = "{SITE}"
id = "{GATEWAY}"
state = "./state"
[mqtt]
host = "127.0.0.1"
[pseudonym]
keys = "./keys.json"
[visit]
seconds = {VISIT_SECONDS}
debounce = {DEBOUNCE_SECONDS}
[[reader]]
name = "{COUNTER}"
kind = "nfc"
touchpoint = "counter"
[[reader]]
name = "{WINDOW}"
kind = "nfc"
touchpoint = "window"
[[reader]]
name = "{SCANNER}"
kind = "scanner"
device = "/none"
touchpoint = "counter"
[[reader]]
name = "salon"
kind = "ble"
adapter = "hci0"
zone = "salon"
[[reader]]
name = "atelier"
kind = "ble"
adapter = "hci1"
zone = "atelier"
[[bearer]]
kind = "link"
prefix = "{TOKENS}"
[[bearer]]
kind = "ibeacon"
prefix = "{CUSTOMER_BEACONS}/"
low_entropy = true
"""
TOUCHPOINTS = f"""{REGISTRY}goodbye,visit-end,end of the visit,,,,,,,,,link:{GOODBYE}
autumn,catalogue,page 11 of the autumn catalogue,,before,,,,autumn,,2026-10-31T00:00:00Z,link:{AUTUMN}
"""

Frame = tuple[Mapping[int, bytes], Mapping[str, bytes]]
"""Manufacturer data and service data."""


def vectors() -> dict[str, Frame]:
    """Return the advertisements of the vectors by name."""
    return {case["name"]: _frame(case) for case in json.loads(VECTORS.read_text(encoding="utf-8"))["cases"]}


def _frame(case: Mapping[str, Any]) -> Frame:
    if "manufacturer" in case:
        company, data = case["manufacturer"]
        return {int(company, 16): bytes.fromhex(data)}, {}
    uuid, data = case["service"]
    return {}, {uuid: bytes.fromhex(data)}


@dataclass(frozen=True)
class OwnBeacon:
    """A beacon of the store and where it hangs."""

    id: str
    spot: Spot
    interval: float
    power: int
    identifier: str
    sends: tuple[Frame, ...] = field(repr=False)
    """Of its identity; in turn."""
    telemetry: bool = False
    """Whether it sends telemetry too, as every tenth frame."""

    @property
    def zone(self) -> str:
        return "salon" if self.spot[0] < 7 else "atelier"

    @property
    def row(self) -> str:
        return f"{self.id},beacon,{self.id},{self.zone},,,,,,,,{self.identifier}\n"


def own_beacons(dice: Random) -> list[OwnBeacon]:
    """Hang up beacons of every kind, among them those of the vectors that could be a store's."""
    real = vectors()
    uids = tuple(real[name] for name in real if name.startswith("Eddystone-UID"))
    return [
        _hung(dice, 0, "ibeacon:426c7565-4368-6172-6d42-6561636f6e73/3838/4949", -59, real["iBeacon, BlueCharm"]),
        _hung(dice, 1, "altbeacon:2f234454cf6d4a0fadf2f4911ba9ffa600010002", -59, real["AltBeacon"]),
        _hung(dice, 2, "eddystone-uid:12345678901234678901/000000000001", -70, *uids, telemetry=True),
        *(_made(dice, number) for number in range(3, 27)),
    ]


def _made(dice: Random, number: int) -> OwnBeacon:
    match number % 4:
        case 0:
            sent: Frame = ibeacon(STORE_UUID.bytes, 1, number), {}
            return _hung(dice, number, f"ibeacon:{STORE_UUID}/1/{number}", -59, sent)
        case 1:
            id_ = ORGANISATION + number.to_bytes(4)
            return _hung(dice, number, f"altbeacon:{id_.hex()}", -62, ({0x0118: frames.altbeacon(id_, -62)}, {}))
        case 2:
            instance = number.to_bytes(6)
            sent = {}, eddystone_uid(NAMESPACE, instance)
            text = f"eddystone-uid:{NAMESPACE.hex()}/{instance.hex()}"
            return _hung(dice, number, text, -59, sent, telemetry=True)
        case _:
            link = f"acme.example/b/{number}"
            sent = {}, {EDDYSTONE: frames.eddystone_url(3, link.encode(), -20)}
            return _hung(dice, number, f"link:https://{link}", -61, sent)


def _hung(dice: Random, number: int, identifier: str, power: int, *sends: Frame, telemetry: bool = False) -> OwnBeacon:
    x, y = SCANNERS["salon" if number % 2 else "atelier"]
    spot = x + dice.uniform(-5, 5), y + dice.uniform(-6, 3)
    return OwnBeacon(f"beacon-{number:02}", spot, dice.choice((2.0, 5.0, 10.0)), power, identifier, sends, telemetry)


def told(millivolts: int, uptime_s: float) -> Frame:
    """Return telemetry."""
    return {}, eddystone_tlm(millivolts, 21.5, int(uptime_s), uptime_s)


@dataclass(frozen=True)
class Agreed:
    """What a customer has said: handles of all tokens, until when (seconds from the start), or withdrawn."""

    handles: tuple[str, ...]
    until: float | None
    withdrawn: bool


def install(directory: Path, own: Iterable[OwnBeacon], agreed: Iterable[Agreed]) -> None:
    """Write configuration, keys, touchpoints and consents as a gateway has them before the day begins."""
    (directory / "gateway.toml").write_text(CONFIGURATION, encoding="utf-8")
    (directory / "keys.json").write_text(RING.to_json(), encoding="utf-8")
    (directory / "keys.json").chmod(0o600)
    (directory / "state").mkdir()
    write_secret(
        directory / "state" / "device.key", urlsafe_b64encode(DEVICE.key.private_bytes_raw()).decode().rstrip("=")
    )
    leave_public(directory / "state", DEVICE.key.public_key())
    rows = TOUCHPOINTS + "".join(beacon.row for beacon in own)
    with closing(open_writer(directory / "state", CAPTURE)) as database, transaction(database):
        touchpoints.replace(database, parse(rows, Bounds(RULES)))
        for number, each in enumerate(agreed):
            record = consent(f"r{number}", *each.handles, withdrawn=each.withdrawn)
            if each.until is not None:
                ends = datetime.fromtimestamp(START_MS / 1000 + each.until, UTC)
                record = record.model_copy(update={"expires_at": ends})
            ledger.put(database, record, signed(record))
