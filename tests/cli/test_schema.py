"""`touchpoint schema` prints the contract."""

import json

import pytest
import typer
from typer.testing import CliRunner

from gateway.cli.schema import schema
from gateway.core.asyncapi import asyncapi
from gateway.core.contract import schemas

app = typer.Typer()
app.command()(schema)
runner = CliRunner()


def test_all_schemas_by_name() -> None:
    """Without arguments, one JSON object holds every schema."""
    result = runner.invoke(app)
    assert result.exit_code == 0
    assert json.loads(result.stdout) == schemas()


def test_one_schema() -> None:
    """With a name, that schema alone."""
    result = runner.invoke(app, ["tap-event"])
    assert json.loads(result.stdout) == schemas()["tap-event"]


def test_the_asyncapi_document() -> None:
    """With --asyncapi, the AsyncAPI document."""
    result = runner.invoke(app, ["--asyncapi"])
    assert json.loads(result.stdout) == asyncapi()


def test_the_names() -> None:
    """With --list, the names, one a line."""
    assert runner.invoke(app, ["--list"]).stdout.split() == list(schemas())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["tapp"], "did you mean tap"), (["zzz"], "--list"), (["tap", "--asyncapi"], "not several")],
)
def test_what_it_cannot_print_it_says(arguments: list[str], said: str) -> None:
    """An unknown name, or two requests in one, ends with status 2 and says what would be right."""
    result = runner.invoke(app, arguments, env={"COLUMNS": "200", "NO_COLOR": "1"})
    assert result.exit_code == 2
    assert said in result.stderr
    assert result.stdout == ""
