"""Whether a reading may be believed: genuine once, replayed ever after, forged, or nobody can tell."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.authenticity import FORGED, GENUINE, NEVER, REPLAYED, Authenticator, Reading, Spent
from gateway.core.decode.sun import Covers, Mirrors, TagKeys
from gateway.core.sighting import Identifier, Scan, Tag
from tests.simulators import frames, sun_links
from tests.simulators.sun_links import FILE_KEY, META_KEY, PAGE, UID

SUN, LINK = Identifier("sun", UID.hex()), Identifier("link", PAGE)


def authenticator(**settings: object) -> Authenticator:
    """Return one that knows the tag of these tests."""
    return Authenticator(TagKeys({UID: FILE_KEY}, META_KEY), **settings)  # type: ignore[arg-type]


def tag(text: str, uid: bytes = b"") -> Tag:
    """Return a tag with a link, of a random UID unless told."""
    return Tag(uid, frames.message(frames.uri(text)))


def test_a_genuine_message_is_known_by_its_tag_and_then_by_its_link() -> None:
    """By tag or by scanner alike; the link stands without what the tag has written."""
    for payload in (tag(sun_links.encrypted(5)), Scan(f" {sun_links.plain(5)}\r\n")):
        reading = authenticator().read(payload)
        assert (reading.candidates, reading.verdict, reading.refused) == ((SUN, LINK), GENUINE, False)
        assert reading.spent is not None
        assert (reading.spent.counter, reading.spent.before) == (5, NEVER)
        assert UID.hex() not in reading.spent.tag
        assert (reading.authenticity(SUN), reading.authenticity(LINK)) == (GENUINE, None)


def test_a_link_is_genuine_if_all_of_it_is_signed() -> None:
    """Else anybody could put the message of one tag into another link."""
    reading = authenticator(mirrors=Mirrors(covers=Covers.LINK)).read(Scan(sun_links.whole(5)))
    assert (reading.authenticity(SUN), reading.authenticity(LINK)) == (GENUINE, GENUINE)


def test_each_counter_is_accepted_once() -> None:
    """Gaps are fine; what is not higher than the last is replayed, known by the same names, and spends nothing."""
    judge = authenticator()
    for counter, verdict in ((5, GENUINE), (5, REPLAYED), (4, REPLAYED), (90, GENUINE), (89, REPLAYED)):
        reading = judge.read(Scan(sun_links.encrypted(counter)))
        assert (reading.candidates, reading.verdict) == ((SUN, LINK), verdict)
        assert reading.authenticity(LINK) == (REPLAYED if verdict == REPLAYED else None)
        if reading.spent is not None:
            judge.accept(reading.spent)
        assert reading.refused == (verdict == REPLAYED)


@given(st.lists(st.integers(0, 9), max_size=12))
def test_no_order_of_messages_is_accepted_twice(counters: list[int]) -> None:
    """What is accepted rises strictly."""
    judge, accepted = authenticator(), []
    for counter in counters:
        spent = judge.read(Scan(sun_links.plain(counter))).spent
        if spent is not None:
            judge.accept(spent)
            accepted.append(spent.counter)
    assert accepted == sorted(set(accepted))
    assert accepted[-1:] == sorted(counters)[-1:]


def test_reading_alone_accepts_nothing() -> None:
    """A reading that came to nothing leaves the counter as it was."""
    judge = authenticator()
    assert judge.read(Scan(sun_links.plain(5))) == judge.read(Scan(sun_links.plain(5)))
    assert judge.counters == {}


def test_what_could_not_be_kept_is_taken_back() -> None:
    """The same message is accepted again then; unless a later one has been accepted meanwhile."""
    judge = authenticator()
    first = judge.read(Scan(sun_links.plain(5))).spent
    assert first is not None
    judge.accept(first)
    judge.take_back(first)
    assert judge.read(Scan(sun_links.plain(5))).verdict == GENUINE
    judge.accept(first)
    second = judge.read(Scan(sun_links.plain(6))).spent
    assert second is not None
    judge.accept(second)
    judge.take_back(first)
    assert judge.read(Scan(sun_links.plain(6))).verdict == REPLAYED
    judge.take_back(second)
    assert [judge.read(Scan(sun_links.plain(number))).verdict for number in (5, 6)] == [REPLAYED, GENUINE]


def test_a_forged_message_is_known_by_its_link_alone() -> None:
    """The UID that it gives is nobody's; what the reader itself has seen of the tag is the last candidate."""
    text = sun_links.plain(5)[:-1] + "?"
    reading = authenticator().read(tag(text, UID))
    by_uid = Identifier("nfc-uid", UID.hex())
    assert (reading.candidates, reading.verdict, reading.spent) == ((LINK, by_uid), FORGED, None)
    assert reading.authenticity(LINK) == reading.authenticity(by_uid) == FORGED


def test_a_message_on_another_tag_is_forged() -> None:
    """A genuine message that was never shown, written onto a tag whose own UID is another."""
    text = sun_links.encrypted(5)
    assert authenticator().read(tag(text, bytes.fromhex("04112233445566"))).verdict == FORGED
    assert authenticator().read(tag(text, UID)).verdict == GENUINE


@pytest.mark.parametrize("text", [PAGE, "watch", sun_links.plain(5, uid=b"another"), sun_links.encrypted(5)])
def test_without_a_message_or_a_key_there_is_no_verdict(text: str) -> None:
    """And a link is known without what the tag has written, so that no UID is in it."""
    reading = Authenticator(TagKeys({UID: FILE_KEY})).read(Scan(text))
    assert (reading.verdict, reading.spent) == (None, None)
    assert reading.candidates == ((Identifier("text", text),) if text == "watch" else (LINK,))


def test_tags_without_a_link_have_no_verdict() -> None:
    """A text, or nothing at all."""
    assert authenticator().read(Tag(b"", frames.message(frames.text("a")))).verdict is None
    assert authenticator().read(Tag(b"")) == Reading(())


def test_a_tag_with_another_key_counts_anew() -> None:
    """Enabling Secure Dynamic Messaging again sets the tag's counter to zero (NT4H2421Gx, ChangeFileSettings)."""
    judge = authenticator()
    judge.accept(judge.read(Scan(sun_links.plain(5))).spent or Spent("", 0))
    judge.keys = TagKeys({UID: META_KEY})
    assert judge.read(Scan(sun_links.plain(1, key=META_KEY))).verdict == GENUINE


def test_nothing_of_a_reading_shows() -> None:
    """Neither identifiers nor the tag's name in the store is in a repr."""
    judge = authenticator()
    reading = judge.read(Scan(sun_links.plain(5)))
    assert reading.spent is not None
    judge.accept(reading.spent)
    shown = f"{reading!r} {judge!r}"
    assert not any(text in shown for text in (UID.hex(), reading.spent.tag, FILE_KEY.hex(), "acme"))
