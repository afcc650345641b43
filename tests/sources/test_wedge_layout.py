"""What a keyboard typed, by the country that it is set to."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gateway.sources.framing import Discarded
from gateway.sources.wedge_layout import ACCENTS, KEYS, LAYOUTS, Country, LayoutName, Stroke, Typed, proves_itself
from tests.simulators.wedge import ALT_GR, CTRL, SHIFT, alphabet, chords

NAMES: tuple[LayoutName, ...] = ("us", "de", "fr")
LINK = "https://id.acme-zurich.example/01/09506000134352/21/Xy_7~q?a=b&c=%20"


def strokes(text: str, layout: LayoutName) -> Typed:
    """Return what a scanner that is set to this layout presses for a text."""
    return [
        Stroke(key, shift=SHIFT in held, ctrl=CTRL in held, third_level=ALT_GR in held)
        for *held, key in chords(text, layout)
    ]


@pytest.mark.parametrize("name", NAMES)
def test_a_layout_has_printable_ascii(name: LayoutName) -> None:
    """Every layout types all that a link or an element string can hold, and GS."""
    assert set(alphabet(name)) >= {chr(code) for code in range(0x20, 0x7F)}
    assert LAYOUTS[name].read(strokes("\x1d", name)) == "\x1d"


@pytest.mark.parametrize("name", NAMES)
def test_a_layout_knows_its_accents(name: LayoutName) -> None:
    """Whatever waits for the next character can be joined with it."""
    assert set(LAYOUTS[name].dead + LAYOUTS[name].third_dead) <= set(ACCENTS)


@pytest.mark.parametrize(
    ("key", "level", "us", "de", "fr"),
    [
        (21, 0, "y", "z", "y"),
        (44, 0, "z", "y", "w"),
        (16, 1, "Q", "Q", "A"),
        (39, 1, ":", "Ö", "M"),
        (53, 0, "/", "-", "!"),
        (8, 1, "&", "/", "7"),
        (52, 0, ".", ".", ":"),
        (16, 2, None, "@", None),
        (9, 2, None, "[", "\\"),
        (12, 2, None, "\\", "]"),
        (86, 1, None, ">", ">"),
        (83, 0, ".", ",", "."),
        (55, 2, None, None, None),
        (59, 0, None, None, None),
    ],
)
def test_a_key_is_what_the_country_has_there(
    key: int, level: int, us: str | None, de: str | None, fr: str | None
) -> None:
    """Golden keys of the three layouts, from xkeyboard-config's us(basic), de(basic) and fr(azerty)."""
    stroke = Stroke(key, shift=level == 1, third_level=level == 2)
    assert [LAYOUTS[name].character(stroke) for name in NAMES] == [us, de, fr]


@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
def test_whatever_a_scanner_types_reads_back(name: LayoutName, data: st.DataObject) -> None:
    """Any text of a layout's characters, typed by it, is read by it, accents on their own included."""
    text = data.draw(st.text(alphabet(name) + "\x1d", max_size=60))
    assert LAYOUTS[name].read(strokes(text, name)) == text


@given(st.lists(st.builds(Stroke, st.integers(0, 255), *[st.booleans()] * 5) | st.characters(), max_size=40))
def test_any_strokes_are_read_or_refused(typed: list[Stroke | str]) -> None:
    """No strokes raise, in any layout, and a refusal is a value."""
    text = Country().text(typed)
    assert isinstance(text, str)


@pytest.mark.parametrize(
    ("name", "keys", "text"),
    [
        ("de", [(41,), (57,)], "^"),
        ("de", [(41,), (18,)], "ê"),
        ("de", [(13,), (18,)], "é"),
        ("de", [(SHIFT, 13), (30,)], "à"),
        ("de", [(41,), (2,)], "^1"),
        ("de", [(41,)], "^"),
        ("fr", [(26,), (24,)], "ô"),
        ("fr", [(SHIFT, 26), (18,)], "ë"),
        ("fr", [(ALT_GR, 3), (49,)], "ñ"),
        ("fr", [(ALT_GR, 10), (24,)], "^o"),
        ("us", [(41,), (30,)], "`a"),
    ],
)
def test_a_dead_key_waits_for_what_follows(name: LayoutName, keys: list[tuple[int, ...]], text: str) -> None:
    """An accent joins the letter after it, stands alone before a space, and before what it does not join."""
    typed = [Stroke(key, shift=SHIFT in held, third_level=ALT_GR in held) for *held, key in keys]
    assert LAYOUTS[name].read(typed) == text


def test_caps_lock_changes_letters_and_nothing_else() -> None:
    """CapsLock turns a letter round, Shift turns it back, and a digit stays one."""
    typed = [Stroke(30, caps=True), Stroke(30, shift=True, caps=True), Stroke(2, caps=True), Stroke(53, caps=True)]
    assert LAYOUTS["us"].read(typed) == "Aa1/"
    assert LAYOUTS["de"].read([Stroke(39, caps=True), Stroke(12, caps=True)]) == "Öß"


def test_ctrl_makes_control_characters() -> None:
    """Ctrl+] is GS at its place and at that of a US keyboard; Ctrl+B is STX; Ctrl with what has none is nothing."""
    assert LAYOUTS["us"].read([Stroke(27, ctrl=True), Stroke(48, ctrl=True)]) == "\x1d\x02"
    assert LAYOUTS["de"].read([Stroke(27, ctrl=True)]) == "\x1d"
    assert LAYOUTS["de"].read([Stroke(9, ctrl=True, third_level=True), Stroke(10, ctrl=True, third_level=True)]) == (
        "\x1b\x1d"
    )
    assert LAYOUTS["us"].read([Stroke(2, ctrl=True)]) is None


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("text", [LINK, "]Q1plain zebra-7", "9506000134352", "]d20109506000134352\x1d21a/Y"])
def test_a_code_that_proves_itself_is_read_in_any_country(name: LayoutName, text: str) -> None:
    """Links, GTINs and whatever comes with an AIM identifier need no setting."""
    assert Country().text(strokes(text, name)) == text


@pytest.mark.parametrize("typed_in", NAMES)
@given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=60))
def test_no_other_layout_proves_what_was_typed(typed_in: LayoutName, rest: str) -> None:
    """Of a link and of a code with an AIM identifier, every layout that proves it gives the same text."""
    for text in ("https://acme.example/" + rest, "]Q1" + rest, "]C1" + rest):
        read = {LAYOUTS[name].read(strokes(text, typed_in)) for name in NAMES}
        assert {each for each in read if each is not None and proves_itself(each)} <= {text}


def test_a_code_that_could_be_several_is_ambiguous_until_another_has_shown_the_country() -> None:
    """A token is not guessed; after a link the layout is known."""
    country = Country()
    token = strokes("member-zy", "de")
    assert country.text(token) is Discarded.AMBIGUOUS
    assert country.text(strokes(LINK, "de")) == LINK
    assert country.text(token) == "member-zy"


def test_a_country_that_is_contradicted_is_not_kept() -> None:
    """When another layout is proved, codes are ambiguous until the next proof, and none is read by the wrong one."""
    country = Country()
    country.text(strokes(LINK, "us"))
    assert country.text(strokes("zebra", "us")) == "zebra"
    assert country.text(strokes(LINK, "de")) == LINK
    assert country.text(strokes("zebra", "de")) is Discarded.AMBIGUOUS
    assert country.text(strokes(LINK, "de")) == LINK
    assert country.text(strokes("zebra", "de")) == "zebra"


def test_a_code_that_is_the_same_in_all_countries_needs_none() -> None:
    """The keypad's digits, and letters that lie where they lie, are read at once."""
    assert Country().text([Stroke(79), Stroke(80), Stroke(18), "é"]) == "12eé"


@pytest.mark.parametrize("name", NAMES)
def test_a_given_country_is_not_doubted(name: LayoutName) -> None:
    """With a layout in the configuration nothing is ambiguous, and another layout's proof changes nothing."""
    country = Country(name)
    other: LayoutName = "us" if name == "de" else "de"
    country.text(strokes(LINK, other))
    assert country.text(strokes("Zebra-7/q", name)) == "Zebra-7/q"
    assert country.text([Stroke(59)]) is Discarded.UNDECODABLE


@given(st.sampled_from(NAMES), st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=30))
def test_a_country_that_is_not_known_yields_the_text_or_nothing(name: LayoutName, text: str) -> None:
    """Without a setting and a proof no wrong text comes out, unless it proves itself to be what it is not."""
    assume(not any(proves_itself(LAYOUTS[other].read(strokes(text, name)) or "") for other in NAMES))
    assert Country().text(strokes(text, name)) in {text, Discarded.AMBIGUOUS}


def test_the_rows_of_a_layout_are_as_long_as_its_keys() -> None:
    """A layout with a character too many or too few is refused when it is loaded."""
    assert len(set(KEYS)) == len(KEYS) == 48
