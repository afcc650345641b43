"""From a keyboard's events to scans."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.sighting import Scan
from gateway.sources.framing import GAP, LINE_LIMIT, Discarded
from gateway.sources.wedge_keys import EVENT, Keys, numbered
from gateway.sources.wedge_layout import KEYPAD, LayoutName
from tests.simulators.wedge import (
    ALT,
    ALT_GR,
    CAPS,
    CTRL,
    DROPPED,
    REPORT,
    SHIFT,
    alphabet,
    chords,
    packet,
    pressed,
    typed,
)

LINK = "https://id.acme.example/01/09506000134352"
PAD = {digit: key for key, digit in KEYPAD.items()}
NAMES: tuple[LayoutName, ...] = ("us", "de", "fr")
RAW = st.builds(
    EVENT.pack,
    st.integers(0, 3),
    st.integers(0, 999_999),
    st.integers(0, 5),
    st.sampled_from([*range(120), 255, 0xFFFF]),
    st.sampled_from([0, 1, 2, -1]),
)


def read(*events: bytes, layout: LayoutName | None = "us") -> list[Scan | Discarded]:
    keys = Keys(layout)
    return [found for each in events for found in keys.feed(each)]


def press(*presses: tuple[int, ...], at: float = 0.0) -> bytes:
    return b"".join(packet(key, value, at) for key, value in pressed(presses))


def number(digits: str) -> bytes:
    """Hold Alt and type a number on the keypad."""
    pad = b"".join(packet(PAD[digit], value) for digit in digits for value in (1, 0))
    return packet(ALT, 1) + pad + packet(ALT, 0)


@pytest.mark.parametrize("ending", ["\r", "\t", "\n"])
def test_each_ending_ends_a_scan(ending: str) -> None:
    """Enter, Tab and Ctrl+J end a scan, and several of them make no empty one."""
    events = typed("]Q1one", ending=ending) + typed("", ending=ending) + typed("two", ending=ending)
    assert read(events) == [Scan("one", "]Q1"), Scan("two")]


@pytest.mark.parametrize("chord", [(96,), (CTRL, 50), (CTRL, 46)])
def test_other_endings_end_a_scan_too(chord: tuple[int, ...]) -> None:
    """The keypad's Enter, Ctrl+M and Ctrl+C (ETX) end a scan."""
    assert read(typed("one", ending="") + press(chord)) == [Scan("one")]


@pytest.mark.parametrize("layout", NAMES)
@given(data=st.data())
def test_whatever_a_scanner_types_is_scanned(layout: LayoutName, data: st.DataObject) -> None:
    """Any text typed in a layout comes out as it was, by that layout, and of a link by none."""
    text = data.draw(st.text(alphabet(layout), min_size=1, max_size=40))
    assert read(typed("]Q1" + text, layout), layout=layout) == [Scan(text, "]Q1")]
    assert read(typed("]Q1" + text, layout), layout=None) == [Scan(text, "]Q1")]


@given(text=st.text("abc/]\x1d", max_size=20), cuts=st.lists(st.integers(0, 5000), max_size=10))
def test_events_may_come_in_any_pieces(text: str, cuts: list[int]) -> None:
    """However the octets are cut, the scan is the same."""
    stream = typed(text + "x")
    edges = sorted({0, len(stream), *(min(cut, len(stream)) for cut in cuts)})
    assert read(*(stream[start:end] for start, end in pairwise(edges))) == read(stream)


@given(st.lists(RAW | st.sampled_from([DROPPED, typed("]Q1a"), number("0233")]), max_size=120), st.binary(max_size=60))
@settings(max_examples=300)
def test_any_events_give_scans_or_losses(events: list[bytes], noise: bytes) -> None:
    """Whatever a device sends, nothing raises, and nothing is held beyond a line."""
    keys = Keys()
    for each in (*events, noise, *events):
        found = keys.feed(each) + (keys.silence() if not each[:1] else [])
        assert all(isinstance(one, Discarded) or one.text for one in found)
        assert len(keys._typed) <= LINE_LIMIT  # noqa: SLF001 -- the bound on memory is the behaviour
    keys.reset()
    assert not keys.pending


@given(st.integers(0, 30), st.integers(1, 30))
def test_missing_events_never_make_a_wrong_code(start: int, length: int) -> None:
    """With SYN_DROPPED where events are missing, what comes out is what was typed, or nothing; the next is whole."""
    stream = [packet(key, value) for key, value in pressed([*chords("]Q1aBcD"), (28,)])]
    newest = stream[start + length :][:1]  # the kernel keeps it, and it is not to be looked at
    kept = [*stream[:start], DROPPED, *newest, *stream[start + length + 1 :]]
    found = read(b"".join(kept), REPORT, press((28,)), typed("]Q1next"), layout=None)
    scans = [each for each in found if isinstance(each, Scan)]
    assert scans[-1:] == [Scan("next", "]Q1")]
    assert scans[:-1] in ([], [Scan("aBcD", "]Q1")])


def test_an_overrun_spoils_the_scan_and_counts_once() -> None:
    """After SYN_DROPPED the line is passed over, up to its ending, and the packet that was cut is not looked at."""
    half = typed("https://id.", ending="")
    cut = packet(28, 1)
    assert read(half + DROPPED + cut + typed("r") + DROPPED + REPORT + typed("rest")) == [Discarded.MISSED] * 2
    assert read(half + DROPPED + cut + DROPPED + REPORT + typed("rest")) == [Discarded.MISSED]
    assert read(half + DROPPED + cut + typed("rest") + typed("next")) == [Discarded.MISSED, Scan("next")]


def test_a_shift_whose_release_is_missing_is_let_go() -> None:
    """A modifier that was down when events were missed does not change the next code."""
    assert read(packet(SHIFT, 1) + packet(30, 1) + DROPPED + REPORT + press((28,)) + typed("next")) == [
        Discarded.MISSED,
        Scan("next"),
    ]


def test_an_overrun_ends_with_a_silence_too() -> None:
    """What comes GAP after the last key is a new line."""
    keys = Keys("us")
    assert keys.feed(typed("half", ending="", at=1.0) + DROPPED + REPORT) == [Discarded.MISSED]
    assert keys.pending
    assert keys.feed(typed("next", at=1.0 + GAP)) == [Scan("next")]


def test_a_gap_tears_a_line() -> None:
    """What follows a silence of GAP is a new line, by the events' own clock; the old one is torn."""
    assert read(typed("]Q1ha", ending="", at=5.0) + typed("]Q1whole", at=5.0 + GAP)) == [
        Discarded.TORN,
        Scan("whole", "]Q1"),
    ]
    slow = b"".join(press(*chords(each), at=5.0 + 0.9 * GAP * tick) for tick, each in enumerate("slow"))
    assert read(slow + press((28,), at=5.0 + 3.6 * GAP)) == [Scan("slow")]


def test_silence_lets_go_of_all_keys_and_locks() -> None:
    """A scan that was torn with Shift down and CapsLock on leaves nothing to the next."""
    keys = Keys("us")
    keys.feed(press((CAPS,)) + packet(SHIFT, 1) + press((30,)))
    assert keys.silence() == [Discarded.TORN]
    assert keys.feed(typed("aB")) == [Scan("aB")]


def test_the_rest_of_a_code_is_passed_over() -> None:
    """Who begins to listen in the middle of a code waits for its ending, or a silence of GAP, and counts nothing."""
    for rest in (typed("st", at=0.9), typed("st", ending="", at=1.0) + packet(30, 0, 1.0 + GAP)):
        keys = Keys("us")
        keys.join(1.0)
        assert (keys.joining, keys.feed(rest), keys.joining) == (True, [], False)
        assert keys.feed(typed("next", at=1.0 + GAP)) == [Scan("next")]
    keys = Keys("us")
    keys.join(1.0)
    assert keys.feed(typed("whole", at=1.0 + GAP)) == [Scan("whole")]


def test_caps_lock_holds_until_it_is_pressed_again() -> None:
    """A scanner that types capitals with CapsLock is read right, across codes that follow each other."""
    text = press((CAPS,), *chords("ab"), (CAPS,), *chords("ab"))
    assert read((text + press((28,))) * 2) == [Scan("ABab")] * 2


def test_a_gs_is_a_separator_within_a_line() -> None:
    """FNC1 comes as Ctrl+] and stays in the text of a GS1 symbol."""
    text = "0109506000134352\x1d21ABC"
    assert read(typed("]d2" + text)) == [Scan(text, "]d2")]


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("]Q1" + LINK + "\x1d", [Scan(LINK, "]Q1")]),
        ("]Q30109506000134352\x1d", [Discarded.TORN]),
        ("0109506000134352\x1d", [Discarded.TORN]),
        ("]Q1" + LINK, [Discarded.TORN]),
        ("]Q1\x1d", [Discarded.TORN]),
        ("", []),
    ],
)
def test_a_gs_ends_a_line_with_the_silence_after_it(line: str, found: list[Scan | Discarded]) -> None:
    """As a suffix it counts where it cannot be a separator."""
    keys = Keys("us")
    assert keys.feed(typed(line, ending="")) == []
    assert keys.silence() == found


def test_keys_that_repeat_or_lock_type_nothing() -> None:
    """A key that is held repeats (value 2), NumLock and ScrollLock do nothing here."""
    held = packet(30, 1) + packet(30, 2) * 50 + packet(30, 0)
    assert read(press((69,), (70,)) + held + press((28,))) == [Scan("a")]


def test_characters_by_their_number() -> None:
    """Alt and a number on the keypad is a character in any layout; 029 is GS."""
    events = b"".join(number(f"{ord(each):03}") for each in "]Q1ab\x1dc")
    assert read(events + press((28,)), layout=None) == [Scan("ab\x1dc", "]Q1")]
    assert read(number("0233") + number("130") + press((28,)), layout=None) == [Scan("éé")]


@pytest.mark.parametrize(
    ("digits", "character"),
    [
        ("065", "A"),
        ("0065", "A"),
        ("0128", "€"),
        ("130", "é"),
        ("029", "\x1d"),
        ("0029", "\x1d"),
        ("256", None),
        ("0129", None),
        ("000", None),
    ],
)
def test_a_number_is_windows_1252_or_code_page_437(digits: str, character: str | None) -> None:
    """A leading zero chooses between them, and what has no character is none."""
    assert numbered(digits) == character


@given(st.integers(0x20, 0xFF), st.sampled_from(["{}", "{:03}", "0{:03}"]))
def test_a_number_that_lost_a_digit_is_none(code: int, written: str) -> None:
    """A digit that the kernel has swallowed, since its key was down already, makes no other character but a GS."""
    digits = written.format(code)
    passed = "".join(dict.fromkeys(digits))
    assert numbered(passed) in {None, "\x1d", numbered(digits)}


@pytest.mark.parametrize("digits", ["999", "65656", "65", "013"])
def test_a_number_without_a_character_spoils_the_line(digits: str) -> None:
    """The scan is dropped as undecodable, the next is read."""
    assert read(number(digits) + typed("rest") + typed("next")) == [Discarded.UNDECODABLE, Scan("next")]


def test_a_number_that_is_not_finished_is_no_code() -> None:
    """A code whose last number is cut by its ending, or by a silence, is dropped, and not shortened."""
    begun = typed("]Q1whole\x1d", ending="") + packet(ALT, 1) + press((PAD["0"],))
    assert read(begun + press((28,)) + typed("next")) == [Discarded.UNDECODABLE, Scan("next")]
    keys = Keys("us")
    assert keys.feed(begun) + keys.silence() == [Discarded.TORN]


def test_ctrl_and_alt_is_alt_gr() -> None:
    """Scanners that type AltGr as Ctrl+Alt are read as Windows reads them."""
    both = press((CTRL, ALT, 16), (CTRL, ALT, 9), (28,))
    assert read(both, layout="de") == [Scan("@[")]
    assert read(press((ALT_GR, 16), (28,)), layout="de") == [Scan("@")]


@pytest.mark.parametrize("chord", [(59,), (125,), (ALT, 30), (CTRL, 2)])
def test_a_key_that_types_nothing_spoils_the_line(chord: tuple[int, ...]) -> None:
    """Function keys and chords that are no character drop the scan as undecodable."""
    assert read(typed("a", ending="") + press(chord) + typed("b") + typed("next")) == [
        Discarded.UNDECODABLE,
        Scan("next"),
    ]


def test_a_line_of_the_limit_is_whole_and_a_longer_one_oversized() -> None:
    """LINE_LIMIT characters are a line, one more is dropped once, with its rest."""
    assert read(typed("x" * LINE_LIMIT)) == [Scan("x" * LINE_LIMIT)]
    assert read(typed("x" * (3 * LINE_LIMIT)) + typed("next")) == [Discarded.OVERSIZED, Scan("next")]


def test_reset_gives_up_what_has_begun() -> None:
    """A keyboard that is gone tears its line, once."""
    keys = Keys("us")
    keys.feed(typed("begun", ending=""))
    assert keys.reset() == [Discarded.TORN]
    assert keys.reset() == []
