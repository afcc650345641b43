"""`touchpoint` alone at a terminal: a menu for staff; elsewhere the help."""

import os
import pty
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from gateway.cli import menu
from gateway.cli.app import app


def played(answers: list[str], *, configured: bool = True) -> list[tuple[str, ...]]:
    """Answer the menu, then close the terminal; return which commands were run."""
    ran: list[tuple[str, ...]] = []

    def ask(_: str) -> str:
        if not answers:
            raise EOFError
        return answers.pop(0)

    def run(command: Sequence[str]) -> int:
        ran.append(tuple(command))
        return 0

    menu.menu(menu.choices(configured=configured), ask, run)
    return ran


def test_a_number_runs_its_command() -> None:
    """Each choice is a command; after it the menu comes again, and 0 leaves."""
    assert played(["1", "2", "0", "1"]) == [("status",), ("consent", "grant")]
    assert played(["1"], configured=False) == [("setup",)]


def test_what_a_command_needs_is_asked() -> None:
    """The answers are its arguments; an empty one leads back to the menu."""
    numbers = {choice.command: str(at) for at, choice in enumerate(menu.choices(configured=True), 1)}
    write, add = numbers["tags", "write"], numbers["touchpoints", "add"]
    assert played([write, " vitrine-3 ", write, "", "0"]) == [("tags", "write", "vitrine-3")]
    assert played([add, "vitrine-3", "Vitrine 3", "display"]) == [
        ("touchpoints", "add", "vitrine-3", "--name=Vitrine 3", "--kind=display")
    ]
    assert played([write]) == []


@given(st.lists(st.text(max_size=12), max_size=5))
def test_whatever_is_typed_the_menu_goes_on(answers: list[str]) -> None:
    """What is no number of the menu runs nothing; the end of input leaves."""
    numbers = {str(number) for number in range(1, 40)}
    typed = [answer.strip() for answer in answers]
    ran = played(list(answers))
    assert len(ran) <= sum(answer.lstrip("0") in numbers for answer in typed)


@pytest.mark.parametrize("configured", [True, False])
def test_every_choice_is_a_command(configured: bool) -> None:  # noqa: FBT001
    """What the menu names, the command line has."""
    for choice in menu.choices(configured=configured):
        command = typer.main.get_command(app)
        for word in choice.command:
            command = command.commands[word]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "arguments", [[], ["--lang", "de"], ["--lang=fr"], ["status"], ["--lang", "de", "status"], ["--help"]]
)
def test_only_a_person_gets_the_menu(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """With a command, or without a terminal, the command line is as it always was."""
    assert not menu.for_a_person(arguments)
    for stream in ("stdin", "stdout"):
        monkeypatch.setattr(getattr(sys, stream), "isatty", lambda: True)
    assert menu.for_a_person(arguments) == (not {"status", "--help"} & set(arguments))


def test_at_a_terminal_the_menu_comes(tmp_path: Path) -> None:
    """`touchpoint` on a terminal of a bare device offers to set it up; 0 leaves with status 0."""
    master, slave = pty.openpty()
    environment = {
        **os.environ,
        "TOUCHPOINT_CONFIG": str(tmp_path / "none.toml"),
        "LANGUAGE": "en",
        "LC_ALL": "C.UTF-8",
    }
    with subprocess.Popen(
        [sys.executable, "-m", "gateway"], stdin=slave, stdout=slave, stderr=slave, env=environment
    ) as running:
        os.close(slave)
        shown = b""
        while b"Number: " not in shown:
            shown += os.read(master, 1024)
        os.write(master, b"0\n")
        assert running.wait(30) == 0
    os.close(master)
    assert b"(touchpoint setup)" in shown
