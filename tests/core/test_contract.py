"""Topics and JSON Schemas, tried with independent validators."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator, Draft202012Validator, FormatChecker, ValidationError

from gateway.core import example
from gateway.core.contract import DOWN, Topics, schemas
from gateway.core.event import EventType

SCHEMAS = schemas()
CLOUDEVENTS = json.loads((Path(__file__).parents[1] / "vectors" / "cloudevents.schema.json").read_text("utf-8"))


def validate(name: str, message: object) -> None:
    """Validate with the schema of this name, formats included; raises jsonschema's `ValidationError`."""
    checker = Draft202012Validator.FORMAT_CHECKER
    Draft202012Validator(SCHEMAS[name], format_checker=checker).validate(message)


def objects(schema: object) -> Iterator[dict[str, Any]]:
    """Yield every object schema within a schema."""
    if isinstance(schema, dict):
        if schema.get("type") == "object":
            yield schema
        for part in schema.values():
            yield from objects(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from objects(part)


def messages() -> dict[str, dict[str, Any]]:
    """Return one example by the name of its schema."""
    events = {f"{kind}-event": example.event(kind) for kind in EventType}
    data = {str(kind): example.event(kind)["data"] for kind in EventType}
    plain = {"state": example.STATE} | dict(example.DOWN)
    return events | data | {name: json.loads(model.model_dump_json()) for name, model in plain.items()}


MESSAGES = messages()


def test_every_schema_has_an_example_and_the_other_way_round() -> None:
    """Nothing in the contract is left without a message that was tried on it."""
    assert set(SCHEMAS) == set(MESSAGES)
    assert {"tap", "tap-event", "state", "receipt", "command", "cue", *DOWN} <= set(SCHEMAS)


def test_the_validators_check_formats() -> None:
    """The format checker really knows date-time; without its library it would let everything pass."""
    checker: FormatChecker = Draft202012Validator.FORMAT_CHECKER
    assert not checker.conforms("2026-13-01T00:00:00Z", "date-time")
    assert not Draft7Validator.FORMAT_CHECKER.conforms("no uri", "uri-reference")


@pytest.mark.parametrize("name", SCHEMAS)
def test_each_schema_is_a_2020_12_schema(name: str) -> None:
    """Every schema passes its meta-schema, names its dialect, and has the URN that events point at."""
    Draft202012Validator.check_schema(SCHEMAS[name])
    assert SCHEMAS[name]["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert SCHEMAS[name]["$id"] == f"urn:touchpoint:schema:{name}:1"


@pytest.mark.parametrize("name", SCHEMAS)
def test_each_schema_is_closed(name: str) -> None:
    """Every object is closed, or a map whose values have a schema."""
    found = list(objects(SCHEMAS[name]))
    assert found
    assert all(part["additionalProperties"] is False or "propertyNames" in part for part in found)


@pytest.mark.parametrize("name", SCHEMAS)
def test_each_example_is_valid(name: str) -> None:
    """What our models write, a validator that shares no code with them accepts."""
    validate(name, MESSAGES[name])


@pytest.mark.parametrize("name", SCHEMAS)
def test_an_injected_field_is_refused(name: str) -> None:
    """A MAC address in any message is refused by its schema."""
    with pytest.raises(ValidationError, match="mac"):
        validate(name, MESSAGES[name] | {"mac": "C4:00:00:00:00:01"})


@pytest.mark.parametrize("kind", EventType)
def test_a_field_injected_into_data_is_refused(kind: EventType) -> None:
    """The schema of the whole event reaches into its data."""
    event = MESSAGES[f"{kind}-event"]
    with pytest.raises(ValidationError, match="mac"):
        validate(f"{kind}-event", event | {"data": event["data"] | {"mac": "C4:00:00:00:00:01"}})


@pytest.mark.parametrize("kind", EventType)
def test_each_event_is_a_cloudevent(kind: EventType) -> None:
    """The official CloudEvents 1.0 schema accepts every type, and would refuse one without its id."""
    validator = Draft7Validator(CLOUDEVENTS, format_checker=Draft7Validator.FORMAT_CHECKER)
    event = MESSAGES[f"{kind}-event"]
    validator.validate(event)
    assert not validator.is_valid({name: value for name, value in event.items() if name != "id"})


@pytest.mark.parametrize("kind", EventType)
def test_an_event_of_another_type_is_refused(kind: EventType) -> None:
    """The schema of a type does not accept another type's event."""
    other = EventType.GAP if kind is not EventType.GAP else EventType.TAP
    with pytest.raises(ValidationError):
        validate(f"{kind}-event", MESSAGES[f"{other}-event"])


def test_a_wrong_time_is_refused() -> None:
    """Formats are checked, not only shapes: the 30th of February has the right shape."""
    with pytest.raises(ValidationError, match="date-time"):
        validate("tap-event", MESSAGES["tap-event"] | {"time": "2026-02-30T10:15:30.123Z"})


def test_schemas_are_the_same_every_time() -> None:
    """Generated documents can be compared byte for byte."""
    assert json.dumps(schemas()) == json.dumps(SCHEMAS)


def test_topics_are_those_of_the_contract() -> None:
    """Version 1 of the topic tree."""
    topics = Topics("acme", "zrh-1", "gw-1")
    assert topics.event == "touchpoint/v1/acme/zrh-1/gw-1/event"
    assert topics.state == "touchpoint/v1/acme/zrh-1/gw-1/state"
    assert topics.receipt == "touchpoint/v1/acme/zrh-1/gw-1/receipt"
    assert topics.command == "touchpoint/v1/acme/zrh-1/gw-1/command"
    assert topics.consent_filter == "touchpoint/v1/acme/zrh-1/consent/+"
    assert topics.consent_state == "touchpoint/v1/acme/zrh-1/consent-state"
    assert topics.registry_filter == "touchpoint/v1/acme/zrh-1/registry/+"
    assert topics.cue_filter == "touchpoint/v1/acme/zrh-1/cue/+"
    assert topics.source == "urn:touchpoint:acme:zrh-1:gw-1"


@pytest.mark.parametrize("name", ["", "a/b", "+", "#", "a\0", "a b", "-a", "a\n", "é", "a" * 65])
def test_a_name_that_would_leave_its_level_is_refused(name: str) -> None:
    """Separators, wildcards, NUL and anything outside the plain alphabet are refused, whichever name it is."""
    for part in ("tenant", "site", "gateway"):
        with pytest.raises(ValueError, match=part):
            Topics(**{"tenant": "acme", "site": "zrh-1", "gateway": "gw-1"} | {part: name})
