"""The AsyncAPI document, tried with the official parser and its examples with our schemas."""

import base64
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator

from gateway.core.asyncapi import asyncapi
from gateway.core.contract import DOWN, Topics

DOCUMENT = asyncapi()
MESSAGES: dict[str, Any] = DOCUMENT["components"]["messages"]
PARSER = Path(__file__).parents[1] / "asyncapi"


def official(document: object) -> subprocess.CompletedProcess[str]:
    """Run AsyncAPI's own parser on a document."""
    if not (PARSER / "node_modules").is_dir():
        pytest.fail("AsyncAPI's parser is not installed: run `npm ci --ignore-scripts` in tests/asyncapi")
    return subprocess.run(
        ["node", "validate.mjs"], cwd=PARSER, input=json.dumps(document), capture_output=True, text=True, check=False
    )


def valid(schema: dict[str, Any], value: object) -> bool:
    """Whether a value fits a schema whose references point into the document."""
    resolvable = schema | {"components": DOCUMENT["components"]}
    return Draft7Validator(resolvable, format_checker=Draft7Validator.FORMAT_CHECKER).is_valid(value)


def test_the_official_parser_accepts_the_document() -> None:
    """AsyncAPI's own parser finds neither an error nor a warning."""
    result = official(DOCUMENT)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


@pytest.mark.parametrize(
    "broken",
    [
        DOCUMENT | {"operations": {"x": {"action": "shout", "channel": {"$ref": "#/channels/event"}}}},
        DOCUMENT | {"components": {"messages": MESSAGES}},
    ],
    ids=["unknown action", "schemas gone"],
)
def test_the_official_parser_would_refuse(broken: dict[str, Any]) -> None:
    """The check can fail: an unknown action or a reference into nothing is an error."""
    result = official(broken)
    assert result.returncode == 1
    assert "error" in result.stdout


def test_every_message_travels_in_a_channel() -> None:
    """No message is defined for nothing, and every channel names messages that exist."""
    travelling = {name for channel in DOCUMENT["channels"].values() for name in channel["messages"]}
    assert travelling == set(MESSAGES)
    assert set(DOWN) < travelling


@pytest.mark.parametrize("name", MESSAGES)
def test_every_example_fits_its_schema(name: str) -> None:
    """Each message has an example that its payload schema accepts; with an injected field it would not."""
    message = MESSAGES[name]
    (shown,) = message["examples"]
    assert valid(message["payload"], shown["payload"])
    assert not valid(message["payload"], {"mac": "C4:00:00:00:00:01"})


@pytest.mark.parametrize("name", ["command", "consent-record", "consent-state", "cue"])
def test_signed_messages_are_jws_around_their_claims(name: str) -> None:
    """What must be signed travels as application/jose, and the example's payload fits the schema of the claims."""
    message = MESSAGES[name]
    assert message["contentType"] == "application/jose"
    header, claims, _ = (base64.urlsafe_b64decode(part + "==") for part in message["examples"][0]["payload"].split("."))
    assert json.loads(header)["alg"] == "EdDSA"
    assert valid(message["x-claims"], json.loads(claims))
    assert not valid(message["x-claims"], json.loads(claims) | {"mac": "C4:00:00:00:00:01"})


def test_operations_carry_the_mqtt_promises() -> None:
    """Everything is QoS 1; only state, consent and registry are retained; only events and state go up."""
    bindings = {name: operation["bindings"]["mqtt"] for name, operation in DOCUMENT["operations"].items()}
    assert {binding["qos"] for binding in bindings.values()} == {1}
    retained = {name for name, binding in bindings.items() if binding["retain"]}
    assert retained == {"send-state", "receive-consent", "receive-consent-state", "receive-registry"}
    up = {name for name, operation in DOCUMENT["operations"].items() if operation["action"] == "send"}
    assert up == {"send-event", "send-state"}


def test_addresses_are_the_topics_of_the_gateway() -> None:
    """The document and the code that subscribes agree on every topic, and every parameter is described."""
    topics = Topics("acme", "zrh-1", "gw-1")
    names = {"tenant": "acme", "site": "zrh-1", "gateway": "gw-1", "record": "+", "touchpoint": "+"}
    addresses = {name: channel["address"].format(**names) for name, channel in DOCUMENT["channels"].items()}
    assert addresses == {
        "event": topics.event,
        "state": topics.state,
        "receipt": topics.receipt,
        "command": topics.command,
        "consent": topics.consent_filter,
        "consent-state": topics.consent_state,
        "registry": topics.registry_filter,
        "cue": topics.cue_filter,
    }
    for channel in DOCUMENT["channels"].values():
        assert all(f"{{{name}}}" in channel["address"] for name in channel["parameters"])
        assert channel["address"].count("{") == len(channel["parameters"])


def test_the_document_is_the_same_every_time() -> None:
    """The generated document can be compared byte for byte."""
    assert json.dumps(asyncapi()) == json.dumps(DOCUMENT)
