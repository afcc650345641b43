"""The registry as a CSV file."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.decode.gs1 import check_digit
from gateway.core.event import LATEST_MS
from gateway.core.registry import KINDS, PHASES, BearerRule, Known, Touchpoint, build
from gateway.core.sighting import Identifier
from gateway.store import registry_csv
from gateway.store.registry_csv import HEADER, Bounds, RegistryErrors, format, parse  # noqa: A004  # under test

SAMPLE = Path(__file__).parents[2] / "config" / "registry.csv"
DAY_MS = 86_400_000


def file(*rows: str) -> str:
    return "\n".join((",".join(HEADER), *rows)) + "\n"


def row(**cells: str) -> str:
    return ",".join({"id": "t", "kind": "display", "name": "T", **cells}.get(column, "") for column in HEADER)


def errors(text: str) -> list[str]:
    with pytest.raises(RegistryErrors) as caught:
        parse(text)
    return str(caught.value).split("\n")


def test_the_sample() -> None:
    """The sample is a registry with every kind of touchpoint, and a reading finds what it describes."""
    registry = build(1, parse(SAMPLE.read_text(encoding="utf-8")))
    assert {touchpoint.kind for touchpoint in registry.touchpoints.values()} == set(KINDS)
    piece = registry.lookup(Identifier("gs1", "/01/09521234000525/21/88"))
    assert isinstance(piece, Known)
    assert (piece.touchpoint.name, piece.touchpoint.serial) == ("Moon phase 38, no. 88 of 100", "88")
    answer = registry.lookup(Identifier("link", "https://id.acme.example/f/good"))
    assert isinstance(answer, Known)
    assert (answer.touchpoint.id, answer.answer) == ("farewell", "good")


def test_spreadsheets_write_it_differently() -> None:
    """A byte order mark, semicolons, CRLF, empty lines and spaces around cells change nothing."""
    text = file(row(zone="salon"), row(id="u"))
    other = "\ufeff" + text.replace(",", " ; ").replace("\n", "\r\n") + ";" * (len(HEADER) - 1) + "\r\n\r\n"
    assert (
        parse(other) == parse(text) == [Touchpoint("t", "display", "T", zone="salon"), Touchpoint("u", "display", "T")]
    )


def test_columns_in_another_order() -> None:
    """Columns are known by name."""
    reversed_file = ",".join(reversed(HEADER)) + "\n" + ",".join(reversed(row(zone="salon").split(",")))
    assert parse(reversed_file) == parse(file(row(zone="salon")))


def test_all_errors_at_once() -> None:
    """Every error has its line and column; a quoted cell may span lines."""
    text = file(
        row(id="a b", kind="shelf", phase="later"),
        row(name='"two\nlines"'),
        row(name="", gtin="9521234000418", valid_from="tomorrow", identifiers="nfc-uid:04A1B2C3 qr:x"),
        "a,b",
    )
    assert errors(text) == [
        "line 2: id: must be 1 to 64 letters, digits, '.', '_' or '-', the first a letter or digit",
        f"line 2: kind: must be one of {', '.join(KINDS)}",
        "line 2: phase: must be one of before, during, after",
        "line 3: name: must be at most 128 printable characters",
        "line 5: name: must not be empty",
        "line 5: gtin: the check digit is wrong: after these digits it would be 9",
        "line 5: valid_from: must be a date like 2026-11-21, or a date-time like 2026-11-21T08:00:00Z",
        (
            "line 5: identifiers: identifier 1: nfc-uid: is written as 4 to 10 bytes of two hexadecimal digits, in"
            " lower case; identifier 2: begins with a kind and a colon, the kind one of ibeacon, altbeacon, "
            "eddystone-uid, eddystone-eid, beacon, nfc-uid, sun, gs1, link, text"
        ),
        "line 5: id: is already on line 3",
        "line 6: has 2 cells, the header has 12",
    ]


@pytest.mark.parametrize(
    ("header", "wrong"),
    [
        ("id;kind", "line 1: name: this column is missing"),
        (",".join((*HEADER, "colour")), "line 1: colour: unknown column"),
        (",".join((*HEADER, "zone")), "line 1: zone: this column is there twice"),
        ("", f"line 1: the file is empty; it begins with {','.join(HEADER)}"),
        ('"', "line 1: is not CSV: unexpected end of data"),
    ],
)
def test_not_a_registry(header: str, wrong: str) -> None:
    """The header is checked by column."""
    assert wrong in errors(header)


def test_a_file_without_a_header_is_not_echoed() -> None:
    """Its first row may hold anything, a customer's token too."""
    said = errors("a,b,https://id.acme.example/m/0a1b2c")
    assert said == [f"line 1: is no header, but must be: {','.join(HEADER)}"]


def test_a_customers_token_is_no_touchpoint() -> None:
    """Each identifier that a rule for tokens covers is named by line and place, and not repeated."""
    rules = [BearerRule("link", "https://id.acme.example/m/"), BearerRule("nfc-uid", "04")]
    token, own = "link:https://id.acme.example/m/Zk3v", "link:https://id.acme.example/t/1"
    text = file(
        row(), row(id="u", identifiers=f"{own} {token}"), row(id="v", kind="feedback", identifiers=f"{token}2#1")
    )
    assert len(parse(text)) == 3
    with pytest.raises(RegistryErrors) as errors:
        parse(text, Bounds(rules))
    said = "is a customer's token by a [[bearer]] rule of the configuration"
    assert str(errors.value).splitlines() == [
        f"line 3: identifiers: identifier 2: {said}",
        f"line 4: identifiers: identifier 1: {said}",
    ]


def test_links_are_the_brands_own() -> None:
    """Once its domain is known: a link of any other is wrong, and not repeated; GS1 keys and tags have no domain."""
    bounds = Bounds(domain="id.acme.example", other_domains=("www.acme.example",))
    good = ("link:https://id.acme.example/t/a", "link:http://www.acme.example/b", "gs1:/01/09521234000525", "text:x")
    assert parse(file(row(identifiers=" ".join(good))), bounds)[0].identifiers == good
    for foreign in ("https://acme.example/t", "https://id.acme.example.evil.example/t", "http://other.example:8080/?x"):
        with pytest.raises(RegistryErrors) as errors:
            parse(file(row(identifiers=f"text:x link:{foreign}")), bounds)
        assert str(errors.value) == (
            "line 2: identifiers: identifier 2: is a link of a domain that is not the brand's: id.acme.example, "
            "or one of [links] other_domains"
        )


def test_one_touchpoint_without_a_file() -> None:
    """By its cells; what is not there is empty. What is wrong has a column and no line."""
    assert registry_csv.read({"id": "t", "kind": "display", "name": " T "}) == Touchpoint("t", "display", "T")
    with pytest.raises(RegistryErrors) as errors:
        registry_csv.read({"id": "t", "kind": "shelf", "name": "T", "identifiers": "text:a text:a"})
    assert str(errors.value).splitlines() == [
        f"kind: must be one of {', '.join(KINDS)}",
        "identifiers: stands there twice",
    ]


def test_identifiers_belong_to_one_touchpoint() -> None:
    """The same identifier twice is an error, also within a row and whatever answer it stands for."""
    good, poor = "link:https://a.example/f#good", "link:https://a.example/f#poor"
    text = file(
        row(identifiers="nfc-uid:04a1b2c3 nfc-uid:04a1b2c3"),
        row(id="u", kind="feedback", identifiers=good),
        row(id="v", kind="feedback", identifiers=poor),
    )
    assert errors(text) == ["line 2: identifiers: is already on line 2", "line 4: identifiers: is already on line 3"]


@pytest.mark.parametrize(
    ("begins", "ends", "begins_ms", "ends_ms"),
    [
        ("1970-01-02", "1970-01-02", DAY_MS, 2 * DAY_MS),
        ("1970-01-02T00:00:00+01:00", "1970-01-02T00:00:00.5Z", DAY_MS - 3_600_000, DAY_MS + 500),
        ("", "1970-01-02T00:00:00", None, DAY_MS),
        ("2.1.1970", "02.01.1970", DAY_MS, 2 * DAY_MS),
    ],
)
def test_validity(begins: str, ends: str, begins_ms: int | None, ends_ms: int) -> None:
    """A date, as German spreadsheets write it too, holds from its first to its last moment in UTC."""
    (touchpoint,) = parse(file(row(valid_from=begins, valid_until=ends)))
    assert (touchpoint.valid_from_ms, touchpoint.valid_until_ms) == (begins_ms, ends_ms)


@pytest.mark.parametrize(
    "date",
    [
        "9999-12-31",
        "1969-12-30",
        "9999-12-31T23:59:59-14:00",
        "2026-02-30",
        "32.11.2026",
        "11/21/2026",
        "2026-11-21T25:00",
        "Tuesday",
    ],
)
def test_dates_that_are_none(date: str) -> None:
    """A wrong date is explained, also where its end lies beyond the calendar."""
    assert "valid_until: must be a date" in errors(file(row(valid_until=date)))[0]


def test_validity_that_ends_before_it_begins() -> None:
    """Such a touchpoint would never be valid."""
    text = file(row(valid_from="2026-11-22", valid_until="2026-11-21"))
    assert errors(text) == ["line 2: valid_until: is not after valid_from"]


@pytest.mark.parametrize(
    ("gtin", "wrong"), [("9.52E+12", "must be 8"), ("²2345678", "must be 8"), ("96385075", "be 4")]
)
def test_gtin(gtin: str, wrong: str) -> None:
    """Spreadsheets spoil GTINs: what is no GTIN is explained."""
    assert wrong in errors(file(row(gtin=gtin)))[0]
    assert parse(file(row(gtin="96385074")))[0].gtin == "96385074"


@pytest.mark.parametrize(
    "identifier",
    [
        "ibeacon:3d7c7b9c-2f0e-4b58-9a43-4d7f0c2a9e11/0/65535",
        "altbeacon:" + "0a" * 20,
        "eddystone-uid:a1b2c3d4e5f60718293a/000000000001",
        "eddystone-eid:0123456789abcdef",
        "beacon:vitrine-3",
        "nfc-uid:04a1b2c3d4e5f6",
        "sun:04a1b2c3d4e5f6",
        "gs1:/01/09521234000525/22/A/10/B/21/C",
        "gs1:/01/09521234000525",
        "link:https://id.acme.example/t/a%20b?c=d",
        "text:Chronograph",
    ],
)
def test_canonical_identifiers(identifier: str) -> None:
    """What decoding yields can be registered."""
    assert parse(file(row(identifiers=identifier)))[0].identifiers == (identifier,)


@pytest.mark.parametrize(
    "identifier",
    [
        "04a1b2c3",
        "nfc-uid:",
        "nfc-uid:04A1B2C3",
        "nfc-uid:04a1b",
        "ibeacon:3D7C7B9C-2F0E-4B58-9A43-4D7F0C2A9E11/1/2",
        "ibeacon:3d7c7b9c-2f0e-4b58-9a43-4d7f0c2a9e11/01/2",
        "ibeacon:3d7c7b9c-2f0e-4b58-9a43-4d7f0c2a9e11/65536/2",
        "gs1:/01/9521234000525",
        "gs1:/01/09521234000524",
        "gs1:/01/09521234000525/21/C/10/B",
        "gs1:stem/01/09521234000525",
        "link:HTTPS://id.acme.example/t",
        "link:https://ID.acme.example/t",
        "link:https://id.acme.example/t#x",
        "text:%20padded",
        "text:%07",
    ],
)
def test_identifiers_that_no_reading_equals(identifier: str) -> None:
    """An identifier in any other writing would never be found: it is refused, and not echoed."""
    (error,) = errors(file(row(identifiers=identifier)))
    assert error.startswith("line 2: identifiers: identifier 1: ")
    assert identifier.partition(":")[2] not in error or not identifier.partition(":")[2]


@pytest.mark.parametrize(
    "identifier", ["link:https://a.example/f", "link:https://a.example/f#", "text:a#%23", "text:a#%0a"]
)
def test_feedback_needs_an_answer(identifier: str) -> None:
    """At a feedback point each identifier stands for an answer."""
    assert "ends with # and the answer" in errors(file(row(kind="feedback", identifiers=identifier)))[0]


def test_links_are_made_where_a_row_has_no_identifiers() -> None:
    """Under the brand's domain; of a feedback point for each answer that stands alone. Not without a domain."""
    text = file(row(), row(id="f", kind="feedback", identifiers="#very%20good text:x#x"))
    display, feedback = parse(text, Bounds(domain="id.acme.example"))
    assert display.identifiers == ("link:https://id.acme.example/t/t",)
    assert feedback.identifiers == ("link:https://id.acme.example/t/f/very%20good#very good", "text:x#x")
    assert errors(text) == [
        "line 3: identifiers: an answer alone asks for a link to be made: set [links] domain in the configuration"
    ]


def test_text_and_answers_may_hold_spaces() -> None:
    """They are percent-encoded in the file, and plain in the touchpoint."""
    (touchpoint,) = parse(file(row(kind="feedback", identifiers="text:page%2012%25#very%20good")))
    assert touchpoint.identifiers == ("text:page 12%#very good",)


def test_too_many_identifiers() -> None:
    """A touchpoint has at most as many identifiers as a registry entry from the centre can hold."""
    assert "at most 64" in errors(file(row(identifiers=" ".join(f"text:{at}" for at in range(65)))))[0]


PRINTABLE = st.characters(categories=("L", "M", "N", "P", "S"), include_characters=" ")
LABELS = st.text(PRINTABLE, min_size=1, max_size=20).map(str.strip).filter(bool)
ANSWERS = LABELS.map(lambda text: text.replace("#", "+"))
NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)
GTINS = st.from_regex(r"[0-9]{12}", fullmatch=True).map(lambda digits: digits + check_digit(digits))
MILLISECONDS = st.integers(0, LATEST_MS)
IDENTIFIERS = st.one_of(
    st.binary(min_size=4, max_size=10).map(lambda uid: f"nfc-uid:{uid.hex()}"),
    LABELS.map(lambda text: f"text:{text}"),
    st.from_regex(r"[!-\"$-~]{0,20}", fullmatch=True).map(lambda path: f"link:https://a.example/{path}"),
)


@st.composite
def touchpoints(draw: st.DrawFn) -> Touchpoint:
    """Draw a touchpoint as `parse` may return it."""
    kind = draw(st.sampled_from(KINDS))
    identifiers = draw(st.lists(IDENTIFIERS, max_size=3, unique=True))
    if kind == "feedback":
        identifiers = [f"{each}#{draw(ANSWERS)}" for each in identifiers]
    begins, ends = sorted(draw(st.lists(MILLISECONDS, min_size=2, max_size=2, unique=True)))
    labels = {name: draw(st.none() | LABELS) for name in ("zone", "reference", "serial", "campaign")}
    return Touchpoint(
        draw(NAMES),
        kind,
        draw(LABELS),
        phase=draw(st.none() | st.sampled_from(PHASES)),
        gtin=draw(st.none() | GTINS),
        valid_from_ms=draw(st.sampled_from([None, begins])),
        valid_until_ms=draw(st.sampled_from([None, ends])),
        identifiers=tuple(identifiers),
        **labels,
    )


@given(touchpoints())
@settings(max_examples=200)
def test_written_and_read_again(touchpoint: Touchpoint) -> None:
    """What is written is read as the same touchpoint, by semicolons too, and cell by cell."""
    assert parse(format([touchpoint])) == parse("\ufeff" + format([touchpoint], ";")) == [touchpoint]
    assert registry_csv.read(registry_csv.cells(touchpoint)) == touchpoint


@given(st.text() | st.text(alphabet=',;"\n\r #:%').map(file))
@settings(max_examples=200)
def test_any_text(text: str) -> None:
    """Whatever is imported, it is a registry or says what is wrong."""
    with contextlib.suppress(RegistryErrors):
        assert isinstance(parse(text), list)
