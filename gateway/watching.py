"""Staff watch which beacons are heard around: the store's own, and those that belong to nobody here yet.

While somebody watches, strangers' beacons are decoded for them, and at no other time; nothing of them is kept, logged
or sent on. A beacon that a customer or one of the staff carries is not shown, nor an identifier that changes and is not
ours, nor any address. The path of sightings goes on beside it as ever.
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from gateway.capture import Capture
from gateway.config import Settings
from gateway.control import Answer, Handler, RequestError, Tell
from gateway.core import decode
from gateway.core.ephemeral import EID
from gateway.core.nearby import Heard, Nearby, held
from gateway.core.registry import Known
from gateway.core.sighting import Advertisement, Identifier, SealedTelemetry, Sighting, Telemetry
from gateway.language import _

PERIOD_SECONDS: Final = 0.5
"""How often a new picture is sent."""
LONGEST_SECONDS: Final = 3600.0
"""Strangers' beacons are read for so long at a time, at most."""


@dataclass(slots=True)
class Watching:
    """Shows what the BLE readers of the capture half hear."""

    capture: Capture
    settings: Settings

    def handlers(self) -> Mapping[str, Handler]:
        """Return what may be asked, by name."""
        return {"beacons-watch": self.watch}

    async def watch(self, request: Mapping[str, Any], tell: Tell) -> Answer:
        """Tell twice a second which beacons are around, for so many seconds; the last picture is the answer.

        Raises RequestError.
        """
        seconds = float(request["seconds"])
        if not 0 < seconds <= LONGEST_SECONDS:
            raise RequestError(
                _("beacons are watched for up to {seconds} seconds").format(seconds=f"{LONGEST_SECONDS:g}")
            )
        if not any(each.channel == "ble" for each in self.settings.readers):
            raise RequestError(_('No [[reader]] of kind = "ble" is configured, so no beacon can be heard.'))
        nearby = Nearby()
        with self.capture.watch(partial(self._see, nearby)), suppress(TimeoutError):
            async with asyncio.timeout(seconds):  # also for a terminal that takes nothing any more
                while True:
                    await tell(self._picture(nearby))
                    await asyncio.sleep(PERIOD_SECONDS)
        return self._picture(nearby)

    def _see(self, nearby: Nearby, sighting: Sighting) -> None:
        """Take in what concerns staff of a sighting."""
        advertisement = sighting.payload
        if not isinstance(advertisement, Advertisement):
            return
        heard = decode.advertisement(advertisement)
        if isinstance(heard, Telemetry | SealedTelemetry):
            self._told(nearby, advertisement.address, heard)
        elif heard is not None:
            self._heard(nearby, sighting.reader, advertisement, heard.identifier)

    def _told(self, nearby: Nearby, address: str, said: Telemetry | SealedTelemetry) -> None:
        ephemeral = self.capture.path.ephemeral
        telemetry = ephemeral.open(address, said) if isinstance(said, SealedTelemetry) else said
        if telemetry is not None:
            nearby.tell(address, telemetry)

    def _heard(self, nearby: Nearby, reader: str, advertisement: Advertisement, heard: Identifier) -> None:
        path, now = self.capture.path, self.capture.clock.now()
        identifier = path.ephemeral.resolve(heard, advertisement.address, now)
        meaning = path.registry.lookup(identifier)
        if meaning is None and identifier.kind != EID:
            touchpoint = None
        elif isinstance(meaning, Known):
            touchpoint = meaning.touchpoint.id
        else:
            return  # a customer's, one of the staff's, or of somebody who does not want to be followed
        zone = path.readers[reader].place
        nearby.hear(identifier, touchpoint, advertisement.address, reader, zone, advertisement.rssi, now.boot_ns)

    def _picture(self, nearby: Nearby) -> Answer:
        found = nearby.heard(self.capture.clock.now().boot_ns)
        at_hand = held(found)
        return {
            "beacons": [_row(each) for each in found],
            "held": None if at_hand is None else at_hand.identifier.text,
            "readers": [_reader(self.capture, each.name) for each in self.settings.readers if each.channel == "ble"],
        }


def _row(heard: Heard) -> Answer:
    """Write a beacon for a command."""
    return {
        "identifier": heard.identifier.text,
        "touchpoint": heard.touchpoint,
        "zone": heard.zone,
        "reader": heard.reader,
        "rssi": heard.rssi,
        "median": heard.median,
        "battery_mv": heard.battery_mv,
        "unheard_s": heard.unheard_s,
        "senders": heard.senders,
    }


def _reader(capture: Capture, name: str) -> Answer:
    status = capture.readers.get(name)
    reason = _("it is not opened yet") if status is None else status.reason
    return {
        "name": name,
        "zone": capture.path.readers[name].place,
        "up": status is not None and status.up,
        "reason": reason,
    }
