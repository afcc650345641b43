"""The way down: closed, bounded, and calm under hostile input."""

import json
from base64 import urlsafe_b64encode
from datetime import UTC, datetime, timedelta, timezone
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gateway.core import example
from gateway.core.contract import DOWN
from gateway.core.downlink import COMMAND, Replay, digest, unix_ms

ORDER = {
    "id": "cmd-1",
    "gateway": "gw-1",
    "counter": 1,
    "issued": "2026-11-21T10:15:30Z",
    "expires": "2026-11-21T11:20:30.5+01:00",
}
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


def sample(name: str) -> dict[str, Any]:
    """Return the example of a message as a dictionary."""
    return dict(json.loads(example.DOWN[name].model_dump_json()))


def parse(name: str, message: object) -> Any:  # noqa: ANN401  (of whichever model the name stands for)
    """Parse a message as the gateway does: from JSON."""
    return DOWN[name].validate_json(json.dumps(message))


@pytest.mark.parametrize("name", DOWN)
def test_the_example_survives_the_wire(name: str) -> None:
    """Each kind of message parses back to what was written."""
    assert parse(name, sample(name)) == example.DOWN[name]


@pytest.mark.parametrize("name", DOWN)
def test_an_extra_field_is_refused_without_echo(name: str) -> None:
    """No message carries a field that the contract does not know, and the error does not show its value."""
    with pytest.raises(ValidationError) as refusal:
        parse(name, sample(name) | {"mac": "C4:00:00:00:00:01"})
    assert "C4:00" not in str(refusal.value)


@pytest.mark.parametrize("name", DOWN)
@given(message=json_values)
def test_parsing_never_crashes(name: str, message: object) -> None:
    """Any JSON ends as a message or as a validation error."""
    with pytest.raises(ValidationError):
        parse(name, message)


@pytest.mark.parametrize("name", DOWN)
@given(field=st.integers(0, 30), value=json_values)
def test_any_value_in_any_field_is_taken_or_refused(name: str, field: int, value: object) -> None:
    """One field gone wild never does more than fail validation; what passes is written and read back the same."""
    message = sample(name)
    message[list(message)[field % len(message)]] = value
    try:
        parsed = parse(name, message)
    except ValidationError:
        return
    assert DOWN[name].validate_json(DOWN[name].dump_json(parsed)) == parsed


@pytest.mark.parametrize(
    "rest",
    [
        {"command": "sync-consent"},
        {"command": "replay", "session": "s1", "from": 3, "through": 9},
        {"command": "activate-epoch", "epoch": "2027Q1"},
        {"command": "identify", "reader": None, "seconds": 5},
        {"command": "identify", "seconds": 5},
        {"command": "report"},
        {"command": "set-log-level", "level": "debug"},
        {"command": "restart"},
    ],
)
def test_every_command_is_known(rest: dict[str, Any]) -> None:
    """The closed list of commands parses, each with its own arguments."""
    assert parse("command", ORDER | rest).command == rest["command"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"command": "run", "shell": "reboot"},
        {"command": "report", "counter": 0},
        {"command": "report", "counter": 2**53},
        {"command": "report", "counter": "1"},
        {"command": "report", "expires": "2026-11-21T10:15:30Z"},
        {"command": "report", "issued": 1795256130},
        {"command": "report", "issued": "1795256130"},
        {"command": "report", "issued": "2026-11-21T10:15:30"},
        {"command": "report", "issued": "2026-11-21 10:15Z"},
        {"command": "report", "gateway": "gw/1"},
        {"command": "identify", "seconds": 301},
        {"command": "set-log-level", "level": "DEBUG"},
        {"command": "activate-epoch", "epoch": "2027.Q1"},
        {"command": "replay", "session": "s1", "from": 9, "through": 3},
        {"command": "replay", "session": "s1", "first": 3, "through": 9},
    ],
)
def test_a_wrong_command_is_refused(wrong: dict[str, Any]) -> None:
    """An unknown command, a time without zone or a number out of bounds is refused."""
    with pytest.raises(ValidationError):
        parse("command", ORDER | wrong)


def test_replay_keeps_its_range() -> None:
    """`from` is a keyword in Python; the field is `first`."""
    command = COMMAND.validate_python(
        ORDER
        | {"command": "replay", "session": "s1", "from": 3, "through": 9}
        | {"issued": datetime(2026, 1, 1, tzinfo=UTC), "expires": datetime(2026, 1, 2, tzinfo=UTC)}
    )
    assert isinstance(command, Replay)
    assert (command.first, command.through) == (3, 9)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("receipt", {"through": -1}),
        ("receipt", {"through": 2**53}),
        ("consent-record", {"handles": []}),
        ("consent-record", {"handles": ["h1.N4M2MrQXSlyjs7HtgAyDKQ"] * 33}),
        ("consent-record", {"handles": ["https://id.acme.example/m/Zk3vX9c1QmS7tB0dLw2RfA"]}),
        ("consent-record", {"record_id": "a/b"}),
        ("consent-record", {"state": "withdrawn"}),
        ("consent-record", {"withdrawn_at": "2026-11-21T10:15:30Z"}),
        ("consent-record", {"language": "english language"}),
        ("consent-state", {"digest": "sha256"}),
        ("registry-entry", {"identifiers": ["x" * 100]}),
        ("registry-entry", {"identifiers": ["text:" + "x" * 2048]}),
        ("registry-entry", {"identifiers": ["text:a"] * 65}),
        ("registry-entry", {"kind": "robot"}),
        ("cue", {"media": "http://id.acme.example/x.jpg"}),
        ("cue", {"media": "https://user@evil.example/x.jpg"}),
        ("cue", {"media": "javascript:alert(1)"}),
        ("cue", {"expires": "2026-11-21T10:15:30Z"}),
        ("cue", {"body": "x" * 1025}),
    ],
)
def test_what_is_out_of_bounds_is_refused(name: str, wrong: dict[str, Any]) -> None:
    """Texts, numbers and lists are bounded, and states agree with their times."""
    with pytest.raises(ValidationError):
        parse(name, sample(name) | wrong)


def test_a_withdrawal_says_when() -> None:
    """A withdrawn record with its time is accepted."""
    withdrawal = {"state": "withdrawn", "withdrawn_at": "2026-11-22T00:00:00Z", "revision": 8}
    assert parse("consent-record", sample("consent-record") | withdrawal).state == "withdrawn"


@given(st.integers(0, 253_402_300_799_999), st.integers(-14 * 60, 14 * 60))
def test_instants_keep_their_millisecond_in_any_zone(time_ms: int, offset: int) -> None:
    """Unix milliseconds do not depend on the offset in which a time was written."""
    instant = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=time_ms)
    try:
        elsewhere = instant.astimezone(timezone(timedelta(minutes=offset)))
    except OverflowError:
        return
    assert unix_ms(elsewhere) == time_ms


def test_a_record_is_a_word_for_the_decision() -> None:
    """Its purposes as words, when its state began and when it ends."""
    record = parse("consent-record", sample("consent-record"))
    word = record.word()
    assert (word.record_id, word.revision, word.state) == (record.record_id, record.revision, record.state)
    assert word.purposes == {"personalisation"}
    assert (word.since_ms, word.expires_ms) == (unix_ms(record.granted_at), unix_ms(record.expires_at))
    open_ended = record.model_copy(update={"expires_at": None})
    assert open_ended.word().expires_ms is None


def test_a_withdrawal_that_names_no_purpose_is_of_all() -> None:
    """And a consent that names none is for none."""
    record = parse("consent-record", sample("consent-record") | {"purposes": []})
    assert record.word().purposes == frozenset()
    gone = record.model_copy(update={"state": "withdrawn", "withdrawn_at": record.granted_at})
    assert gone.word().purposes is None


def test_the_digest_of_a_set_is_as_the_contract_says() -> None:
    """SHA-256 over id, revision and state of every record, in order; each of them changes it."""
    entries = [("r1", 1, "given"), ("r2", 7, "withdrawn")]
    expected = sha256(b"r1\0" + b"1\0given\nr2\0" + b"7\0withdrawn\n").digest()
    assert digest(entries) == urlsafe_b64encode(expected).decode().rstrip("=")
    assert len({digest(entries), digest(entries[:1]), digest([("r1", 2, "given"), entries[1]]), digest([])}) == 4
