"""GS1: one identifier for a product in a link, an element string and a barcode."""

import string
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.decode import gs1
from gateway.core.sighting import Identifier
from tests.simulators import frames

CHARACTERS = "!\"%&'()*+,-./" + string.digits + ":;<=>?" + string.ascii_uppercase + "_" + string.ascii_lowercase
"""GS1 AI encodable character set 82 (General Specifications, figure 7.11-1)."""
GS = "\x1d"
GTIN = "09506000134352"

gtins = (
    st.sampled_from([7, 11, 12, 13]).flatmap(lambda n: st.text(string.digits, min_size=n, max_size=n)).map(frames.gtin)
)
qualifiers = st.dictionaries(
    st.sampled_from(["22", "10", "21"]), st.text(CHARACTERS, min_size=1, max_size=20), max_size=3
)


def expected(gtin: str, found: dict[str, str]) -> tuple[Identifier, ...]:
    """Write the identifiers by hand: from the whole down to the GTIN alone."""
    values = [f"/01/{gtin.zfill(14)}"]
    for ai in ("22", "10", "21"):
        if ai in found:
            values.append(f"{values[-1]}/{ai}/{quote(found[ai], safe='')}")
    return tuple(Identifier("gs1", value) for value in reversed(values))


def test_the_character_set_has_82_characters() -> None:
    """The alphabet of these tests is the standard's."""
    assert len(set(CHARACTERS)) == 82


@given(
    stem=st.sampled_from(["", "/de", "/some/brand", "/01", "/01/de"]),
    gtin=gtins,
    found=qualifiers,
    query=st.sampled_from(["", "?17=271231", "?linkType=gs1:pip&x=/01/1"]),
)
def test_every_digital_link_is_read(stem: str, gtin: str, found: dict[str, str], query: str) -> None:
    """Any stem and any query around the identification; less specific identifiers follow."""
    steps = "".join(f"/{ai}/{quote(found[ai], safe='')}" for ai in ("22", "10", "21") if ai in found)
    assert gs1.from_link(f"https://id.acme.example{stem}/01/{gtin}{steps}{query}") == expected(gtin, found)


@given(gtin=gtins, found=qualifiers, data=st.data())
def test_every_element_string_is_read(gtin: str, found: dict[str, str], data: st.DataObject) -> None:
    """AIs in any order, with others between: of fixed length, or up to the separator."""
    elements = [("01", gtin.zfill(14), True), *((ai, value, False) for ai, value in found.items())]
    elements += [("17", "271231", True), ("3103", "001250", True), ("00", "0" * 18, True), ("240", "A-1", False)]
    order = data.draw(st.permutations(elements))
    text = "".join(ai + value + ("" if fixed else GS) for ai, value, fixed in order)
    assert gs1.from_elements(data.draw(st.sampled_from(["", GS])) + text) == expected(gtin, found)


@given(gtins)
def test_every_barcode_is_read(gtin: str) -> None:
    """GTIN-8, -12, -13 and -14 are the same key in fourteen digits."""
    assert gs1.from_digits(gtin) == (Identifier("gs1", f"/01/{gtin.zfill(14)}"),)


@given(gtins, st.integers(1, 9), st.data())
def test_a_wrong_digit_is_noticed(gtin: str, more: int, data: st.DataObject) -> None:
    """The check digit catches every single wrong digit."""
    at = data.draw(st.integers(0, len(gtin) - 1))
    wrong = gtin[:at] + str((int(gtin[at]) + more) % 10) + gtin[at + 1 :]
    assert gs1.gtin14(wrong) is None
    assert gs1.from_digits(wrong) == gs1.from_link(f"https://x.example/01/{wrong}") == ()


@pytest.mark.parametrize(
    ("gtin", "fourteen"),
    [
        ("96385074", "00000096385074"),
        ("614141999996", "00614141999996"),
        ("9506000134352", "09506000134352"),
        ("10614141543219", "10614141543219"),
    ],
)
def test_published_gtins(gtin: str, fourteen: str) -> None:
    """Examples of GS1's own documents."""
    assert gs1.gtin14(gtin) == fourteen


@pytest.mark.parametrize("digits", ["", "0", "9506000134352 ", "٩٥٠٦٠٠٠١٣٤٣٥٢", "²²²²²²²²", "950600013435A", "0" * 15])
def test_what_is_no_gtin_is_none(digits: str) -> None:
    """Other lengths, letters, and digits of other scripts."""
    assert gs1.gtin14(digits) is None


def test_a_separator_after_a_fixed_length_is_tolerated() -> None:
    """Some encoders put FNC1 after every element."""
    assert gs1.from_elements(f"01{GTIN}{GS}21A{GS}") == expected(GTIN, {"21": "A"})


def test_of_a_repeated_element_the_first_counts() -> None:
    """Two serials are a fault of the printer; the first is as good as any, and always the same."""
    assert gs1.from_elements(f"01{GTIN}21A{GS}21B") == expected(GTIN, {"21": "A"})


@pytest.mark.parametrize(
    "text",
    [
        *("", GS, "01", f"01{GTIN[:-1]}", "0109506000134353", "10LOT", f"01{GTIN}21", f"01{GTIN}21{GS}10A"),
        *(f"01{GTIN}{GS}{GS}21A", f"01{GTIN}21{'A' * 21}", f"01{GTIN}21é", f"01{GTIN}21A B", f"01{GTIN}AB1"),
        *(f"01{GTIN}17271", "https://x.example", f"01{GTIN}240\x0712", f"01{GTIN}240é"),
    ],
)
def test_a_malformed_element_string_is_nothing(text: str) -> None:
    """Torn, without a GTIN, with an empty, overlong or foreign value: no identifier at all."""
    assert gs1.from_elements(text) == ()


@pytest.mark.parametrize(
    "url",
    [
        *("https://x.example", "https://x.example/01", "https://x.example/01/", f"https://x.example/02/{GTIN}"),
        *(f"https://x.example/01/{GTIN}/", f"https://x.example/01/{GTIN}/21", f"https://x.example/01/{GTIN}/21/"),
        *(f"https://x.example/01/{GTIN}/21/A/10/B", f"https://x.example/01/{GTIN}/21/A/21/B"),
        *(f"https://x.example/01/{GTIN}/99/A", f"https://x.example/01/{GTIN}/21/{'A' * 21}"),
        *(f"https://x.example/01/{GTIN}/21/%C3%A9", f"https://x.example/01/{GTIN}/21/a%20b"),
        *(f"https://x.example/?/01/{GTIN}", "https://x.example/01/09506000134353", "no link"),
    ],
)
def test_any_other_link_is_nothing(url: str) -> None:
    """Wrong order, unknown or empty qualifiers, a wrong check digit: no Digital Link."""
    assert gs1.from_link(url) == ()


@given(gtin=gtins, found=qualifiers)
def test_link_and_element_string_agree(gtin: str, found: dict[str, str]) -> None:
    """The canonical value is itself the path of a Digital Link, and means what the element string means."""
    elements = f"01{gtin.zfill(14)}" + GS.join(ai + value for ai, value in found.items())
    identifiers = gs1.from_elements(elements)
    assert gs1.from_link(f"https://x.example{identifiers[0].value}") == identifiers


@given(st.text() | st.text(st.sampled_from(f"0123456789{GS}A"), max_size=60) | st.text(st.sampled_from("/012%?A:")))
def test_any_text_is_calm(text: str) -> None:
    """Whatever is scanned, reading it ends with identifiers or none."""
    for identifier in (*gs1.from_link(text), *gs1.from_elements(text), *gs1.from_digits(text)):
        assert identifier.value.startswith("/01/")
