"""NTAG21x through the real nfcpy and a simulated PN532: written, read back, protected, locked, erased, and torn."""

from collections.abc import Iterator
from contextlib import suppress

import ndef
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.provision.tags.chip import Protection
from gateway.provision.tags.fault import Fault, TagError
from gateway.provision.tags.message import ROOM, fits, uri
from gateway.provision.tags.secret import TagSecret
from gateway.provision.tags.type2 import Type2, begin, image, layout, message_in
from gateway.sources.nfc_frontend import Frontend
from tests.simulators.nfc_field import Ntag21x
from tests.simulators.ntag21x import WritableNtag21x
from tests.simulators.pn532 import Pn532

UID = bytes.fromhex("04a1b2c3d4e5f6")
LINK = "https://id.acme.example/t/vitrine-3?k=1&s=q2%2BxQ7_ab-cdEf"
MESSAGE = uri(LINK)
PASSWORD = TagSecret(bytes(range(32))).password(UID)


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pn532]:
    with Pn532(tmp_path_factory.mktemp("nfc") / "ttyPN532") as reader:
        yield reader


@pytest.fixture(scope="module")
def frontend(reader: Pn532) -> Iterator[Frontend]:
    frontend = Frontend(reader.device)
    yield frontend
    frontend.close()


class Bench:
    """Lays tags down and opens them."""

    def __init__(self, reader: Pn532, frontend: Frontend) -> None:
        self.reader, self.frontend = reader, frontend

    def open(self, tag: Ntag21x, password: bytes = PASSWORD) -> Type2:
        self.reader.place(tag)
        while True:
            with suppress(OSError):  # a machine that is very busy: nfcpy waits 0.1 s for the chip
                return Type2(self.frontend.find(lambda _: True, lambda: False), password)

    def finish(self, tag: Ntag21x) -> Type2:
        """Do what `tags write` does with a tag."""
        chip = self.open(tag)
        chip.admit()
        if chip.message() != MESSAGE:
            chip.write(MESSAGE)
        assert chip.holds(MESSAGE)
        chip.protect()
        return chip


@pytest.fixture
def bench(reader: Pn532, frontend: Frontend) -> Bench:
    return Bench(reader, frontend)


def link_on(tag: Ntag21x) -> str | None:
    """Read the raw memory as NFC Forum Type 2 Tag 1.1 (2.3) says, and its message with ndeflib."""
    area, at = bytes(tag.memory[16:]), 0
    while area[at] in {1, 2}:
        at += 2 + area[at + 1]
    assert area[at] == 3
    long = area[at + 1] == 0xFF
    length, start = (int.from_bytes(area[at + 2 : at + 4]), at + 4) if long else (area[at + 1], at + 2)
    records = list(ndef.message_decoder(area[start : start + length]))
    return records[0].iri if records else None


@pytest.mark.parametrize("kind", [213, 215, 216])
def test_a_tag_is_written_and_protected(bench: Bench, kind: int) -> None:
    """An independent reader finds the link; without the password it can be read, and neither written nor locked."""
    tag = WritableNtag21x(kind, UID)
    chip = bench.finish(tag)
    assert (chip.name, chip.protection, link_on(tag)) == (f"NTAG{kind}", Protection.KEYED, LINK)
    assert (tag.password + tag.pack, tag.wrong_passwords) == (PASSWORD, 0)
    stranger = bench.open(tag, bytes(6))
    assert stranger.message() == MESSAGE
    for page in (2, 3, 4, tag.config):
        with pytest.raises(TagError) as refusal:
            stranger._write(page, bytes(4))  # noqa: SLF001 -- what a phone would send
        assert refusal.value.fault is Fault.REFUSED
        stranger = bench.open(tag, bytes(6))
    with pytest.raises(TagError) as refusal:
        stranger.admit()
    assert refusal.value.fault is Fault.PASSWORD


def test_the_lock_control_of_a_delivered_ntag213_stays(bench: Bench) -> None:
    """What describes the memory stands before the message, whose length may then lie in another page than its type."""
    tag = WritableNtag21x(213, UID)
    tag.memory[16:24] = bytes.fromhex("0103a00c340300fe")
    bench.finish(tag)
    assert tag.memory[16:21] == bytes.fromhex("0103a00c34")
    assert link_on(tag) == LINK


def test_a_tag_without_capabilities_is_formatted(bench: Bench) -> None:
    """An NTAG that nobody has ever formatted gets the capabilities of its size."""
    tag = WritableNtag21x(215, UID, formatted=False)
    bench.finish(tag)
    assert tag.memory[12:16] == bytes.fromhex("e1103e00")
    assert link_on(tag) == LINK


@pytest.mark.parametrize("delivered", [bytes.fromhex("0300fe00"), bytes.fromhex("0103a00c340300fe")])
def test_a_cut_at_any_write_leaves_an_empty_tag_or_a_finished_one(bench: Bench, delivered: bytes) -> None:
    """Taken away in the middle of any write, a tag holds nothing or the link, and is finished when it is back."""
    unhurt = WritableNtag21x(213, UID)
    unhurt.memory[16 : 16 + len(delivered)] = delivered
    bench.finish(unhurt)
    for write in range(1, unhurt.writes + 1):
        tag = WritableNtag21x(213, UID)
        tag.memory[16 : 16 + len(delivered)] = delivered
        tag.tear(write)
        with pytest.raises(TagError) as gone:
            bench.finish(tag)
        assert gone.value.fault is Fault.MOVED
        assert tag.torn
        assert link_on(tag) in {None, LINK}
        tag.whole()
        chip = bench.finish(tag)
        assert (link_on(tag), chip.protection) == (LINK, Protection.KEYED), write


def test_a_cut_while_a_link_replaces_another(bench: Bench) -> None:
    """The old link, none or the new one, and never a mixture; the tag is finished when it is back."""
    old = "https://id.acme.example/t/entrance?k=1&s=AAAAAAAAAAAAAA"
    write, hurt = 1, True
    while hurt:
        tag = WritableNtag21x(213, UID, uri(old))
        tag.protect(PASSWORD[:4], PASSWORD[4:], auth0=2)
        tag.tear(write)
        with suppress(TagError):
            bench.finish(tag)
        hurt = tag.torn
        assert link_on(tag) in {None, old, LINK}
        tag.whole()
        bench.finish(tag)
        assert link_on(tag) == LINK
        write += 1
    assert write > len(MESSAGE) // 4


def test_a_swapped_tag_is_not_written(bench: Bench) -> None:
    """Another tag that lies there in the middle of it is not spoken to."""
    first, second = WritableNtag21x(213, UID), WritableNtag21x(213, bytes.fromhex("04112233445566"))
    chip = bench.open(first)
    bench.reader.place(second)
    with pytest.raises(TagError) as gone:
        chip.write(MESSAGE)
    assert (gone.value.fault, second.writes) == (Fault.MOVED, 0)


def test_a_locked_tag_is_written_by_nobody(bench: Bench) -> None:
    """Not by us either; it is read as before. Each size, with its own lock bytes."""
    for kind in (213, 215, 216):
        tag = WritableNtag21x(kind, UID)
        bench.finish(tag).lock()
        again = bench.open(tag)
        assert (again.protection, again.message()) == (Protection.LOCKED, MESSAGE)
        with pytest.raises(TagError) as refusal:
            again.admit()
        assert refusal.value.fault is Fault.READ_ONLY
        assert all(tag._locked(page) for page in range(3, tag.config - 1))  # noqa: SLF001 -- the chip's own view


def test_a_lock_that_was_cut_is_finished(bench: Bench) -> None:
    """Wherever it was cut, `lock` again locks the rest."""
    for write in (1, 2, 3):
        tag = WritableNtag21x(213, UID)
        chip = bench.finish(tag)
        tag.tear(write)
        with pytest.raises(TagError):
            chip.lock()
        tag.whole()
        bench.open(tag).lock()
        assert tag.memory[10:12] == b"\xff\xff"


def test_a_lock_whose_last_answer_was_lost_is_done(bench: Bench) -> None:
    """The tag is locked already, and takes no write any more: `lock` again finds that out, and writes nothing."""
    tag = WritableNtag21x(213, UID)
    bench.finish(tag).lock()
    writes = tag.writes
    bench.open(tag).lock()
    assert tag.writes == writes


def test_an_erased_tag_is_as_delivered(bench: Bench) -> None:
    """Empty, without a password, and anybody can write it."""
    tag = WritableNtag21x(216, UID)
    bench.finish(tag)
    chip = bench.open(tag)
    chip.admit()
    chip.erase()
    assert (tag.auth0, tag.password, tag.pack, link_on(tag)) == (0xFF, b"\xff" * 4, b"\0\0", None)
    assert bench.open(tag, bytes(6)).protection is Protection.OPEN


@pytest.mark.parametrize(("tries", "wrong"), [(0, 2), (3, 1)])
def test_a_strange_password_is_not_guessed(bench: Bench, tries: int, wrong: int) -> None:
    """Ours is tried and, unless tries are counted, that of delivery; nothing is written."""
    tag = WritableNtag21x(213, UID)
    tag.protect(b"abcd", b"xy", tries=tries)
    with pytest.raises(TagError) as refusal:
        bench.open(tag).admit()
    assert (refusal.value.fault, tag.wrong_passwords, tag.writes) == (Fault.PASSWORD, wrong, 0)


def test_a_tag_that_hides_what_it_holds(bench: Bench) -> None:
    """A tag that lets nobody read is somebody's: it is refused, with the cause."""
    tag = WritableNtag21x(213, UID)
    tag.protect(b"abcd", b"xy", auth0=4, reading=True)
    chip = bench.open(tag)
    with pytest.raises(TagError) as refusal:
        chip.message()
    assert refusal.value.fault is Fault.PASSWORD


def test_the_page_and_code_of_a_refused_write_are_named(bench: Bench) -> None:
    """nfcpy alone says "invalid page number" of all of them."""
    chip = bench.open(WritableNtag21x(213, UID, frozen=9))
    with pytest.raises(TagError, match=r"page 9, code 0") as refusal:
        chip.write(MESSAGE)
    assert refusal.value.fault is Fault.REFUSED


def test_a_worn_page_shows_when_it_is_read_back(bench: Bench) -> None:
    """A chip that acknowledges what it does not keep."""
    chip = bench.open(WritableNtag21x(213, UID, stuck=9))
    chip.write(MESSAGE)
    assert not chip.holds(MESSAGE)


def test_a_chip_that_is_too_small_names_the_one_that_is_not() -> None:
    """Bytes needed, bytes held, and the chip to take."""
    for length, said in ((200, "Take an NTAG215"), (600, "Take an NTAG216"), (900, "shorten the link")):
        with pytest.raises(TagError, match=said) as refusal:
            fits(bytes(length), ROOM["NTAG213"], "NTAG213")
        assert refusal.value.fault is Fault.TOO_SMALL
        assert str(length) in str(refusal.value)
    fits(bytes(137), ROOM["NTAG213"], "NTAG213")


@pytest.mark.parametrize("kind", [213, 215, 216])
def test_the_longest_link_fits(bench: Bench, kind: int) -> None:
    """What a delivered chip is said to hold, it holds."""
    tag = WritableNtag21x(kind, UID)
    if kind == 213:
        tag.memory[16:24] = bytes.fromhex("0103a00c340300fe")
    chip = bench.open(tag)
    assert chip.room >= ROOM[f"NTAG{kind}"]
    message = uri("https://a.example/" + "x" * (chip.room - 15))
    while len(message) > chip.room:
        message = uri("https://a.example/" + "x" * (chip.room - 15 - (len(message) - chip.room)))
    chip.write(message)
    assert chip.holds(message)


class Silent(WritableNtag21x):
    """A chip of another kind: it says NAK to all that is asked."""

    def command(self, data: bytes) -> bytes | None:
        return b"\x00" if data else None


def test_other_chips_are_refused(bench: Bench) -> None:
    """By what they say of themselves."""
    assert layout(bytes.fromhex("0004040201000f03")) is not None
    for version in ("", "0004030101000b03", "0004040101000b03", "00040402010011"):
        assert layout(bytes.fromhex(version)) is None
    bench.reader.place(Silent(213, UID))
    found = bench.frontend.find(lambda _: True, lambda: False)
    with pytest.raises(TagError) as refusal:
        Type2(found, PASSWORD)
    assert refusal.value.fault in {Fault.WRONG_CHIP, Fault.MOVED}


@given(st.binary(max_size=800), st.binary(max_size=300))
def test_an_area_holds_the_message_that_was_put_into_it(rest: bytes, message: bytes) -> None:
    """Whatever was there before."""
    area = (rest + bytes(872))[:872]
    try:
        made = image(area, message)
    except ValueError:
        assert begin(area) + 4 + len(message) > len(area)
        return
    assert len(made) == len(area)
    assert message_in(made) == message


@given(st.binary(min_size=4, max_size=200))
def test_arbitrary_memory_raises_nothing(area: bytes) -> None:
    """A message, an empty one or none."""
    found = message_in(area)
    assert found is None or len(found) < len(area)


@given(st.text(st.characters(codec="ascii", categories=["L", "N"]), max_size=400))
def test_a_link_is_read_by_an_independent_reader(path: str) -> None:
    """ndeflib reads what we encode, short records and long ones."""
    link = f"https://id.acme.example/{path}?t=%2B"
    (record,) = ndef.message_decoder(uri(link))
    assert record.iri == link


def test_what_is_derived_differs_by_use_and_tag() -> None:
    """Fixed values, so that tags of today are opened by the gateways of tomorrow."""
    secret = TagSecret(bytes(range(32)))
    other = bytes.fromhex("04112233445566")
    assert PASSWORD.hex() == "fb58c42ad27e"
    assert secret.name(UID) == "87X7-gDNtjmyi0XiwXZtjQ"
    assert secret.aes(0, UID).hex() == "fb520f6e376fa534c1673aee7ec02e70"
    assert len({secret.password(other), PASSWORD, secret.aes(0, UID)[:6], secret.aes(1, UID)[:6]}) == 4
    assert "0001" not in repr(secret)
