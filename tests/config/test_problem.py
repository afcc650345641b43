"""Where in a TOML text something stands."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.problem import ConfigError, Place, Problem, line_of, lines_of

TEXT = """\
top.key = 1
# [comment]
[gateway]
id = "gw = 1"
  "site"   = "zrh"

[[reader]]
name = "a"
[[ reader ]]
name = "b"
kind = "nfc"
[consent.purposes]
tap = "x"
"""


@pytest.mark.parametrize(
    ("place", "line"),
    [
        (("top", "key"), 1),
        (("gateway",), 3),
        (("gateway", "id"), 4),
        (("gateway", "site"), 5),
        (("gateway", "tenant"), 3),
        (("reader", 0, "name"), 8),
        (("reader", 0, "kind"), 7),
        (("reader", 1, "kind"), 11),
        (("consent", "purposes", "tap"), 13),
        (("mqtt", "host"), None),
    ],
)
def test_lines(place: Place, line: int | None) -> None:
    """A key is on its line, one that is missing on that of its table."""
    assert line_of(lines_of(TEXT), place) == line


@given(st.text())
def test_any_text_has_lines(text: str) -> None:
    """Lines are found in whatever stands there, and lie within it."""
    assert all(1 <= line <= text.count("\n") + 1 for line in lines_of(text).values())


def test_problems_as_text() -> None:
    """A problem is one line: where, what, and what would be right."""
    whole, part = Problem("g.toml", None, "", "is empty"), Problem("g.toml", 14, "mqtt.prot", "unknown key", "try port")
    assert str(ConfigError([whole, part])) == "g.toml: is empty\ng.toml:14: mqtt.prot: unknown key; try port"
