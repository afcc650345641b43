"""`touchpoint` alone at a terminal: what staff do, by number.

Each choice is a command of its own, run as it would be typed, and named beside it: whoever uses the menu learns them.
"""

import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import typer

from gateway.language import _

LEAVE = "0"

Ask = Callable[[str], str]
Run = Callable[[Sequence[str]], int]


@dataclass(frozen=True, slots=True)
class Choice:
    """What can be chosen: in words, and the command that does it."""

    what: str
    command: tuple[str, ...]
    asks: tuple[tuple[str, str], ...] = ()
    """Questions, each with the option that its answer belongs to; empty for what stands without one."""


def choices(*, configured: bool) -> list[Choice]:
    """Return what can be done: on a device without a configuration that is little."""
    if not configured:
        return [
            Choice(_("Set this gateway up"), ("setup",)),
            Choice(_("Watch a boutique's day, without any device"), ("demo",)),
            Choice(_("See what is wrong with this device"), ("doctor",)),
        ]
    touchpoint = (_("Which touchpoint, by its id: "), "")
    return [
        Choice(_("See whether all is well"), ("status",)),
        Choice(_("A customer consents"), ("consent", "grant")),
        Choice(_("A customer takes consent back"), ("consent", "withdraw")),
        Choice(_("A customer wants to see what is held"), ("consent", "access")),
        Choice(_("A customer wants to be forgotten"), ("erase",)),
        Choice(_("See the readers"), ("readers", "list")),
        Choice(_("See the touchpoints"), ("touchpoints", "list")),
        Choice(_("See which touchpoints are used"), ("touchpoints", "report")),
        Choice(
            _("Add a display case or another touchpoint"),
            ("touchpoints", "add"),
            ((_("Its id, for example vitrine-3: "), ""), (_("Its name: "), "--name"), (_kinds(), "--kind")),
        ),
        Choice(_("Write the NFC tag of a touchpoint"), ("tags", "write"), (touchpoint,)),
        Choice(_("See what is on an NFC tag"), ("tags", "read")),
        Choice(_("Make the printed code of a touchpoint"), ("codes", "make"), (touchpoint,)),
        Choice(_("Make a beacon the store's"), ("beacons", "register"), (touchpoint,)),
        Choice(_("See which beacons need somebody"), ("beacons", "health")),
        Choice(_("Practise: mark what is tried out as a test"), ("training", "on")),
        Choice(_("See what is wrong, and how to put it right"), ("doctor",)),
        Choice(_("Make an archive for support"), ("diagnose",)),
    ]


def _kinds() -> str:
    from gateway.core.registry import KINDS

    return _("Its kind ({kinds}): ").format(kinds=", ".join(sorted(KINDS)))


def menu(offered: Sequence[Choice], ask: Ask, run: Run) -> None:
    """Offer the choices until the person leaves; what a command says and how it ends stays on the screen."""
    while True:
        typer.echo()
        for number, each in enumerate(offered, 1):
            typer.echo(f"{number:>3}  {each.what}  (touchpoint {' '.join(each.command)})")
        leave = _("Leave")
        typer.echo(f"{LEAVE:>3}  {leave}")
        try:
            answer = ask(_("Number: ")).strip()
        except (EOFError, KeyboardInterrupt):
            typer.echo()
            return
        if answer == LEAVE:
            return
        if answer.isascii() and answer.isdecimal() and 1 <= int(answer[:9]) <= len(offered):
            _do(offered[int(answer) - 1], ask, run)
        else:
            typer.echo(_("Type one of the numbers."))


def _do(choice: Choice, ask: Ask, run: Run) -> None:
    """Ask what the command needs, and run it; an empty answer, or the end of input, goes back to the menu."""
    given: list[str] = []
    for question, option in choice.asks:
        try:
            answer = ask(question).strip()
        except (EOFError, KeyboardInterrupt):
            answer = ""
        if not answer:
            typer.echo()
            return
        given += [f"{option}={answer}"] if option else ["--", answer] if answer.startswith("-") else [answer]
    run((*choice.command, *given))


def start() -> None:
    """Show the menu for the configuration of this device."""
    from gateway.config import find

    menu(choices(configured=find(None).exists()), input, run)


def run(command: Sequence[str]) -> int:
    """Run a command at this terminal, and return its exit status; Ctrl-C ends the command and not the menu."""
    with subprocess.Popen([sys.executable, "-m", "gateway", *command]) as running:  # noqa: S603  # our own command
        while True:
            try:
                return running.wait()
            except KeyboardInterrupt:
                continue  # the terminal has told the command too


def for_a_person(arguments: Sequence[str]) -> bool:
    """Tell whether nothing was asked for but perhaps a language, and somebody sits at the terminal."""
    words = list(arguments)
    if words[:1] == ["--lang"]:
        del words[:2]
    elif words and words[0].startswith("--lang="):
        del words[0]
    return not words and sys.stdin.isatty() and sys.stdout.isatty()
