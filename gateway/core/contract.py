"""The contract as machines read it: topics and JSON Schemas, derived from the models of `event` and `downlink`.

Data of an event of type `tap` is schema `tap`, `urn:touchpoint:schema:tap:1`, as its `dataschema` says; the event
around it is `tap-event`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from gateway.core.downlink import COMMAND, ConsentRecord, ConsentState, Cue, Receipt, RegistryEntry
from gateway.core.event import DATA, NAME, Event, EventType, State

DOWN: Mapping[str, TypeAdapter[Any]] = MappingProxyType(
    {
        "receipt": TypeAdapter(Receipt),
        "command": COMMAND,
        "consent-record": TypeAdapter(ConsentRecord),
        "consent-state": TypeAdapter(ConsentState),
        "registry-entry": TypeAdapter(RegistryEntry),
        "cue": TypeAdapter(Cue),
    }
)
"""The parser of every message on the way down."""


@dataclass(frozen=True, slots=True)
class Topics:
    """The topics of one gateway. Raises `ValueError` on a name that would leave its level."""

    tenant: str
    site: str
    gateway: str

    def __post_init__(self) -> None:
        for part in ("tenant", "site", "gateway"):
            if not re.fullmatch(NAME, getattr(self, part)):
                raise ValueError(f"{part}: 1 to 64 letters, digits, '.', '_' or '-', the first a letter or digit")

    @property
    def source(self) -> str:
        """The CloudEvents `source` of this gateway."""
        return f"urn:touchpoint:{self.tenant}:{self.site}:{self.gateway}"

    @property
    def event(self) -> str:
        """Up: events, one or a batch."""
        return f"{self._own}/event"

    @property
    def state(self) -> str:
        """Up, retained: birth and death."""
        return f"{self._own}/state"

    @property
    def receipt(self) -> str:
        """Down: what is stored centrally."""
        return f"{self._own}/receipt"

    @property
    def command(self) -> str:
        """Down: signed commands."""
        return f"{self._own}/command"

    @property
    def consent_filter(self) -> str:
        """Down, retained: signed consent records, one a topic."""
        return f"{self._site}/consent/+"

    @property
    def consent_state(self) -> str:
        """Down, retained: what the whole consent set comes to."""
        return f"{self._site}/consent-state"

    @property
    def registry_filter(self) -> str:
        """Down, retained: touchpoint definitions, one a topic."""
        return f"{self._site}/registry/+"

    @property
    def cue_filter(self) -> str:
        """Down: cues by touchpoint."""
        return f"{self._site}/cue/+"

    @property
    def _site(self) -> str:
        return f"touchpoint/v1/{self.tenant}/{self.site}"

    @property
    def _own(self) -> str:
        return f"{self._site}/{self.gateway}"


class _Dialect(GenerateJsonSchema):
    """JSON Schema 2020-12 and nothing beside it: no OpenAPI `discriminator`, no titles that repeat a field's name."""

    def field_title_should_be_set(self, schema: object) -> bool:  # noqa: ARG002  (the signature is pydantic's)
        return False

    def tagged_union_schema(self, schema: core_schema.TaggedUnionSchema) -> JsonSchemaValue:
        union = super().tagged_union_schema(schema)
        union.pop("discriminator")
        return union


def _schema(model: TypeAdapter[Any]) -> dict[str, Any]:
    return model.json_schema(schema_generator=_Dialect)


def _event_schema(kind: EventType) -> dict[str, Any]:
    """Return the schema of the envelope, narrowed to one type and its data."""
    data = _schema(TypeAdapter(DATA[kind]))
    envelope = _schema(TypeAdapter(Event))
    envelope["$defs"] = data.pop("$defs", {}) | {data["title"]: data}
    envelope["properties"] |= {
        "type": {"const": kind.wire, "type": "string"},
        "dataschema": {"const": kind.dataschema, "type": "string"},
        "data": {"$ref": f"#/$defs/{data['title']}"},
    }
    return envelope


def schemas() -> dict[str, dict[str, Any]]:
    """Every JSON Schema (2020-12) of the contract, each complete in itself, by name; `$id` is its URN."""
    bare = (
        {str(kind): _schema(TypeAdapter(model)) for kind, model in DATA.items()}
        | {f"{kind}-event": _event_schema(kind) for kind in EventType}
        | {"state": _schema(TypeAdapter(State))}
        | {name: _schema(model) for name, model in DOWN.items()}
    )
    return {
        name: {"$schema": _Dialect.schema_dialect, "$id": f"urn:touchpoint:schema:{name}:1"} | schema
        for name, schema in bare.items()
    }
