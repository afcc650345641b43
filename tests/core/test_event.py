"""The events: models, envelope, gaps, retention."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gateway.core import example
from gateway.core.event import (
    DATA,
    LATEST_MS,
    Disappeared,
    Draft,
    Event,
    EventType,
    Gap,
    Previous,
    Range,
    Response,
    Retention,
    Wire,
    encode,
    gap,
    retention,
    rfc3339,
)
from gateway.core.sighting import Moment

SOURCE = "urn:touchpoint:acme:zrh-1:gw-1"
texts = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40)
names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True)
sequences = st.integers(1, 2**53 - 1)


@st.composite
def data(draw: st.DrawFn) -> tuple[EventType, Wire]:
    """Draw data of any type, with free texts and numbers where the type has room for them."""
    kind = draw(st.sampled_from(EventType))
    model = example.EVENTS[kind]
    if isinstance(model, Response):
        return kind, Response(**dict(model) | {"value": draw(texts), "at": draw(texts), "reader": draw(texts)})
    if isinstance(model, Disappeared):
        return kind, Disappeared(
            **dict(model) | {"dwell": draw(st.floats(0, allow_infinity=False)), "zone": draw(texts)}
        )
    if isinstance(model, Gap):
        previous = Previous(session=draw(names), sequence=draw(st.none() | sequences))
        return kind, Gap(reason="new-session", through=draw(st.none() | sequences), previous=previous)
    return kind, model


def changed(kind: EventType, **fields: object) -> str:
    """Return the example event with context attributes replaced."""
    return json.dumps(example.event(kind) | fields)


@given(drawn=data(), time_ms=st.integers(-(2**70), 2**70), session=names, sequence=sequences)
def test_encode_is_the_dump_of_the_envelope(
    drawn: tuple[EventType, Wire], time_ms: int, session: str, sequence: int
) -> None:
    """What the hot path writes parses as an event, keeps its data, and is byte for byte what the model would dump."""
    kind, model = drawn
    text = encode(kind, time_ms, model.model_dump_json(), source=SOURCE, session=session, sequence=sequence)
    event = Event.model_validate_json(text)
    assert event.model_dump_json() == text
    assert (event.kind, event.data, event.session, int(event.sequence)) == (kind, model, session, sequence)


@given(st.integers(0, LATEST_MS))
def test_time_survives_its_text(time_ms: int) -> None:
    """A time stamp says the very millisecond it was made from."""
    since = datetime.fromisoformat(rfc3339(time_ms)) - datetime(1970, 1, 1, tzinfo=UTC)
    assert since.total_seconds() == pytest.approx(time_ms / 1000, abs=1e-4)


@pytest.mark.parametrize(
    ("time_ms", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_795_256_130_007, "2026-11-21T10:15:30.007Z"),
        (-1, "1970-01-01T00:00:00.000Z"),
        (LATEST_MS, "9999-12-31T23:59:59.999Z"),
        (2**63, "9999-12-31T23:59:59.999Z"),
    ],
)
def test_time_is_rfc_3339_in_utc_with_milliseconds(time_ms: int, text: str) -> None:
    """Milliseconds are padded, and a clock beyond what RFC 3339 can write is clamped, never an error."""
    assert rfc3339(time_ms) == text


@pytest.mark.parametrize("kind", EventType)
def test_the_example_of_each_type_is_an_event(kind: EventType) -> None:
    """Every type has a model of its data, an example, and an envelope that names both."""
    event = Event.model_validate_json(json.dumps(example.event(kind)))
    assert isinstance(event.data, DATA[kind])
    assert event.type == f"touchpoint.{kind}.v1"
    assert event.dataschema == f"urn:touchpoint:schema:{kind}:1"


@pytest.mark.parametrize("kind", EventType)
def test_no_key_is_left_out(kind: EventType) -> None:
    """Columns are stable: an event without one of its keys, even one that is null, is refused."""
    whole = example.event(kind)
    for key in whole["data"]:
        partial = {name: value for name, value in whole["data"].items() if name != key}
        with pytest.raises(ValidationError, match=key):
            Event.model_validate_json(json.dumps(whole | {"data": partial}))


@pytest.mark.parametrize("kind", EventType)
def test_an_extra_field_is_refused_without_echo(kind: EventType) -> None:
    """A MAC address injected into the data is refused, and the error does not show it."""
    with pytest.raises(ValidationError) as refusal:
        Event.model_validate_json(changed(kind, data=example.event(kind)["data"] | {"mac": "C4:00:00:00:00:01"}))
    assert "mac" in str(refusal.value)
    assert "C4:00" not in str(refusal.value)


@pytest.mark.parametrize(
    "fields",
    [
        {"id": "other-42"},
        {"id": "7f0c1d5e9a-00000000000000000042"},
        {"sequence": "42"},
        {"sequence": "00000000000000000043"},
        {"type": "touchpoint.tap.v2"},
        {"type": "touchpoint.scan.v1"},
        {"type": "touchpoint.gap.v1"},
        {"type": None},
        {"dataschema": "urn:touchpoint:schema:scan:1"},
        {"source": "urn:touchpoint:acme:zrh-1"},
        {"source": 'urn:touchpoint:acme:zrh-1:gw"1'},
        {"specversion": "0.3"},
        {"time": "2026-02-30T10:15:30.123Z"},
        {"time": "2026-11-21T10:15:30Z"},
        {"time": "2026-11-21T10:15:30.123+01:00"},
        {"subject": "tp1.2026Q4.nRyA2zwztCIaA58SJJcoUQ"},
        {"data": None},
        {"data": []},
        {"data": "{}"},
    ],
)
def test_an_envelope_that_contradicts_itself_is_refused(fields: dict[str, Any]) -> None:
    """Type, schema, id, sequence and data must belong together, and nothing stands beside them."""
    with pytest.raises(ValidationError):
        Event.model_validate_json(changed(EventType.TAP, **fields))


@pytest.mark.parametrize("dwell", [float("nan"), float("inf"), -0.5])
def test_a_dwell_that_json_cannot_say_is_refused(dwell: float) -> None:
    """JSON has no NaN and no infinity, and nobody stays for a negative time."""
    with pytest.raises(ValidationError):
        Disappeared(**dict(example.EVENTS[EventType.DISAPPEARED]) | {"dwell": dwell})


@given(st.text() | st.binary())
def test_parsing_never_crashes(text: str | bytes) -> None:
    """Whatever arrives where an event is expected ends as a validation error."""
    with pytest.raises(ValidationError):
        Event.model_validate_json(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))


def test_a_gap_is_the_same_for_the_same_arguments() -> None:
    """A row that becomes a gap again becomes the same bytes."""
    assert gap("withdrawn") == '{"reason":"withdrawn","through":null,"previous":null}'
    assert gap("evicted", through=9) == '{"reason":"evicted","through":9,"previous":null}'
    assert (
        gap("new-session", previous=Previous(session="s0", sequence=None))
        == '{"reason":"new-session","through":null,"previous":{"session":"s0","sequence":null}}'
    )


def test_only_a_new_session_names_the_one_before() -> None:
    """A withdrawn row has no previous session to name."""
    with pytest.raises(ValidationError, match="new-session"):
        gap("withdrawn", previous=Previous(session="s0", sequence=1))


def test_a_range_runs_forward() -> None:
    """A range holds both ends, is written with `from`, and does not end before it begins."""
    assert Range.between(7, 7).model_dump_json() == '{"from":7,"through":7}'
    with pytest.raises(ValidationError, match="before"):
        Range.between(8, 7)


def test_retention_orders_the_types() -> None:
    """When space runs out health goes first, then presence, then interactions; control events never."""
    by_class = {level: {kind for kind in EventType if retention(kind) is level} for level in Retention}
    assert list(by_class) == [Retention.HEALTH, Retention.PRESENCE, Retention.INTERACTION, Retention.CONTROL]
    assert by_class[Retention.HEALTH] == {EventType.BEACON_HEALTH}
    assert by_class[Retention.PRESENCE] == {EventType.APPEARED, EventType.DISAPPEARED}
    assert by_class[Retention.INTERACTION] == {EventType.TAP, EventType.SCAN, EventType.RESPONSE}
    assert EventType.GAP in by_class[Retention.CONTROL]


def test_a_draft_shows_neither_data_nor_handle() -> None:
    """A draft that lands in a log by accident says nothing of its subject."""
    draft = Draft(EventType.TAP, Moment(1, 2), '{"secret":1}', "h1.N4M2MrQXSlyjs7HtgAyDKQ", "personalisation")
    assert "secret" not in repr(draft)
    assert "h1." not in repr(draft)
