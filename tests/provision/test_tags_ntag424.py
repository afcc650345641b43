"""NTAG 424 DNA through the real nfcpy and a simulated PN532: personalised, signing, erased, and torn at any frame."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from gateway.core.decode import ndef, sun
from gateway.core.decode.sun import Covers, Mirrors, TagKeys
from gateway.provision.tags.chip import Protection
from gateway.provision.tags.chips import opened
from gateway.provision.tags.fault import Fault, TagError
from gateway.provision.tags.inventory import State, inventory
from gateway.provision.tags.ntag424 import Ntag424
from gateway.provision.tags.secret import TagSecret
from gateway.provision.tags.signing import Signing
from gateway.provision.tags.writer import Job, Writer
from gateway.sources.nfc_frontend import Frontend
from tests.simulators.ntag424 import Ntag424 as Chip
from tests.simulators.pn532 import Pn532

UID = bytes.fromhex("04a1b2c3d4e5f6")
SECRET = TagSecret(bytes(range(32)))
KEYS = TagKeys({UID: bytes(range(16, 32))}, bytes(range(32, 48)))
LINK = "https://id.acme.example/t/vitrine-3?k=1&s=AAAAAAAAAAAAAA"
SIGNING = Signing(KEYS, Mirrors(covers=Covers.LINK))


class Torn(Chip):
    """A tag that is taken away: it gets its last frame of `frames`, and is silent."""

    frames: int | None = None

    def frame(self, data: bytes) -> bytes | None:
        if self.frames is None:
            return super().frame(data)
        self.frames = max(self.frames - 1, 0)
        answer = super().frame(data) if self.frames else None
        if self.frames == 1:
            self.frames = 0
            return None
        return answer

    @property
    def torn(self) -> bool:
        return self.frames == 0


class Refusing(Chip):
    """A tag that refuses a command of a number, counted from 1."""

    def __init__(self, instruction: int, number: int) -> None:
        super().__init__(UID)
        self.refused, self.left = instruction, number

    def apdu(self, command: bytes) -> bytes:
        if command[1] == self.refused:
            self.left -= 1
            if self.left == 0:
                return bytes.fromhex("6581" if command[0] == 0 else "91ee")
        return super().apdu(command)


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
    """Lays tags down and finishes them."""

    def __init__(self, reader: Pn532, frontend: Frontend) -> None:
        self.reader, self.frontend = reader, frontend

    def found(self, tag: Chip) -> object:
        self.reader.place(tag)
        while True:
            with suppress(OSError):  # a machine that is very busy: nfcpy waits 0.1 s for the chip
                return self.frontend.find(lambda _: True, lambda: False)

    def open(self, tag: Chip, signing: Signing | None = SIGNING) -> Ntag424:
        while True:
            with suppress(OSError):
                chip = opened(self.found(tag), SECRET, signing)
                assert isinstance(chip, Ntag424)
                return chip

    def finish(self, tag: Chip, signing: Signing | None = SIGNING) -> Ntag424:
        """Do what `tags write` does with a tag."""
        chip = self.open(tag, signing)
        message = chip.made(LINK)
        chip.admit()
        if chip.message() != message:
            chip.write(message)
        assert chip.holds(message)
        chip.protect()
        return chip


@pytest.fixture
def bench(reader: Pn532, frontend: Frontend) -> Bench:
    return Bench(reader, frontend)


def shown(tag: Chip) -> str:
    """Return the link that a phone would see."""
    uri = ndef.first(tag.read_message())
    assert isinstance(uri, ndef.Uri)
    return uri.text


def check_signs(tag: Chip) -> None:
    """Two readings are signed, and differ by their counter."""
    found = [sun.find(shown(tag), SIGNING.mirrors) for _ in range(2)]
    proven = [sun.verify(each, KEYS) for each in found if each is not None]
    assert all(isinstance(each, sun.Verified) for each in proven)
    assert [each.counter for each in proven if isinstance(each, sun.Verified)] == [tag.counter - 1, tag.counter]
    assert [each.bare for each in found if each is not None] == [LINK, LINK]


def test_a_tag_with_keys_is_not_locked(bench: Bench) -> None:
    """What protects it is said, and the tag stays as it is."""
    chip = bench.finish(Chip(UID))
    with pytest.raises(TagError, match="its keys protect it"):
        chip.lock()


@pytest.mark.parametrize("covers", [Covers.LINK, Covers.NOTHING])
def test_a_tag_is_personalised(bench: Bench, covers: Covers) -> None:
    """It signs as the gateway wants it, with the keys of the store; nobody else can write it."""
    tag = Chip(UID)
    signing = Signing(KEYS, Mirrors(covers=covers))
    chip = bench.finish(tag, signing)
    assert chip.protection is Protection.KEYED
    assert tag.keys == [SECRET.aes(0, UID), KEYS.meta, KEYS.tags[UID], SECRET.aes(3, UID), SECRET.aes(4, UID)]
    assert tag.rights == bytes.fromhex("00e0")
    found = sun.find(shown(tag), signing.mirrors)
    assert found is not None
    assert isinstance(sun.verify(found, KEYS), sun.Verified)


def test_looking_at_a_tag_spends_no_reading(bench: Bench) -> None:
    """The counter of a finished tag stays, however often it is verified here."""
    tag = Chip(UID)
    message = bench.finish(tag).made(LINK)
    before = tag.counter
    assert bench.open(tag).holds(message)
    assert tag.counter == before


def test_a_store_without_keys_for_signing_writes_a_plain_link(bench: Bench) -> None:
    """Protected by its own keys, and the same at every reading."""
    tag = Chip(UID)
    bench.finish(tag, None)
    assert (shown(tag), tag.mirroring, tag.rights) == (LINK, None, bytes.fromhex("00e0"))
    assert len(set(tag.keys)) == 5


def test_a_cut_at_any_frame_can_be_gone_on_from(bench: Bench) -> None:
    """Taken away at any frame of its personalisation, the same tag is finished when it is back."""
    frames, hurt = 5, True
    while hurt:
        tag = Torn(UID)
        tag.frames = frames
        with suppress(TagError):
            bench.reader.place(tag)
            found = bench.frontend.find(lambda _: True, iter([False, True]).__next__)
            if found is not None:
                finish(opened(found, SECRET, SIGNING))
        hurt, tag.frames = tag.torn, None
        bench.finish(tag)
        check_signs(tag)
        frames += 3
    assert frames > 60


def finish(chip: object) -> None:
    assert isinstance(chip, Ntag424)
    chip.admit()
    chip.write(chip.made(LINK))
    chip.protect()


def test_an_erased_tag_is_as_delivered(bench: Bench) -> None:
    """Without a message, with the keys of delivery, and writable by anybody."""
    tag = Chip(UID)
    chip = bench.finish(tag)
    chip.erase()
    assert (tag.keys, tag.rights, tag.mirroring) == ([bytes(16)] * 5, bytes.fromhex("e0ee"), None)
    assert tag.files[0xE104][:2] == b"\0\0"
    assert chip.protection is Protection.OPEN


def test_a_tag_with_strange_keys_is_refused(bench: Bench) -> None:
    """Whoever has its key 0 has made it theirs."""
    tag = Chip(UID)
    tag.keys[0] = bytes(range(16))
    chip = bench.open(tag)
    with pytest.raises(TagError) as refusal:
        chip.admit()
    assert (refusal.value.fault, chip.protection) == (Fault.PASSWORD, Protection.KEYED)


def test_a_tag_without_keys_here_is_named(bench: Bench) -> None:
    """Its keys are to be ordered from the trust service; nothing is written."""
    tag = Chip(bytes.fromhex("04112233445566"))
    with pytest.raises(TagError, match="trust service") as refusal:
        bench.open(tag)
    assert refusal.value.fault is Fault.NO_KEYS
    with pytest.raises(TagError, match="file-data"):
        Signing(KEYS, Mirrors(covers=Covers.FILE_DATA)).link(LINK, UID)


@pytest.mark.parametrize(
    ("command", "number", "said"),
    [
        (0xD6, 1, r"refused to be written \(page 0, code 6581\)\. Put it aside"),
        (0xD6, 2, r"refused to be written \(page 2, code 6581\)\. Put it aside"),
        (0x5F, 1, r"refused to change its keys or settings \(command 5F, code 91EE\)\. Put it aside"),
        (0x5F, 2, "protecting it failed: anybody could write over it. Try again"),
        (0xC4, 1, "protecting it failed: anybody could write over it. Try again"),
        (0xC4, 5, "protecting it failed: anybody could write over it. Try again"),
    ],
)
def test_what_a_tag_refuses_is_named(bench: Bench, tmp_path: Path, command: int, number: int, said: str) -> None:
    """A refusal in the middle of a write is no lock, and one before the link is on the tag no failed protection."""
    tag = Refusing(command, number)
    with inventory(tmp_path) as listed:
        writer = Writer(SECRET, listed, lambda: 0, lambda found: opened(found, SECRET, SIGNING))
        job = Job("vitrine-3", None, LINK)
        with pytest.raises(TagError, match=said) as refusal:
            writer.write(bench.found(tag), job)
        assert refusal.value.fault is (Fault.UNPROTECTED if "protecting" in said else Fault.REFUSED)
        assert writer.write(bench.found(tag), job).state is State.PROTECTED
    check_signs(tag)
