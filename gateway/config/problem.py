"""What is wrong in a configuration file: where, what, and what would be right.

pydantic says which field is wrong; the line is found by scanning the TOML text for the table and the key, since no
parser of the standard library keeps positions.
"""

import difflib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, PydanticCustomError

from gateway.sentence import sentence

Place = tuple[str | int, ...]
"""Where in the document, as pydantic gives it: `("reader", 0, "kind")`."""

EXIT_CONFIG = 78
"""EX_CONFIG of sysexits.h."""

_HEADER = re.compile(r"\s*(\[\[?)([^\[\]]+)\]")
_OF_KEY = "[key]"
"""What pydantic adds to the place when the key of a mapping is wrong."""
_KEY = re.compile(r"\s*([A-Za-z0-9_.\"'\s-]+?)\s*=")
_SAID = {
    "missing": sentence("is missing"),
    "extra_forbidden": sentence("unknown key"),
    "model_type": sentence("must be a table"),
    "model_attributes_type": sentence("must be a table"),
    "tuple_type": sentence("must be tables, each begun with [[{key}]]"),
    "is_instance_of": sentence("must be a path in quotation marks"),
    "string_type": sentence("must be a valid string"),
    "int_type": sentence("must be a valid integer"),
    "float_type": sentence("must be a valid number"),
    "finite_number": sentence("must be a finite number"),
    "bool_type": sentence("must be a valid boolean"),
    "literal_error": sentence("must be {expected}"),
    "enum": sentence("must be {expected}"),
    "greater_than": sentence("must be greater than {gt}"),
    "greater_than_equal": sentence("must be greater than or equal to {ge}"),
    "less_than": sentence("must be less than {lt}"),
    "less_than_equal": sentence("must be less than or equal to {le}"),
    "string_pattern_mismatch": sentence("must match pattern '{pattern}'"),
    "string_too_short": sentence("must have at least {min_length} characters"),
    "string_too_long": sentence("must have at most {max_length} characters"),
}
"""What pydantic calls by names of Python, in words of TOML."""
_SECRETS = ("password", "passphrase", "secret")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong. No value of the file is in it."""

    file: str
    line: int | None
    key: str
    """`table.key`; empty when the file as a whole is meant."""
    wrong: str
    hint: str | None = None
    """What would be right."""

    def __str__(self) -> str:
        return self.told(str)

    def told(self, said: Callable[[str], str]) -> str:
        """Return it in a line, with its sentences as `said` says them."""
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        text = ": ".join(part for part in (place, self.key, said(self.wrong)) if part)
        return text if self.hint is None else f"{text}; {said(self.hint)}"


class ConfigError(Exception):
    """The configuration cannot be used; holds every problem that was found."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems

    def told(self, said: Callable[[str], str]) -> str:
        """Return every problem in a line, with its sentences as `said` says them."""
        return "\n".join(each.told(said) for each in self.problems)


def wrong(what: str, hint: str) -> PydanticCustomError:
    """Return the error that a validator raises when it can say what would be right."""
    return PydanticCustomError("configuration", "{what}", {"what": what, "hint": hint})


def problems(file: str, text: str, model: type[BaseModel], error: ValidationError) -> list[Problem]:
    """Return what pydantic found, by line."""
    lines = lines_of(text)
    found = [
        Problem(file, line_of(lines, each["loc"]), key_of(each["loc"]), _wrong(each), _hint(model, each))
        for each in error.errors(include_input=False, include_url=False)
        if each["type"] != "default_factory_not_called"  # follows from another
    ]
    return sorted(found, key=lambda problem: problem.line or 0)


def lines_of(text: str) -> Mapping[Place, int]:
    """Return the line, from 1, of each table and key of a TOML text."""
    lines: dict[Place, int] = {}
    for number, place in _places(text):
        lines.setdefault(place, number)
    return lines


def line_of(lines: Mapping[Place, int], place: Place) -> int | None:
    """Return the line of a place, or of the nearest table around it; None if the text has neither."""
    around = (place[:end] for end in range(len(place), 0, -1))
    return next((lines[outer] for outer in around if outer in lines), None)


def key_of(place: Place) -> str:
    """Return how people call a place: `reader.kind`, for the line says which reader."""
    return ".".join(part for part in place if isinstance(part, str) and part != _OF_KEY)


def _places(text: str) -> Iterator[tuple[int, Place]]:
    table: Place = ()
    entries: dict[Place, int] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if header := _HEADER.match(line):
            table = _names(header[2])
            if header[1] == "[[":
                entries[table] = entries.get(table, -1) + 1
                table = (*table, entries[table])
            yield number, table
        elif key := _KEY.match(line):
            yield number, (*table, *_names(key[1]))


def _names(dotted: str) -> Place:
    return tuple(part.strip(" \t\"'") for part in dotted.split("."))


def _wrong(error: ErrorDetails) -> str:
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    if error["type"] in _SAID:
        return _SAID[error["type"]].format(key=error["loc"][-1], **error.get("ctx", {}))
    return re.sub("^(Input|String|Value) should", "must", error["msg"])


def _hint(model: type[BaseModel], error: ErrorDetails) -> str | None:
    place = error["loc"]
    if error["type"] == "extra_forbidden":
        return _nearest(model, place)
    if "hint" in (context := error.get("ctx", {})):
        return str(context["hint"])
    field = field_at(model, place)
    example = next(iter((field and field.examples) or ()), None)
    if example is None:
        return None
    return sentence("for example {key} = {value}").format(key=place[-1], value=toml(example))


def _nearest(model: type[BaseModel], place: Place) -> str | None:
    """Say which key was meant: one of nearly this name in the table, or one of this name in another table."""
    *outer, key = place
    around = model_at(model, tuple(outer))
    if any(word in str(key).lower() for word in _SECRETS):
        return sentence(
            "secrets never stand in this file: name the file that holds the password with mqtt.password_file"
        )
    near = difflib.get_close_matches(str(key), names(around) if around else (), n=1)
    if near:
        return sentence("did you mean {key}?").format(key=key_of((*outer, near[0])))
    tables = [table for table, field in _fields(model).items() if (inner := inner_model(field)) and key in names(inner)]
    return sentence("it belongs in [{tables}]").format(tables=tables[0]) if tables else None


def names(model: type[BaseModel]) -> tuple[str, ...]:
    """Return the keys of a table."""
    return tuple(_fields(model))


def _fields(model: type[BaseModel]) -> Mapping[str, FieldInfo]:
    return {field.alias or name: field for name, field in model.model_fields.items()}


def field_at(model: type[BaseModel], place: Place) -> FieldInfo | None:
    """Return the field of a place."""
    *outer, key = key_of(place).split(".")
    around = model_at(model, tuple(outer))
    return _fields(around).get(key) if around else None


def model_at(model: type[BaseModel], place: Place) -> type[BaseModel] | None:
    """Return the model of the table at a place."""
    here: type[BaseModel] | None = model
    for name in (part for part in place if isinstance(part, str)):
        field = _fields(here).get(name) if here else None
        here = inner_model(field) if field else None
    return here


def inner_model(field: FieldInfo) -> type[BaseModel] | None:
    """Return the model of a field that is a table, or an array of tables."""
    candidates = (field.annotation, *get_args(field.annotation))
    return next((each for each in candidates if isinstance(each, type) and issubclass(each, BaseModel)), None)


def toml(value: object) -> str:
    """Write a value as TOML: a basic string is one of JSON."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml(inner)}" for key, inner in value.items()) + " }"
    if isinstance(value, tuple):
        return f"[{', '.join(map(toml, value))}]"
    text = json.dumps(value if isinstance(value, bool | int | float) else str(value), ensure_ascii=False)
    return text.replace("\x7f", "\\u007f")  # the one control character that JSON takes as it is, and TOML does not
