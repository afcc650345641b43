"""NDEF: messages built by the specification are read back, and nothing else is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.decode import ndef
from gateway.core.decode.ndef import Record, Text, Uri
from tests.simulators import frames

payloads = st.binary(max_size=300)
ids = st.none() | st.binary(max_size=8)
languages = st.sampled_from(["", "en", "de-CH", "x" * 63])
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=100)


@given(st.lists(st.tuples(st.integers(0, 5), st.binary(max_size=20), payloads, ids, st.booleans()), min_size=1))
def test_every_message_is_split_into_its_records(
    parts: list[tuple[int, bytes, bytes, bytes | None, bool]],
) -> None:
    """Short and long records, with an id or without, come back in their order."""
    raw = [
        frames.record(tnf, kind, data, id_=id_, short=short and len(data) < 256)
        for tnf, kind, data, id_, short in parts
    ]
    assert ndef.records(frames.message(*raw)) == [Record(tnf, kind, data) for tnf, kind, data, _, _ in parts]


@given(st.lists(st.tuples(st.binary(max_size=5), payloads, ids), min_size=1, max_size=3), st.data())
def test_a_torn_message_is_none(parts: list[tuple[bytes, bytes, bytes | None]], data: st.DataObject) -> None:
    """A message cut short anywhere is refused as a whole."""
    whole = frames.message(*[frames.record(2, kind, payload, id_=id_) for kind, payload, id_ in parts])
    cut = data.draw(st.integers(0, len(whole) - 1))
    assert ndef.records(whole[:cut]) is None
    assert ndef.first(whole[:cut]) is None


@given(st.binary())
def test_any_bytes_are_calm(raw: bytes) -> None:
    """Whatever a tag holds, reading it ends with a value."""
    assert ndef.first(raw) is None or ndef.records(raw)


def test_what_follows_the_end_is_padding() -> None:
    """The record marked as the last one is the last one."""
    whole = frames.message(frames.text("a"))
    assert ndef.first(whole + bytes(8)) == ndef.first(whole) == Text("a")


def test_a_chunked_record_is_refused() -> None:
    """Chunks are for streams; on a tag they are an attack or a fault."""
    chunked = bytearray(frames.message(frames.uri("https://x.example")))
    chunked[0] |= frames.CHUNK
    assert ndef.first(bytes(chunked)) is None


def test_a_length_beyond_the_message_costs_nothing() -> None:
    """A record that claims four gigabytes is torn, not allocated."""
    assert ndef.first(bytes([0xC1, 1, 0xFF, 0xFF, 0xFF, 0xFF]) + b"U\0") is None


@given(code=st.integers(0, len(ndef.PREFIXES) - 1), rest=texts)
def test_every_uri_is_read(code: int, rest: str) -> None:
    """The code stands for the beginning of the URI."""
    assert ndef.first(frames.message(frames.uri(rest, code))) == Uri(ndef.PREFIXES[code] + rest)


@pytest.mark.parametrize(
    ("code", "prefix"),
    [(0, ""), (1, "http://www."), (4, "https://"), (5, "tel:"), (19, "urn:"), (29, "file://"), (35, "urn:nfc:")],
)
def test_codes_of_the_specification(code: int, prefix: str) -> None:
    """There are 36 codes, in the order of the table."""
    assert (len(ndef.PREFIXES), ndef.PREFIXES[code]) == (36, prefix)


@given(content=texts, language=languages, encoding=st.sampled_from(["utf-8", "utf-16-be"]))
def test_every_text_is_read(content: str, language: str, encoding: str) -> None:
    """UTF-8 and big-endian UTF-16, in any language."""
    mark = "\ufeff" if encoding == "utf-16-be" and content[:1] in {"\ufeff", "\ufffe"} else ""
    message = frames.message(frames.text(mark + content, language, encoding))
    assert ndef.first(message) == Text(content)


@given(content=texts)
def test_a_byte_order_mark_decides(content: str) -> None:
    """Some writers use little-endian UTF-16, and say so."""
    message = frames.message(frames.text("\ufeff" + content, "en", "utf-16-le"))
    assert ndef.first(message) == Text(content)


def test_a_uri_may_be_the_type() -> None:
    """A record of TNF 3 has the URI as its type."""
    assert ndef.first(frames.message(frames.record(3, b"https://x.example", b""))) == Uri("https://x.example")


def test_the_first_record_that_says_something_counts() -> None:
    """Empty, foreign, broken and unknown records before it are passed over."""
    message = frames.message(
        frames.record(frames.EMPTY, b"", b""),
        frames.record(frames.MEDIA, b"text/vcard", b"BEGIN:VCARD"),
        frames.record(frames.WELL_KNOWN, b"Sig", b"\x20"),
        frames.record(frames.WELL_KNOWN, b"U", b"\x04\xff"),
        frames.text("first"),
        frames.uri("https://x.example"),
    )
    assert ndef.first(message) == Text("first")


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        (b"U", b""),
        (b"U", b"\x00\xff"),
        (b"T", b""),
        (b"T", b"\x02e"),
        (b"T", b"\x02en\xff"),
        (b"T", b"\x82en\x00"),
        (b"T", b"\x80\xd8\x00"),
        (b"Sp", b""),
        (b"X", b"a"),
    ],
)
def test_broken_records_say_nothing(kind: bytes, payload: bytes) -> None:
    """Empty payloads, torn languages and wrong encodings are passed over."""
    assert ndef.first(frames.message(frames.record(frames.WELL_KNOWN, kind, payload))) is None


def poster(inner: bytes) -> bytes:
    """Return a smart poster around a message."""
    return frames.message(frames.record(frames.WELL_KNOWN, b"Sp", inner))


def test_a_smart_poster_is_opened() -> None:
    """A poster is known by the URI in it."""
    inner = frames.message(frames.record(frames.WELL_KNOWN, b"act", b"\0"), frames.uri("x.example/p", 4))
    assert ndef.first(poster(inner)) == Uri("https://x.example/p")


@pytest.mark.parametrize("title_first", [True, False])
def test_a_poster_is_its_uri_and_not_its_title(title_first: bool) -> None:  # noqa: FBT001  # a case of the test
    """The records of a poster come in any order; one that holds titles alone says nothing."""
    title, target = frames.text("Summer"), frames.uri("x.example/p", 4)
    inner = frames.message(*((title, target) if title_first else (target, title)))
    assert ndef.first(poster(inner)) == Uri("https://x.example/p")
    assert ndef.first(poster(frames.message(title))) is None


@given(code=st.integers(len(ndef.PREFIXES), 255), rest=texts)
def test_a_reserved_code_abbreviates_nothing(code: int, rest: str) -> None:
    """Codes reserved for future use count as zero."""
    assert ndef.first(frames.message(frames.uri(rest, code))) == Uri(rest)


def test_posters_in_posters_are_not_followed() -> None:
    """Nesting ends at the first poster, so that no tag can make the reader dig."""
    inner = frames.message(frames.uri("https://x.example"))
    assert ndef.first(poster(poster(inner))) is None


def test_what_a_tag_says_is_not_shown() -> None:
    """A record may hold a customer's token."""
    shown = repr(ndef.records(frames.message(frames.text("secret")))) + repr(Uri("secret")) + repr(Text("secret"))
    assert "secret" not in shown
