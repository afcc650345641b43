"""What the path costs: a stranger's advertisement, which is nearly every one, and a customer's tap."""

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import cycle
from struct import Struct
from typing import Any

from gateway.core import decode, pseudonym
from gateway.core.event import Draft, Interaction, encode
from gateway.core.sighting import Advertisement, Scan, Sighting
from tests.benchmarks.row import Row, Target, in_turn
from tests.benchmarks.stopwatch import seconds_each
from tests.core import salon
from tests.simulators import frames

TIMES = 15
SOURCE, SESSION = "urn:touchpoint:acme:zrh-1:gw-1", "0" * 32
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
    """Present a consenting customer's card; two take turns, so that no reading repeats the last."""
    path, now = salon.path(consenting()), salon.at(1)
    cards = cycle([salon.present(salon.ANNA), salon.present(salon.BEN)])
    card = next(cards)
    (draft,) = path.see(card, now).drafts
    data = json.loads(draft.data) | {"clock": now.quality}

    ours = partial(seconds_each, lambda: written(path.see(next(cards), now).drafts[0]), 500)
    bare = partial(seconds_each, lambda: parts(card, draft, data), 500)
    what, beside = "tap with subject: sighting to row", "its parts alone: decode, 3 HMACs, JSON by the same models"
    return in_turn(ours, bare, TIMES).row(what, beside, "s", Target(2))


def consenting() -> salon.FakeLedger:
    """Return a ledger in which both customers have consented."""
    ledger = salon.FakeLedger()
    ledger.grant(salon.ANNA)
    ledger.grant(salon.BEN)
    return ledger


def parts(card: Sighting, draft: Draft, data: dict[str, Any]) -> str:
    """Do what a tap cannot do without: decode, handle, pseudonym, proof, and the JSON text of the event."""
    assert isinstance(card.payload, Scan)
    token, *_ = decode.scan(card.payload)
    epoch = salon.RING.epochs[0]
    pseudonym.handle(salon.RING, token)
    pseudonym.pseudonym(epoch, "personalisation", token)
    pseudonym.proof(epoch, "personalisation", token.kind, "rec-0")
    return written(replace(draft, data=Interaction.model_validate(data).model_dump_json()))


def written(draft: Draft) -> str:
    """Put the envelope around a draft."""
    return encode(draft.type, draft.at.wall_ms, draft.data, source=SOURCE, session=SESSION, sequence=42)
