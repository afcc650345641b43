"""The path with tags that sign: stories of a boutique in which some messages are copies, and some are made up."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core import pseudonym
from gateway.core.authenticity import Authenticator
from gateway.core.decode.sun import Covers, Mirrors, TagKeys
from gateway.core.event import DATA, EventType
from gateway.core.path import ABSORBED, Fate, Outcome, Path
from gateway.core.registry import BearerRule, Touchpoint, build
from gateway.core.sighting import Identifier, Sighting, Tag
from tests.core import salon
from tests.core.salon import ANNA, RING, RULES, FakeLedger, at, present, scan
from tests.simulators import frames, sun_links
from tests.simulators.sun_links import FILE_KEY, META_KEY, UID

CARD_UID, CARD_KEY = bytes.fromhex("04a1a2a3a4a5a6"), b"the key of Ben's"
CARD = Identifier("sun", CARD_UID.hex())
"""Ben carries a card that signs."""
PAGE = "https://id.acme.example/01/09506000134352"
WATCH = Touchpoint("watch", "product", "Watch", identifiers=(f"sun:{UID.hex()}",))
TOUCHPOINTS = (*salon.TOUCHPOINTS, WATCH)


def shop(*, mirrors: Mirrors | None = None) -> Path:
    """Open the boutique, where Anna and Ben have agreed to everything."""
    ledger = FakeLedger()
    ledger.grant(ANNA)
    ledger.grant(CARD)
    path = salon.path(ledger)
    path.registry = build(1, TOUCHPOINTS, (*RULES, BearerRule("sun", "")))
    keys = TagKeys({UID: FILE_KEY, CARD_UID: CARD_KEY}, META_KEY)
    path.authenticator = Authenticator(keys, mirrors or Mirrors())
    return path


def watch(counter: int, reader: str = "scanner") -> Sighting:
    """Return the scan of a phone that has read the watch's tag."""
    return scan(sun_links.encrypted(counter, PAGE), reader)


def tapped(counter: int, reader: str = "nfc") -> Sighting:
    """Return a tap of the watch's tag."""
    return Sighting(reader, Tag(UID, frames.message(frames.uri(sun_links.encrypted(counter, PAGE)))))


def card(counter: int, reader: str = "nfc", key: bytes = CARD_KEY) -> Sighting:
    """Return a tap of Ben's card, or of what pretends to be one."""
    text = sun_links.encrypted(counter, "https://id.acme.example/c", uid=CARD_UID, key=key)
    return Sighting(reader, Tag(CARD_UID, frames.message(frames.uri(text))))


def forged(sighting: Sighting) -> Sighting:
    """Return the watch's message with another MAC."""
    return scan(sun_links.encrypted(9, PAGE, key=META_KEY), sighting.reader)


def only(outcome: Outcome) -> dict[str, Any]:
    """Return the data of the one event of an outcome."""
    assert outcome.fate is Fate.ACTED_ON
    (draft,) = outcome.drafts
    DATA[draft.type].model_validate_json(draft.data)
    return dict(json.loads(draft.data))


def believed(outcome: Outcome) -> tuple[str, str | None, str | None]:
    """Return touchpoint, verdict and pseudonym of the one event of an outcome."""
    event = only(outcome)
    return event["touchpoint"]["id"], event["authenticity"], event["subject"] and event["subject"]["pseudonym"]


def name(token: Identifier) -> str:
    """Return the pseudonym of a token."""
    return pseudonym.pseudonym(RING.epochs[0], "personalisation", token)


@pytest.mark.parametrize("read", [watch, tapped])
def test_a_tag_that_signs_is_genuine_once(read: Any) -> None:  # noqa: ANN401  # either of two functions
    """Its event says so and carries the counter along; the same message later is told as replayed and spends none."""
    path = shop()
    outcome = path.see(read(5), at(0))
    assert (believed(outcome), outcome.verdict) == (("watch", "genuine-unreconciled", None), "genuine-unreconciled")
    assert outcome.spent is not None
    assert outcome.spent.counter == 5
    outcome = path.see(read(5), at(10))
    assert (believed(outcome), outcome.spent) == (("watch", "replayed", None), None)
    assert believed(path.see(read(6), at(20)))[1] == "genuine-unreconciled"


def test_a_copy_at_another_reader_is_replayed() -> None:
    """The counter belongs to the tag, wherever it is read."""
    path = shop()
    path.see(tapped(5), at(0))
    assert believed(path.see(watch(5), at(0)))[1] == "replayed"


def test_a_forged_message_is_told_of_the_link_that_it_stands_in() -> None:
    """Its UID is nobody's word; the product that the link names is what somebody wanted to be taken for."""
    path = shop()
    outcome = path.see(forged(watch(9)), at(0))
    assert (believed(outcome), outcome.verdict, outcome.spent) == (("vitrine-3", "forged", None), "forged", None)


def test_neither_is_credited_to_a_visit() -> None:
    """Whoever was there before has nothing to do with it; their visit goes on."""
    path = shop()
    path.see(present(ANNA), at(0))
    assert believed(path.see(watch(5), at(3)))[2] == name(ANNA)
    assert believed(path.see(watch(5), at(6))) == ("watch", "replayed", None)
    assert believed(path.see(forged(watch(9)), at(9))) == ("vitrine-3", "forged", None)
    assert believed(path.see(watch(6), at(12)))[2] == name(ANNA)


def test_a_card_that_signs_presents_its_bearer() -> None:
    """The event names Ben, and what follows is his visit."""
    path = shop()
    assert believed(path.see(card(3), at(0))) == ("counter", "genuine-unreconciled", name(CARD))
    assert believed(path.see(tapped(5), at(5)))[2] == name(CARD)


def test_a_copy_of_a_card_presents_nobody() -> None:
    """It is reported where it was shown; it opens no visit, and ends the one that is open."""
    path = shop()
    path.see(card(3), at(0))
    assert believed(path.see(card(3), at(10))) == ("counter", "replayed", None)
    assert believed(path.see(tapped(5), at(12)))[2] is None


def test_a_forged_card_is_nobodys() -> None:
    """Its link is not known; not even the UID that the reader has seen makes it Ben's."""
    path = shop()
    path.registry = build(1, TOUCHPOINTS, (BearerRule("sun", ""), BearerRule("nfc-uid", "")))
    assert believed(path.see(card(3, key=META_KEY), at(0))) == ("counter", "forged", None)


def test_staffs_end_tag_counts_only_if_it_is_believed() -> None:
    """A copy ends no visit and makes no event."""
    path = shop()
    goodbye = replace(salon.GOODBYE, identifiers=(f"sun:{UID.hex()}",))
    path.registry = build(1, (*salon.TOUCHPOINTS, goodbye), RULES)
    outcome = path.see(watch(5), at(0))
    assert (outcome.fate, outcome.drafts, outcome.spent is None) == (Fate.ACTED_ON, (), False)
    path.see(present(ANNA), at(5))
    outcome = path.see(watch(5), at(10))
    assert (outcome.fate, outcome.reason, outcome.verdict) == (Fate.DROPPED, "not-believed", "replayed")
    assert path.visits.token("scanner", at(10).boot_ns) == ANNA


def test_a_nervous_hand_is_no_replay() -> None:
    """The same code scanned twice within two seconds is one reading; a forgery behind a genuine one is told."""
    path = shop()
    path.see(watch(5), at(0))
    outcome = path.see(watch(5), at(1))
    assert (outcome.fate, outcome.drafts, outcome.spent) == (Fate.ABSORBED, (), None)
    assert believed(path.see(forged(watch(9)), at(1.5)))[1] == "forged"
    assert path.see(forged(watch(9)), at(2)).drafts == ()


def test_what_is_absorbed_is_spent_too() -> None:
    """A tag that flickers on the reader has signed anew: that message cannot be shown later."""
    path = shop()
    path.see(tapped(5), at(0))
    outcome = path.see(tapped(6), at(1))
    assert (outcome.fate, outcome.drafts, outcome.spent is None) == (Fate.ABSORBED, (), False)
    assert believed(path.see(watch(6), at(9)))[1] == "replayed"


def test_what_is_dropped_spends_nothing() -> None:
    """A tag that means nothing here yet may be registered a minute later."""
    path = shop()
    path.registry = build(1, (), ())
    outcome = path.see(watch(5), at(0))
    assert (outcome.fate, outcome.reason, outcome.verdict) == (Fate.DROPPED, "unknown", "genuine-unreconciled")
    assert (outcome.spent, path.authenticator.counters) == (None, {})


@pytest.mark.parametrize(("covers", "verdict"), [(Covers.NOTHING, None), (Covers.LINK, "genuine-unreconciled")])
def test_a_link_is_genuine_only_if_it_is_signed(covers: Covers, verdict: str | None) -> None:
    """A tag that is not registered itself says what its link says, and proves it if its MAC is over the link."""
    path = shop(mirrors=Mirrors(covers=covers))
    path.registry = build(1, salon.TOUCHPOINTS, RULES)
    message = sun_links.whole(5, PAGE) if covers is Covers.LINK else sun_links.encrypted(5, PAGE)
    assert believed(path.see(scan(message), at(0))) == ("vitrine-3", verdict, None)


def test_without_keys_a_tag_that_signs_is_a_link() -> None:
    """The same touchpoint at every reading, whatever the tag has written; nothing is said of its authenticity."""
    path = shop()
    path.authenticator = Authenticator()
    for number, counter in enumerate((5, 5, 4)):
        outcome = path.see(watch(counter), at(10 * number))
        assert (believed(outcome), outcome.verdict, outcome.spent) == (("vitrine-3", None, None), None, None)
    assert path.see(watch(9), at(21)) is ABSORBED


@given(st.lists(st.tuples(st.sampled_from([card, tapped, watch]), st.integers(0, 4), st.integers(0, 8)), max_size=12))
def test_no_message_is_believed_twice(day: list[tuple[Any, int, int]]) -> None:
    """Whatever is shown in whatever order: of each tag, the counters of what is accepted rise strictly."""
    path, now, accepted = shop(), 0, dict[str, list[int]]()
    for read, counter, pause in day:
        now += pause
        outcome = path.see(read(counter), at(now))
        if outcome.spent is not None:
            accepted.setdefault(outcome.spent.tag, []).append(outcome.spent.counter)
        for draft in outcome.drafts:
            event = json.loads(draft.data)
            assert draft.type in {EventType.TAP, EventType.SCAN}
            assert (event["authenticity"] == "genuine-unreconciled") == (outcome.spent is not None)
            assert event["subject"] is None or event["authenticity"] == "genuine-unreconciled"
    assert all(counters == sorted(set(counters)) for counters in accepted.values())
