"""The questions of `touchpoint setup`: each answer is judged as it is given, and asked for again if it is of no use."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from gateway.cli.answers import Answers, must_be_usable
from gateway.cli.command import failures_explained
from gateway.language import _

if TYPE_CHECKING:
    from gateway.doctor.readers import Candidate

Judge = Callable[[Answers], object]
"""Says what is wrong and raises typer.Exit."""
BLANK = Answers(tenant="tenant", site="site", id="gw-1", host="localhost")
"""Stands for what was not asked yet."""


def interview(path: Path, *, served: bool) -> Answers:
    """Ask a person at the terminal, for a configuration that will lie at `path`."""
    from gateway.doctor.readers import candidates

    def judge(answers: Answers) -> None:
        with failures_explained():
            must_be_usable(path, answers, served=served)

    given = _asked(BLANK, judge, "tenant", _("Tenant: the brand, as in the topics"))
    given = _asked(given, judge, "site", _("Site: the store, as in the topics"))
    given = _asked(given, judge, "id", _("This gateway; unique within the tenant"), "gw-1")
    given = _asked(given, judge, "host", _("Broker: name or address"))
    authority = _("File of the authority that signed the broker's certificate; empty: unencrypted")
    given = _asked(given, judge, "ca", authority, "", of=_absolute)
    if given.ca:
        wanted = typer.confirm(_("Does the broker want a certificate of this gateway?"), default=True)
        given = replace(given, certificate=wanted)
    given = _asked(given, judge, "username", _("User name at the broker; empty: none"), "")
    if given.username:
        given = replace(given, password=typer.prompt(_("Password at the broker; it is not shown"), hide_input=True))
    given = _asked(given, judge, "time_zone", _("Time zone of the store"), "Europe/Zurich")
    given = _asked(given, judge, "ring", _("File of the site's key ring; empty: later"), "", of=_absolute)
    given = _asked(given, judge, "registry", _("File of touchpoints (CSV); empty: later"), "", of=_absolute)
    return _with_readers(given, judge, candidates())


def _asked(  # one question is all this
    given: Answers, judge: Judge, name: str, question: str, default: str | None = None, of: Callable[[str], str] = str
) -> Answers:
    """Ask until the answer can be used; return what is known then."""
    while True:
        answer: Any = of(typer.prompt(question, default=default))
        more = replace(given, **{name: answer})
        with suppress(typer.Exit):  # it has said what is wrong
            judge(more)
            return more


def _absolute(path: str) -> str:
    return path and str(Path(path).expanduser().resolve())


def _with_readers(given: Answers, judge: Judge, found: "Sequence[Candidate]") -> Answers:
    """Offer the readers that are there, by name, and ask where each stands."""
    if not found:
        typer.echo(_("No reader is plugged in; add [[reader]] tables to the configuration later."))
    for number, each in enumerate(found, 1):
        while typer.confirm(_("{label}: is it a reader of this store?").format(label=each.label), default=True):
            more = replace(given, readers=(*given.readers, _reader(each, number)))
            with suppress(typer.Exit):  # as above
                judge(more)
                given = more
                break
    return given


def _reader(each: "Candidate", number: int) -> dict[str, Any]:
    name = typer.prompt(_("Its name, in events and in touchpoint status"), default=f"{each.kind}-{number}")
    if each.kind == "ble":
        zone = typer.prompt(_("The zone that it covers"))
        return {"name": name, "kind": each.kind, "adapter": each.device, "zone": zone}
    touchpoint = typer.prompt(_("The touchpoint at which it stands"))
    return {"name": name, "kind": each.kind, "device": each.device, "touchpoint": touchpoint}
