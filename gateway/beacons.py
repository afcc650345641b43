"""The store's own beacons: staff register them, have them forgotten, and ask how they are."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from gateway.capture import Capture
from gateway.control import Answer, Handler, RequestError, Tell
from gateway.core.ephemeral import BEACON
from gateway.core.health import SILENT_NS, HealthReport
from gateway.core.registry import Badge, Bearer, Touchpoint, split
from gateway.language import _
from gateway.registering import Registering, known
from gateway.store import registry_csv

KINDS: Final = ("ibeacon", "altbeacon", "eddystone-uid", "eddystone-eid", BEACON)
"""Identifiers that only a beacon sends."""
SENT: Final = (*KINDS, "link")
"""Identifiers that a beacon may send: a link, by Eddystone-URL, stands on tags and in codes too."""

Condition = Literal["ok", "low-battery", "silent", "elsewhere", "never-heard", "not-heard-yet", "retired"]
WELL: Final[frozenset[Condition]] = frozenset({"ok", "not-heard-yet", "retired"})
"""What needs nobody to go and look."""


def sent_by_beacons(touchpoint: Touchpoint) -> tuple[str, ...]:
    """Return the identifiers of a touchpoint that only a beacon sends."""
    return tuple(text for text in touchpoint.identifiers if text.partition(":")[0] in KINDS)


def canonical(text: str) -> str:
    """Return an identifier as it is registered: makers print hexadecimal digits in capitals, too."""
    kind, colon, value = text.strip().partition(":")
    return text.strip() if kind in {BEACON, "link"} else f"{kind.lower()}{colon}{value.lower()}"


@dataclass(slots=True)
class Beacons:
    """Keeps the beacons of the capture half."""

    capture: Capture
    registering: Registering
    began_ns: int = field(init=False)
    """When it began to listen: a beacon is missed only some time later."""

    def __post_init__(self) -> None:
        self.began_ns = self.capture.clock.now().boot_ns

    def handlers(self) -> Mapping[str, Handler]:
        """Return what may be asked, by name."""
        return {"beacons": self.beacons, "beacon-register": self.register, "beacon-forget": self.forget}

    async def beacons(self, request: Mapping[str, Any], tell: Tell) -> Answer:
        """Tell of each beacon of the store where it belongs, where and when it was heard, and how it is."""
        del request, tell
        path, now = self.capture.path, self.capture.clock.now()
        heard = path.beacons.conditions(now.boot_ns)
        places = [each for each in path.registry.touchpoints.values() if each.id in heard or sent_by_beacons(each)]
        return {
            "running": self.capture.at_work.is_set(),
            "down": [
                {"name": each.name, "reason": status.reason}
                for each in path.readers.values()
                if each.channel == "ble" and (status := self.capture.readers.get(each.name)) and not status.up
            ],
            "beacons": [
                _row(each, heard.get(each.id), self._condition(each, heard.get(each.id), now.wall_ms, now.boot_ns))
                for each in places
            ],
        }

    def _condition(self, place: Touchpoint, heard: HealthReport | None, wall_ms: int, boot_ns: int) -> Condition:
        if not place.valid_at(wall_ms):
            return "retired"
        if heard is None:
            since = self.capture.path.beacons.listening_ns
            long = since is not None and boot_ns - max(since, self.began_ns) >= SILENT_NS
            return "never-heard" if long else "not-heard-yet"
        if heard.status == "silent":
            return "silent"
        zones = {each.zone for each in self.capture.path.readers.values() if each.channel == "ble"}
        if place.zone in zones and heard.zone != place.zone:
            return "elsewhere"
        return "low-battery" if heard.status == "low-battery" else "ok"

    async def register(self, request: Mapping[str, Any], tell: Tell) -> Answer:
        """Give a touchpoint the identifier of a beacon; one that is not there yet is made, of kind `beacon`.

        Raises RequestError: it is another's, a customer's token or a badge; no such zone.
        """
        name, text = str(request["touchpoint"]), canonical(str(request["identifier"]))
        self._must_be_beacons(text)
        cells = {column: str(request[column]) for column in ("name", "zone") if request.get(column) is not None}
        self._must_be_zone(cells.get("zone"))
        before = self.capture.path.registry.touchpoints.get(name)
        if before is None:
            fresh = {"id": name, "kind": "beacon", "name": name, "identifiers": text, **cells}
            return await self.registering.add({**request, "cells": fresh}, tell)
        if before.kind == "feedback":
            wrong = _("{id} is a feedback point: a beacon cannot be an answer")
            raise RequestError(wrong.format(id=name))
        if text not in before.identifiers:
            cells["identifiers"] = f"{registry_csv.cells(before)['identifiers']} {text}"
        return await self.registering.edit({**request, "id": name, "cells": cells}, tell)

    def _must_be_beacons(self, text: str) -> None:
        if text.partition(":")[0] not in SENT:
            wrong = _(
                "that is no beacon's identifier; it begins with one of {kinds}, as touchpoint beacons scan shows it"
            )
            raise RequestError(wrong.format(kinds=", ".join(f"{kind}:" for kind in SENT)))
        meaning = self.capture.path.registry.lookup(split(text, feedback=False)[0])
        if isinstance(meaning, Badge):
            raise RequestError(_("that is a badge of the staff, by a [[badge]] rule of the configuration"))
        if isinstance(meaning, Bearer):
            raise RequestError(_("that is a customer's token, by a [[bearer]] rule of the configuration"))

    def _must_be_zone(self, zone: str | None) -> None:
        """Refuse a zone that neither a reader nor another touchpoint has: it is mostly a slip of the pen."""
        path = self.capture.path
        found = {each.zone for each in path.readers.values()} | {
            each.zone for each in path.registry.touchpoints.values()
        }
        if zone and zone not in found:
            wrong = _("no reader and no touchpoint is in the zone {zone}; there are: {zones}")
            raise RequestError(wrong.format(zone=zone, zones=", ".join(sorted(filter(None, found))) or "-"))

    async def forget(self, request: Mapping[str, Any], tell: Tell) -> Answer:
        """Take identifiers of beacons off a touchpoint. Raises RequestError."""
        before = known(self.capture.path.registry.touchpoints, str(request["touchpoint"]))
        gone = {str(each) for each in request["identifiers"]}
        kept = " ".join(
            word
            for word, text in zip(registry_csv.cells(before)["identifiers"].split(), before.identifiers, strict=True)
            if text not in gone
        )
        answer = await self.registering.edit({**request, "id": before.id, "cells": {"identifiers": kept}}, tell)
        if not sent_by_beacons(self.capture.path.registry.touchpoints[before.id]):
            self.capture.path.beacons.forget(before.id)
        return answer


def _row(place: Touchpoint, heard: HealthReport | None, condition: Condition) -> Answer:
    """Write a beacon for a command."""
    telemetry = None if heard is None else heard.telemetry
    return {
        "touchpoint": place.id,
        "name": place.name,
        "zone": place.zone,
        "identifiers": sent_by_beacons(place),
        "condition": condition,
        "heard_in": None if heard is None else heard.zone,
        "reader": None if heard is None else heard.reader,
        "rssi": None if heard is None else heard.rssi,
        "last_heard_s": None if heard is None else heard.last_seen_s,
        "battery_mv": None if telemetry is None else telemetry.battery_mv,
        "temperature_c": None if telemetry is None else telemetry.temperature_c,
    }
