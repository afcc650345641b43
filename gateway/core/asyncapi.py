"""The AsyncAPI 3.0.0 document: channels, operations and messages, with the schemas of `contract` and one example each.

AsyncAPI reads schemas in a superset of JSON Schema draft-07, in which everything our schemas say means the same; only
their definitions move, from each schema's own `$defs` to the document's components.
"""

import json
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from gateway.core import example
from gateway.core.contract import schemas
from gateway.core.event import EventType, Jws

Json = dict[str, Any]

EVENT = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
JOSE = "application/jose"
PLAIN = "application/json"
_MQTT = "0.2.0"
"""Version of the MQTT bindings for operations and messages."""
_PARAMETERS = {
    "tenant": "The brand.",
    "site": "The boutique.",
    "gateway": "The gateway, unique within the tenant.",
    "record": "The id of a consent record.",
    "touchpoint": "The id of a touchpoint.",
}


@dataclass(frozen=True, slots=True)
class _Channel:
    address: str
    about: str
    messages: tuple[str, ...]
    retain: bool = False
    up: bool = False

    def document(self) -> Json:
        return {
            "address": self.address,
            "description": self.about,
            "parameters": {
                name: {"description": about} for name, about in _PARAMETERS.items() if f"{{{name}}}" in self.address
            },
            "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in self.messages},
        }

    def operation(self, name: str) -> Json:
        return {
            "action": "send" if self.up else "receive",
            "channel": {"$ref": f"#/channels/{name}"},
            "messages": [{"$ref": f"#/channels/{name}/messages/{message}"} for message in self.messages],
            "bindings": {"mqtt": {"qos": 1, "retain": self.retain, "bindingVersion": _MQTT}},
        }


_SITE = "touchpoint/v1/{tenant}/{site}"
_OWN = f"{_SITE}/{{gateway}}"
_CHANNELS = {
    "event": _Channel(
        f"{_OWN}/event",
        "Events, one alone or several in a batch.",
        (*(f"{k}-event" for k in EventType), "batch"),
        up=True,
    ),
    "state": _Channel(f"{_OWN}/state", "Birth and death; also the Will.", ("state",), retain=True, up=True),
    "receipt": _Channel(f"{_OWN}/receipt", "What is stored centrally.", ("receipt",)),
    "command": _Channel(f"{_OWN}/command", "Signed commands, a closed list.", ("command",)),
    "consent": _Channel(
        f"{_SITE}/consent/{{record}}",
        "Signed consent records. A withdrawal is a record too, never an empty payload.",
        ("consent-record",),
        retain=True,
    ),
    "consent-state": _Channel(
        f"{_SITE}/consent-state", "What the whole consent set comes to.", ("consent-state",), retain=True
    ),
    "registry": _Channel(
        f"{_SITE}/registry/{{touchpoint}}",
        "Touchpoint definitions. An empty payload removes the touchpoint.",
        ("registry-entry",),
        retain=True,
    ),
    "cue": _Channel(f"{_SITE}/cue/{{touchpoint}}", "What to show or do at a touchpoint now.", ("cue",)),
}
_SIGNED = ("command", "consent-record", "consent-state", "cue")


def asyncapi() -> Json:
    """Return the whole document, the same on every call."""
    return {
        "asyncapi": "3.0.0",
        "id": "urn:touchpoint:v1",
        "info": {
            "title": "Touchpoint gateway",
            "version": "1.0.0",
            "description": "Consented, pseudonymized touchpoint events from boutiques, and what comes back to them.",
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": PLAIN,
        "channels": {name: channel.document() for name, channel in _CHANNELS.items()},
        "operations": {
            f"{'send' if channel.up else 'receive'}-{name}": channel.operation(name)
            for name, channel in _CHANNELS.items()
        },
        "components": {"messages": _messages(), "schemas": _components()},
    }


def _messages() -> Json:
    events = {
        f"{kind}-event": _message(f"{kind}-event", EVENT, _ref(f"{kind}-event"), example.event(kind))
        for kind in EventType
    }
    batch: Json = {"type": "array", "minItems": 2, "items": {"oneOf": [_ref(name) for name in events]}}
    state = example.STATE.model_dump(mode="json")
    return (
        events
        | {"batch": _message("batch", BATCH, batch, [example.event(EventType.TAP), example.event(EventType.GAP)])}
        | {"state": _message("state", PLAIN, _ref("state"), state)}
        | {name: _down(name) for name in example.DOWN}
    )


def _down(name: str) -> Json:
    claims = example.DOWN[name]
    if name not in _SIGNED:
        return _message(name, PLAIN, _ref(name), claims.model_dump(mode="json", by_alias=True))
    about = "JWS in compact serialisation, EdDSA; `x-claims` is the schema of its payload. Example unsigned."
    return _message(name, JOSE, TypeAdapter(Jws).json_schema(), example.jws(claims)) | {
        "description": about,
        "x-claims": _ref(name),
    }


def _message(name: str, content_type: str, payload: Json, sample: object) -> Json:
    return {
        "name": name,
        "contentType": content_type,
        "payload": payload,
        "bindings": {"mqtt": {"payloadFormatIndicator": 1, "contentType": content_type, "bindingVersion": _MQTT}},
        "examples": [{"name": name, "payload": sample}],
    }


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _components() -> Json:
    """Return every schema as a component, definitions beside the schemas that use them."""
    components: Json = {}
    for name, schema in schemas().items():
        moved = json.loads(json.dumps(schema).replace('"#/$defs/', '"#/components/schemas/'))
        components |= moved.pop("$defs", {})
        components[name] = {key: value for key, value in moved.items() if not key.startswith("$")}
    return components
