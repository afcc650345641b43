"""What the path costs: a stranger's advertisement, which is nearly every one, and a customer's tap."""

import hmac
from collections.abc import Iterator
from functools import partial
from itertools import cycle
from struct import Struct

from pydantic_core import to_json

from gateway.core import decode
from gateway.core.path import Path
from gateway.core.sighting import Advertisement, Moment, Sighting
from tests.benchmarks.row import Row, Target, in_turn
from tests.benchmarks.stopwatch import seconds_each
from tests.core import salon
from tests.simulators import frames

TIMES = 15
STRANGERS = 200
"""Different beacons in the air: a shopping street."""
_FRAME = Struct(">2x16sHHb")


def rows() -> Iterator[Row]:
    """Measure both."""
    yield unknown_advertisement()
    yield tap_with_subject()


def unknown_advertisement() -> Row:
    """Hear iBeacons that nobody registered."""
    path, now = salon.path(salon.FakeLedger()), salon.at(1)
    heard = [_stranger(number) for number in range(STRANGERS)]
    sightings = cycle([Sighting("salon", advertisement) for advertisement in heard])
    advertisements, known = cycle(heard), {(salon.CLARA_UUID, 7, 9): "Clara"}

    ours = partial(seconds_each, lambda: path.see(next(sightings), now))
    bare = partial(seconds_each, lambda: look_up(next(advertisements), known))
    pairs = in_turn(ours, bare, TIMES)
    return pairs.row("unknown advert through the path", "bare struct decode, dict look-up", "s", Target(3))


def look_up(advertisement: Advertisement, known: dict[tuple[bytes, int, int], str]) -> str | None:
    """Do the least that tells a stranger's iBeacon: check, unpack, look up."""
    data = advertisement.manufacturer.get(0x004C)
    if data is None or len(data) != 23 or data[:2] != b"\x02\x15":
        return None
    uuid, major, minor, _ = _FRAME.unpack(data)
    return known.get((uuid, major, minor))


def _stranger(number: int) -> Advertisement:
    uuid = (number % 10).to_bytes(16)
    return Advertisement(f"C4:00:00:00:00:{number:02X}", -70, {0x004C: frames.ibeacon(uuid, 1, number, -59)})


def tap_with_subject() -> Row:
    """Present a consenting customer's card; held against its parts: decode, four MACs, one JSON text."""
    path, ledger = consenting()
    sighting, now = salon.present(salon.ANNA), salon.at(1)
    (draft,) = path.see(sighting, now).drafts
    whole, data = [*_times(now)], _json_values(draft.data)
    instants = cycle(whole)

    ours = partial(seconds_each, lambda: path.see(sighting, next(instants)), 500)
    bare = partial(seconds_each, lambda: parts(sighting, data), 500)
    del ledger
    return in_turn(ours, bare, TIMES).row(
        "tap with subject, sighting to draft", "its parts alone: decode, HMAC, JSON", "s", Target(2)
    )
