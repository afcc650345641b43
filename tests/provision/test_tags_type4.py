"""Plain Type 4 tags through the real nfcpy and a simulated PN532: written, locked, erased, and torn at any frame."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import ndef
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.provision.tags.chip import Protection
from gateway.provision.tags.chips import opened
from gateway.provision.tags.fault import Fault, TagError
from gateway.provision.tags.inventory import Inventory, State, inventory
from gateway.provision.tags.secret import TagSecret
from gateway.provision.tags.type4 import Type4, container
from gateway.provision.tags.writer import Job, Wishes, Writer
from gateway.sources.nfc_frontend import Frontend
from gateway.sources.nfc_message import message
from tests.simulators.pn532 import Pn532
from tests.simulators.type4 import CAPABILITIES
from tests.simulators.type4 import Type4 as Chip

UID = bytes.fromhex("04a1b2c3d4e5f6")
SECRET = TagSecret(bytes(range(32)))
LINK = "https://id.acme.example/t/vitrine-3?k=1&s=AAAAAAAAAAAAAA"
JOB = Job("vitrine-3", None, LINK)
KINDS: dict[str, Callable[[], Chip]] = {
    "2.0": lambda: Chip(UID),
    "3.0": lambda: Chip(UID, extended=True, size=4096),
    "least": lambda: Chip(UID, most_read=15, most_written=13),
    "largest": lambda: Chip(UID, most_read=0xFFFF, most_written=0xFFFF, size=0x7FFF),
}


class Torn(Chip):
    """A tag that is taken away: it gets its last frame of `frames`, and is silent."""

    frames: int | None = None

    def frame(self, data: bytes) -> bytes | None:
        if self.frames is None:
            return super().frame(data)
        if self.frames == 0:
            return None
        self.frames -= 1
        answer = super().frame(data)
        return answer if self.frames else None


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pn532]:
    with Pn532(tmp_path_factory.mktemp("nfc") / "ttyPN532") as reader:
        yield reader


@pytest.fixture(scope="module")
def frontend(reader: Pn532) -> Iterator[Frontend]:
    frontend = Frontend(reader.device)
    yield frontend
    frontend.close()


@pytest.fixture
def listed(tmp_path: Path) -> Iterator[Inventory]:
    with inventory(tmp_path) as listed:
        yield listed


class Bench:
    """Lays tags down and does something with them."""

    def __init__(self, reader: Pn532, frontend: Frontend, listed: Inventory) -> None:
        self.reader, self.frontend, self.listed = reader, frontend, listed

    def found(self, tag: Chip) -> object:
        self.reader.place(tag)
        while True:
            with suppress(OSError):  # a machine that is very busy: nfcpy waits 0.1 s for the chip
                return self.frontend.find(lambda _: True, lambda: False)

    def open(self, tag: Chip) -> Type4:
        chip = opened(self.found(tag), SECRET)
        assert isinstance(chip, Type4)
        return chip

    def writer(self, *, lock: bool = False) -> Writer:
        return Writer(SECRET, self.listed, lambda: 0, lambda tag: opened(tag, SECRET), Wishes(lock=lock))


@pytest.fixture
def bench(reader: Pn532, frontend: Frontend, listed: Inventory) -> Bench:
    return Bench(reader, frontend, listed)


def link_on(tag: Chip) -> str | None:
    """Return the link on a tag, as ndeflib reads its file."""
    if not tag.message:
        return None
    (record,) = ndef.message_decoder(tag.message)
    return str(record.iri)


@pytest.mark.parametrize("kind", KINDS)
def test_a_tag_is_written_and_verified(bench: Bench, kind: str) -> None:
    """Of either mapping version, in pieces as small as it wants; the gateway reads what ndeflib reads."""
    tag = KINDS[kind]()
    entry = bench.writer().write(bench.found(tag), JOB)
    assert (entry.chip, entry.state, link_on(tag), tag.locked) == ("TYPE4", State.WRITTEN, LINK, False)
    assert bench.writer().verify(bench.found(tag))[1] == entry
    assert message(bench.found(tag)) == tag.message


def test_a_tag_is_locked_for_good(bench: Bench) -> None:
    """By its capability container, and it is seen to heed that; nobody writes it after that."""
    tag = Chip(UID)
    assert bench.writer(lock=True).write(bench.found(tag), JOB).state is State.LOCKED
    assert (tag.locked, link_on(tag)) == (True, LINK)
    assert bench.writer().verify(bench.found(tag))[1].state is State.LOCKED
    assert bench.open(tag).protection is Protection.LOCKED
    for work in (bench.writer().erase, lambda tag: bench.writer().write(tag, Job("vitrine-4", None, LINK + "A"))):
        with pytest.raises(TagError) as refusal:
            work(bench.found(tag))
        assert refusal.value.fault in {Fault.READ_ONLY, Fault.USED}
    assert link_on(tag) == LINK


@pytest.mark.parametrize("tag", [Chip(UID, fixed=True), Chip(UID, heeds=False)], ids=["fixed", "heedless"])
def test_a_tag_that_cannot_be_locked_is_named(bench: Bench, tag: Chip) -> None:
    """It says that it stays writable, or that its lock is only a word; the link is on it, and it counts as written."""
    with pytest.raises(TagError, match="does not let itself be locked") as refusal:
        bench.writer(lock=True).write(bench.found(tag), JOB)
    assert (refusal.value.fault, link_on(tag)) == (Fault.UNPROTECTED, LINK)
    assert [entry.state for entry in bench.listed.all()] == [State.WRITTEN]


def test_an_erased_tag_is_empty(bench: Bench) -> None:
    """It can be used for something else."""
    tag = Chip(UID)
    bench.writer().write(bench.found(tag), JOB)
    bench.writer().erase(bench.found(tag))
    assert (tag.message, bench.open(tag).message()) == (b"", b"")
    assert [entry.state for entry in bench.listed.all()] == [State.ERASED]


def test_a_cut_at_any_frame_leaves_it_empty_or_finished(bench: Bench) -> None:
    """Taken away at any frame, it holds nothing or all of it, is on the list, and is finished when it is back."""
    frames, seen = 4, set()
    while True:
        tag = Torn(UID, most_written=13)
        tag.frames = frames
        bench.reader.place(tag)
        with suppress(TagError):
            found = bench.frontend.find(lambda _: True, iter([False, True]).__next__)
            if found is not None:
                bench.writer().write(found, JOB)
        left, tag.frames = tag.frames, None
        assert link_on(tag) in {None, LINK}
        seen.add(link_on(tag))
        assert bench.writer().write(bench.found(tag), JOB).state is State.WRITTEN
        assert link_on(tag) == LINK
        if left:
            break
        frames += 1
    assert (seen, frames > 20) == ({None, LINK}, True)


@pytest.mark.parametrize(
    ("tag", "fault", "said"),
    [
        (Chip(UID, size=48), Fault.TOO_SMALL, "Take an NTAG213"),
        (Chip(UID, writing=0xFF), Fault.READ_ONLY, "locked"),
        (Chip(UID, writing=0x80), Fault.PASSWORD, "not this store's"),
        (Chip(UID, application=b"other"), Fault.WRONG_CHIP, "NDEF application"),
    ],
    ids=["small", "locked", "keyed", "unformatted"],
)
def test_a_tag_that_cannot_be_written_is_named(bench: Bench, tag: Chip, fault: Fault, said: str) -> None:
    """With what to do next, and nothing written."""
    with pytest.raises(TagError, match=said) as refusal:
        bench.writer().write(bench.found(tag), JOB)
    assert (refusal.value.fault, tag.message) == (fault, b"")
    assert bench.listed.all() == []


def test_a_container_that_describes_no_file(bench: Bench) -> None:
    """A tag is none of ours whose container is cut off, or of a mapping version that nobody knows."""
    tag = Chip(UID)
    tag.files[CAPABILITIES][2] = 0x10
    with pytest.raises(TagError) as refusal:
        bench.open(tag)
    assert refusal.value.fault is Fault.WRONG_CHIP


@given(st.binary(max_size=20) | st.builds(lambda rest: bytes.fromhex("000f20003b0034") + rest, st.binary(max_size=12)))
@example(bytes.fromhex("0008200000000004"))  # it ends before the length of its control TLV
def test_any_container_is_read_or_refused(octets: bytes) -> None:
    """Whatever a tag says of itself, sizes make sense or there are none."""
    found = container(octets)
    if found is not None:
        assert found.read_octets
        assert found.write_octets
        assert found.writing_at < len(octets)
        assert found.writing == octets[found.writing_at]
