"""The sample configuration, generated from the models: every key with its meaning, its default or an example."""

import textwrap
from collections.abc import Iterator

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from gateway.config.problem import inner_model, toml
from gateway.config.settings import Settings

_INTRODUCTION = """The configuration of a touchpoint gateway, with every key there is. Generated from the models in
gateway/config/settings.py: run `python -m gateway.config.sample > config/gateway.toml` after changing them.

A key after a bare # shows the default, or an example where there is none. Check yours with `touchpoint check`."""
_SHOWN = frozenset({"state", "ca", "keys", "domain", "device", "touchpoint", "prefix"})
"""Keys that one may leave out, and a store hardly will."""
_LEFT_OUT = frozenset({"badge", "issuer"})
"""Tables whose example must not be taken as it is: a badge is ignored, and whoever holds an issuer's key believed."""
_WIDTH = 116


def sample() -> str:
    """Return the sample configuration."""
    tables = [_table(name, field) for name, field in _keys(Settings)]
    return "\n".join([*_comment(_INTRODUCTION), *(line for table in tables for line in ("", *table)), ""])


def _keys(model: type[BaseModel]) -> list[tuple[str, FieldInfo]]:
    return [(field.alias or name, field) for name, field in model.model_fields.items()]


def _table(name: str, field: FieldInfo) -> Iterator[str]:
    model = inner_model(field)
    if model is None:
        raise TypeError(f"{name} is no table")
    yield from _comment(model.__doc__ or "")
    left_out = "#" if name in _LEFT_OUT else ""
    yield left_out + (f"[[{name}]]" if field.alias else f"[{name}]")
    for key, inner in _keys(model):
        yield from _comment(inner.description or "")
        yield _line(key, inner, left_out)


def _line(key: str, field: FieldInfo, left_out: str = "") -> str:
    """Write a key: as it stands, or commented out where nearly everyone leaves it at its default."""
    line = f"{key} = {toml(_example(field))}"
    return left_out + line if field.is_required() or key in _SHOWN else f"#{line}"


def _example(field: FieldInfo) -> object:
    if field.examples:
        return field.examples[0]
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is PydanticUndefined:
        raise TypeError("a field that must be given needs an example")
    return value


def _comment(text: str) -> Iterator[str]:
    for paragraph in text.split("\n\n"):
        yield from (f"# {line}" for line in textwrap.wrap(" ".join(paragraph.split()), _WIDTH))


if __name__ == "__main__":
    print(sample(), end="")  # noqa: T201  # what this file is run for
