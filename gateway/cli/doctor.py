"""`touchpoint doctor`: everything that can be wrong, what it means, and the exact fix."""

import sys
from typing import TYPE_CHECKING, Any

import typer

from gateway.cli.command import Config, Json, show_json
from gateway.language import _, several

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.doctor import Finding

HELP = _("""Look at everything that can be wrong, and say what it means and how to put it right.

Configuration, clock, power, disk, permissions, devices, Bluetooth, keys, certificates, broker, time zone. Nothing is
changed. Works without root, and says then what could not be looked at. Exit status 1 if a person is needed.""")
COLOURS = {"wrong": "red", "note": "yellow", "unknown": "yellow", "fine": "green"}


def doctor(config: Config = None, *, json: Json = False) -> None:
    """Look at everything that can be wrong."""
    from gateway.doctor.finding import needs_a_person

    findings = examined(config)
    if json:
        show_json(as_json(findings))
    else:
        show(findings)
    if needs_a_person(findings):
        raise typer.Exit(1)


def examined(config: Config) -> "list[Finding]":
    """Gather the facts, saying on a terminal that it takes a moment, and judge them."""
    from gateway.config import find
    from gateway.doctor import gather, judge

    if sys.stderr.isatty():
        typer.echo(_("Looking at the machine and the broker; it can take some seconds."), err=True)
    return judge(gather(find(config)))


def as_json(findings: "Sequence[Finding]") -> dict[str, Any]:
    """Return the findings for scripts."""
    from dataclasses import asdict

    from gateway.doctor.finding import needs_a_person

    return {"ok": not needs_a_person(findings), "findings": [asdict(each) for each in findings]}


def show(findings: "Sequence[Finding]") -> None:
    """Print what is wrong first in full, in colour on a terminal, then what is fine in a line each."""
    from gateway.doctor.finding import Verdict

    words = {"wrong": _("wrong"), "note": _("note"), "unknown": _("unknown"), "fine": _("fine")}
    order = list(words)
    width = max(map(len, words.values()))
    for each in sorted(findings, key=lambda finding: order.index(finding.verdict)):
        typer.echo(f"{typer.style(f'{words[each.verdict]:<{width}}', COLOURS[each.verdict])}  {each.what}")
        if each.means:
            typer.echo(f"{'':<{width}}  {each.means}")
        if each.fix:
            typer.echo(f"{'':<{width}}  -> {each.fix}")
    number = sum(each.verdict is Verdict.WRONG for each in findings)
    if number:
        typer.echo(several("{count} thing needs a person.", "{count} things need a person.", number))
    else:
        typer.echo(_("Nothing needs a person."))
