"""`touchpoint training`, as staff type it."""

import json

import pytest
from typer.testing import CliRunner, Result

from gateway.cli.app import app
from tests.cli.test_touchpoints import home

__all__ = ["home"]


def typed(*words: str) -> Result:
    return CliRunner().invoke(app, ("training", *words))


@pytest.mark.usefixtures("home")
def test_a_training_is_begun_told_and_ended() -> None:
    """In a sentence, and as JSON for scripts; it stays while no gateway runs."""
    assert typed("status").stdout == "No training: what is tapped counts.\n"
    assert "marked as tests for 60 minutes more" in typed("on").stdout
    assert "marked as tests for 1 minute more" in typed("on", "--minutes", "1").stdout
    said = json.loads(typed("status", "--json").stdout)
    assert said["training"] is True
    assert 0 < said["seconds"] <= 60
    assert typed("off").stdout == "No training: what is tapped counts.\n"
    assert json.loads(typed("status", "--json").stdout) == {"training": False, "seconds": 0}


@pytest.mark.usefixtures("home")
def test_nobody_trains_for_longer_than_an_hour() -> None:
    """The command line says so."""
    result = typed("on", "--minutes", "61")
    assert result.exit_code == 2
    assert "60" in result.stderr
