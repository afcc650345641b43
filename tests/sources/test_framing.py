"""Lines and scans out of a stream of bytes."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.sighting import Scan
from gateway.sources.framing import GAP, LINE_LIMIT, Discarded, Framer, Lines

STREAMS = st.lists(
    st.one_of(
        st.binary(max_size=40),
        st.sampled_from([b"\r", b"\n", b"\r\n", b"\x03", b"\x02", b"]Q1", b"\x1d", b"x" * LINE_LIMIT, b"\xff"]),
    ),
    max_size=30,
).map(b"".join)


def read(*pieces: bytes) -> list[Scan | Discarded]:
    framer = Framer()
    return [scan for piece in pieces for scan in framer.feed(piece, 0.0)]


@pytest.mark.parametrize("ending", [b"\r", b"\n", b"\r\n", b"\t", b"\t\r", b"\x03", b"\x03\r\n"])
def test_each_ending_ends_a_scan(ending: bytes) -> None:
    """CR, LF, CR LF, Tab and ETX end a scan, and none of them makes an empty one."""
    assert read(b"one" + ending + b"two" + ending) == [Scan("one"), Scan("two")]


@pytest.mark.parametrize(
    ("line", "scan"),
    [
        (b"]Q1https://id.acme.example/", Scan("https://id.acme.example/", "]Q1")),
        (b"]E09506000134352", Scan("9506000134352", "]E0")),
        (b"\x02]d2text", Scan("text", "]d2")),
        (b"]Q30109506000134352\x1d21ABC", Scan("0109506000134352\x1d21ABC", "]Q3")),
        (b"]?1text", Scan("]?1text")),
        ("Zürich 時計".encode(), Scan("Zürich 時計")),
    ],
)
def test_a_line_is_split_into_symbology_and_text(line: bytes, scan: Scan) -> None:
    """STX goes, the AIM identifier becomes the symbology, GS and UTF-8 stay."""
    assert read(line + b"\r") == [scan]


@pytest.mark.parametrize("line", [b"", b"\x02", b"]Q1", b"\x02]Q1"])
def test_a_line_without_text_is_nothing(line: bytes) -> None:
    """An empty line is no scan and no loss."""
    assert read(line + b"\r") == []


def test_bytes_that_are_no_utf8_are_undecodable() -> None:
    """A scan that is no UTF-8 is discarded, and the next is read."""
    assert read(b"caf\xe9\rcoffee\r") == [Discarded.UNDECODABLE, Scan("coffee")]


def test_a_gap_tears_a_line() -> None:
    """What follows a silence of GAP is a new line; the old one is torn."""
    framer = Framer()
    assert framer.feed(b"https://ha", 10.0) == []
    assert framer.feed(b"]Q1whole\r", 10.0 + GAP) == [Discarded.TORN, Scan("whole", "]Q1")]


def test_pauses_shorter_than_the_gap_do_not_tear() -> None:
    """Each byte restarts the wait: a slow line is whole."""
    framer = Framer()
    scans = [framer.feed(bytes([byte]), 0.9 * GAP * tick) for tick, byte in enumerate(b"slow\r")]
    assert scans[-1] == [Scan("slow")]


def test_a_gap_between_lines_is_nothing() -> None:
    """Silence after a complete line tears nothing."""
    framer = Framer()
    assert framer.feed(b"one\r", 0.0) == [Scan("one")]
    assert framer.feed(b"two\r", 60.0) == [Scan("two")]


@pytest.mark.parametrize(
    ("line", "found"),
    [
        (b"]Q1https://id.acme.example/\x1d", [Scan("https://id.acme.example/", "]Q1")]),
        (b"\x02]E09506000134352\x1d", [Scan("9506000134352", "]E0")]),
        (b"]Q30109506000134352\x1d", [Discarded.TORN]),
        (b"]d20109506000134352\x1d21ABC\x1d", [Discarded.TORN]),
        (b"0109506000134352\x1d", [Discarded.TORN]),
        (b"]Q1without", [Discarded.TORN]),
        (b"]Q1\x1d", [Discarded.TORN]),
        (b"]Q1caf\xe9\x1d", [Discarded.TORN]),
        (b"", []),
    ],
)
def test_a_gs_ends_a_line_with_the_silence_after_it(line: bytes, found: list[Scan | Discarded]) -> None:
    """As a suffix it counts where it cannot be a separator; a line without any suffix is torn."""
    framer = Framer()
    framer.feed(line, 0.0)
    assert framer.silence() == found
    framer.feed(line, 10.0)
    assert framer.feed(b"next\r", 10.0 + GAP) == [*found, Scan("next")]
    framer.feed(line, 20.0)
    assert framer.reset() == [Discarded.TORN for _ in found]


def test_reset_gives_up_what_has_begun() -> None:
    """A line that was begun is torn by a reset, and only once."""
    framer = Framer()
    framer.feed(b"begun", 0.0)
    before = framer.pending
    assert framer.reset() == [Discarded.TORN]
    assert (before, framer.pending) == (True, False)
    assert framer.reset() == []


def test_a_line_of_the_limit_is_whole() -> None:
    """LINE_LIMIT bytes are a line, one more is oversized."""
    assert read(b"x" * LINE_LIMIT + b"\r") == [Scan("x" * LINE_LIMIT)]
    assert read(b"x" * (LINE_LIMIT + 1) + b"\r") == [Discarded.OVERSIZED]


def test_the_rest_of_an_oversized_line_is_no_scan() -> None:
    """An oversized line counts once, however long it is, and its rest is not taken for a scan."""
    pieces = [b"x" * 1000] * 10
    assert read(*pieces, b"rest\r", b"next\r") == [Discarded.OVERSIZED, Scan("next")]


def test_an_oversized_line_that_never_ends_is_given_up_in_silence() -> None:
    """After the gap a new line begins, and the oversized one is not counted again as torn."""
    framer = Framer()
    assert framer.feed(b"x" * (LINE_LIMIT + 1), 0.0) == [Discarded.OVERSIZED]
    assert framer.pending
    assert framer.feed(b"next\r", GAP) == [Scan("next")]


@given(stream=STREAMS, cuts=st.lists(st.integers(0, 5000), max_size=20))
@settings(max_examples=200)
def test_fragmentation_changes_nothing(stream: bytes, cuts: list[int]) -> None:
    """A stream gives the same scans and losses in whatever pieces it comes."""
    edges = sorted({0, len(stream), *(min(cut, len(stream)) for cut in cuts)})
    pieces = [stream[start:end] for start, end in pairwise(edges)]
    assert read(*pieces) == read(stream)


@given(pieces=st.lists(st.tuples(st.binary(max_size=3000), st.floats(0, 1)), max_size=10))
@settings(max_examples=200)
def test_any_bytes_at_any_time_give_scans_or_losses(pieces: list[tuple[bytes, float]]) -> None:
    """No bytes raise; every scan has a text without an ending in it."""
    framer, now = Framer(), 0.0
    for piece, pause in pieces:
        now += pause
        for scan in framer.feed(piece, now):
            assert isinstance(scan, Discarded) or (scan.text and not set(scan.text) & set("\r\n\t\x03"))


@given(pieces=st.lists(st.binary(max_size=50), max_size=40))
@settings(max_examples=200)
def test_no_more_than_the_limit_is_held(pieces: list[bytes]) -> None:
    """What is held between pieces is bounded by the limit, whatever comes."""
    lines = Lines(b"\n", 30)
    for piece in pieces:
        list(lines.feed(piece))
        assert len(lines._partial) <= 30  # noqa: SLF001 -- the bound on memory is the behaviour
