"""`touchpoint --help` and what is below it."""

import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from gateway.cli.app import app

ROOT = Path(__file__).parent.parent.parent


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:  # noqa: ANN401  # click's, by way of typer
    yield path, command
    for name, each in getattr(command, "commands", {}).items():
        yield from commands(each, (*path, name))


TREE = dict(commands(typer.main.get_command(app)))


@pytest.mark.parametrize("path", TREE, ids=" ".join)
def test_every_command_explains_itself(path: tuple[str, ...]) -> None:
    """`--help` of each command says what it does, and describes each option and argument."""
    shown = CliRunner().invoke(app, [*path, "--help"])
    assert shown.exit_code == 0
    assert TREE[path].help
    for parameter in TREE[path].params:
        if parameter.param_type_name == "option":
            assert parameter.help, f"{parameter.name} is not explained"


@pytest.mark.parametrize("path", TREE, ids=" ".join)
def test_no_help_is_cut(path: tuple[str, ...]) -> None:
    """The line that each command has in the list fits into a terminal of 80 columns."""
    shown = CliRunner().invoke(app, [*path, "--help"], terminal_width=80, color=False)
    _, _, listed = shown.output.partition("Commands:")
    assert "..." not in listed
    assert all(len(each.get_short_help_str(200)) < 50 for each in getattr(TREE[path], "commands", {}).values())


@pytest.mark.parametrize("path", [path for path in TREE if path], ids=" ".join)
def test_every_command_stands_in_the_readme(path: tuple[str, ...]) -> None:
    """The README's table of commands names each of them."""
    table = (ROOT / "README.md").read_text(encoding="utf-8").split("## Commands")[1]
    named = set(re.findall(r"[a-z]+", " ".join(re.findall(r"`([^`]+)`", table))))
    assert set(path) <= named


def test_the_version_is_that_of_the_distribution() -> None:
    """`--version` says it in a line, and does nothing else."""
    shown = CliRunner().invoke(app, ["--version", "status"])
    assert (shown.stdout, shown.exit_code) == (f"touchpoint {version('touchpoint-gateway')}\n", 0)


def test_help_is_shown_without_what_commands_need() -> None:
    """What takes long to import is imported by the commands that need it: completion asks at each key."""
    script = (
        "import sys; sys.argv[1:] = ['--help']; from gateway.__main__ import main\ntry: main()\nexcept SystemExit: pass"
    )
    heavy = (
        "asyncio pydantic sqlite3 cryptography paho bleak nfc serial reportlab rich.live gateway.config gateway.store"
    )
    ask = f"\nprint('imported', [name for name in {heavy.split()} if name in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", script + ask], capture_output=True, text=True, check=True)
    assert shown.stdout.splitlines()[-1] == "imported []"


def test_nothing_given_shows_the_help() -> None:
    """`touchpoint` alone lists the commands and ends with the status of a usage error."""
    shown = CliRunner().invoke(app, [])
    assert "Commands:" in shown.output
    assert shown.exit_code == 2


def test_an_unknown_command_is_named() -> None:
    """A mistyped command ends with status 2 and says which it was."""
    shown = CliRunner().invoke(app, ["statsu"])
    assert shown.exit_code == 2
    assert "statsu" in shown.output
