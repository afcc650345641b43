"""The simulated NTAG 424 DNA does what NXP has published: authentication, changed keys and settings, SUN messages."""

import json
from pathlib import Path

import pytest

from gateway.core.decode import ndef, sun
from gateway.core.decode.sun import Covers, Mirrors, TagKeys, Verified
from tests.simulators.ntag424 import (
    AUTHENTICATION_ERROR,
    FREE,
    INTEGRITY_ERROR,
    PERMISSION_DENIED,
    SECURITY,
    ZEROS,
    Mirroring,
    Ntag424,
    Session,
    Template,
    cipher,
    key_checksum,
    session_keys,
    signing,
)
from tests.simulators.sun_links import FILE_KEY, META_KEY, UID

EV2 = json.loads((Path(__file__).parents[1] / "vectors" / "ntag424.json").read_text(encoding="utf-8"))["ev2"]
PUBLISHED = {name: bytes.fromhex(value) for name, value in EV2.items() if name not in {"source", "about"}}
ENCRYPTED = "https://id.acme.example/t?picc_data={picc}&cmac={mac}"
PLAIN = "https://id.acme.example/t?uid={uid}&ctr={counter}&cmac={mac}"


def native(tag: Ntag424, code: int, data: bytes = b"") -> tuple[bytes, int]:
    """Send a wrapped native command; return data and status."""
    length = bytes([len(data)]) if data else b""
    answer = tag.apdu(bytes([0x90, code, 0, 0]) + length + data + b"\0")
    return answer[:-2], int.from_bytes(answer[-2:], "big")


def authenticate(tag: Ntag424, number: int, key: bytes) -> Session:
    """Open a session as a reader does (9.1.5)."""
    sealed, _ = native(tag, 0x71, bytes([number, 0]))
    rnd_a, rnd_b = PUBLISHED["rnd_a"], cipher(key, ZEROS, sealed, decrypt=True)
    answer, status = native(tag, 0xAF, cipher(key, ZEROS, rnd_a + rnd_b[1:] + rnd_b[:1]))
    assert status == 0x9100
    told = cipher(key, ZEROS, answer, decrypt=True)
    assert told[4:20] == rnd_a[1:] + rnd_a[:1]
    return Session(number, *session_keys(key, rnd_a, rnd_b), told[:4])


def link(message: bytes) -> str:
    """Return the link of a message."""
    said = ndef.first(message)
    assert isinstance(said, ndef.Uri)
    return said.text


def test_the_published_authentication() -> None:
    """Every octet of AN12196's example of AuthenticateEV2First."""
    random = iter([PUBLISHED["rnd_b"], PUBLISHED["ti"]])
    tag = Ntag424(UID, lambda _: next(random))
    assert native(tag, 0x71, b"\0\0") == (PUBLISHED["encrypted_rnd_b"], 0x91AF)
    assert native(tag, 0xAF, PUBLISHED["part_2"]) == (PUBLISHED["reply"], 0x9100)
    keys = session_keys(ZEROS, PUBLISHED["rnd_a"], PUBLISHED["rnd_b"])
    assert keys == (PUBLISHED["session_enc_key"], PUBLISHED["session_mac_key"])


def test_it_is_configured_as_a_tag_is() -> None:
    """Message, mirroring and keys are set as provisioning does; then it signs, and nobody can write on it."""
    tag = Ntag424(UID)
    template = Template(ENCRYPTED)
    tag.apdu(bytes.fromhex("00a4040007d2760000850101"))
    tag.apdu(bytes.fromhex("00a4000c02e104"))
    content = len(template.message).to_bytes(2, "big") + template.message
    assert tag.apdu(bytes([0x00, 0xD6, 0, 0, len(content)]) + content) == b"\x90\x00"
    session = authenticate(tag, 0, ZEROS)
    settings = b"\x40\x00\xe0" + template.mirroring(1, 2).settings()
    answer, status = native(tag, 0x5F, session.sealed(0x5F, b"\x02", settings))
    session.counter += 1
    assert (answer, status) == (session.mac(0, b""), 0x9100)
    for number, key in ((1, META_KEY), (2, FILE_KEY)):
        assert native(tag, 0xC4, session.sealed(0xC4, bytes([number]), key + b"\1" + key_checksum(key)))[1] == 0x9100
        session.counter += 1
    assert native(tag, 0xC4, session.sealed(0xC4, b"\0", META_KEY + b"\1")) == (b"", 0x9100)
    assert (tag.keys[:3], tag.versions[:3]) == ([META_KEY, META_KEY, FILE_KEY], [1, 1, 1])
    assert native(tag, 0x5F, session.sealed(0x5F, b"\x02", settings))[1] == 0x911C, "that session is over"
    proven = sun.verify(sun.find(link(tag.read_message())), TagKeys({UID: FILE_KEY}, META_KEY))  # type: ignore[arg-type]
    assert proven == Verified(UID, 1, FILE_KEY)
    assert tag.apdu(bytes([0x00, 0xD6, 0, 0, 1, 0])) == SECURITY.to_bytes(2, "big")


def test_what_is_not_allowed_is_refused() -> None:
    """Another key, a wrong MAC, a key that may not change settings or keys: refused, and the session is over."""
    tag = Ntag424(UID)
    native(tag, 0x71, b"\0\0")
    assert native(tag, 0xAF, bytes(32))[1] == AUTHENTICATION_ERROR
    session = authenticate(tag, 3, ZEROS)
    for code in (0x5F, 0xC4):
        assert native(tag, code, session.sealed(code, b"\x02", bytes(21)))[1] == PERMISSION_DENIED
        session = authenticate(tag, 3, ZEROS)
    session.mac_key = META_KEY
    assert native(tag, 0x5F, session.sealed(0x5F, b"\x02", bytes(3)))[1] == INTEGRITY_ERROR
    assert native(tag, 0x5F)[1] == 0x911C


@pytest.mark.parametrize("template", [ENCRYPTED, PLAIN])
@pytest.mark.parametrize("covers_link", [False, True])
def test_each_reading_signs_anew(template: str, *, covers_link: bool) -> None:
    """The counter rises by one a reading; the gateway verifies what the tag writes, in each way of writing it."""
    tag = signing(UID, template, META_KEY, FILE_KEY, covers_link=covers_link)
    mirrors = Mirrors(covers=Covers.LINK if covers_link else Covers.NOTHING)
    for counter in (1, 2, 3):
        message = sun.find(link(tag.read_message()), mirrors)
        assert message is not None
        assert (message.bare, message.whole) == ("https://id.acme.example/t", covers_link)
        assert sun.verify(message, TagKeys({UID: FILE_KEY}, META_KEY)) == Verified(UID, counter, FILE_KEY)


def test_reading_in_pieces_counts_once() -> None:
    """Only the first of consecutive readings counts; any other command between two makes the second a first one."""
    tag = signing(UID, ENCRYPTED, META_KEY, FILE_KEY)
    tag.apdu(bytes.fromhex("00a4000c02e104"))
    pieces = [tag.apdu(bytes([0, 0xB0, 0, at, 20])) for at in range(0, 100, 20)]
    assert tag.counter == 1
    assert b"".join(piece[:-2] for piece in pieces) == tag.apdu(bytes([0, 0xB0, 0, 0, 100]))[:-2]
    native(tag, 0x60)
    tag.apdu(bytes([0, 0xB0, 0, 0, 20]))
    assert tag.counter == 2


@pytest.mark.parametrize(
    "how", [Mirroring(1, 2, 7, 80, picc_at=40), Mirroring(FREE, 2, 60, 90, uid_at=30, counter_at=50)]
)
def test_settings_are_read_as_they_are_written(how: Mirroring) -> None:
    """In the order of the data sheet."""
    assert Mirroring.parse(how.settings()) == how
