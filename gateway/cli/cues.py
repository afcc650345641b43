"""`touchpoint cues`: what the centre wants shown at the touchpoints, for whatever shows it."""

import os
import select
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.command import Config, Json, fail, failures_explained, settings_from
from gateway.language import _, said

if TYPE_CHECKING:
    from gateway.clock import Clock
    from gateway.core.downlink import Cue
    from gateway.store.cues import Cues

LOOK_MS = 250
"""How often to look for a new one."""


HELP = _("""Follow what to show at the touchpoints, one line a cue.

First what is in force, then each new one as it comes; a later one for the same touchpoint replaces the earlier, and
each says until when it holds. Only what an issuer of the configuration has signed for cues, and nothing expired.
Ends with Ctrl-C, or when nobody reads any more.""")


def cues(
    config: Config = None,
    *,
    touchpoint: Annotated[
        str | None, typer.Option("--touchpoint", metavar="ID", help=_("Only those for this touchpoint."))
    ] = None,
    json: Json = False,
) -> None:
    """Follow what to show at the touchpoints, one line a cue."""
    from contextlib import closing

    from gateway.clock import Clock
    from gateway.config import EXIT_CONFIG
    from gateway.core.jws import Use
    from gateway.daemon.trust import issuers
    from gateway.store.cues import Cues

    settings = settings_from(config)
    with failures_explained():
        known = issuers(settings)
    if not known.any_for(Use.CUE):
        fail(_("{file}: no [[issuer]] may sign cues, so none could be shown").format(file=settings.file), EXIT_CONFIG)
    try:
        with closing(Cues(settings.gateway.state, issuers=known)) as reader:
            _follow(reader, Clock(settings.clock.source), touchpoint, json=json)
    except KeyboardInterrupt:
        return
    except BrokenPipeError:
        _let_go_of_output()


def _follow(reader: "Cues", clock: "Clock", touchpoint: str | None, *, json: bool) -> None:
    """Print each new cue until nobody reads. Raises BrokenPipeError, KeyboardInterrupt."""
    from gateway.store.database import StoreError

    gone, told = _reader_of_output(), set[str]()
    while True:
        now, news = clock.now(), list["Cue"]()
        if now.quality == "unsynced":
            _say_once(told, _("the clock is not synced, so nobody knows what has expired: no cue is shown until it is"))
        try:
            news = reader.new(now, touchpoint)
        except StoreError as error:  # the uplink half mends its file
            _say_once(told, said(error))
        for reason in reader.refused:
            _say_once(told, _("a cue is not shown: {reason}").format(reason=said(reason)))
        for cue in news:
            sys.stdout.write((cue.model_dump_json() if json else _line(cue)) + "\n")
            sys.stdout.flush()
        if gone.poll(LOOK_MS):
            return


def _line(cue: "Cue") -> str:
    """Write a cue on one line, without anything that would move the cursor of a terminal."""
    from gateway.core.downlink import unix_ms
    from gateway.core.event import rfc3339

    parts = (
        cue.touchpoint,
        _("until {time}").format(time=rfc3339(unix_ms(cue.expires))),
        cue.title,
        cue.body,
        cue.media or "",
    )
    text = "  ".join(part for part in parts if part)
    return "".join(char if char.isprintable() else " " for char in text)


def _say_once(told: set[str], text: str) -> None:
    if text not in told:
        told.add(text)
        typer.echo(text, err=True)


def _reader_of_output() -> select.poll:
    """Return what tells that whoever read our output has gone (poll(2), POLLERR), and waits meanwhile."""
    gone = select.poll()
    gone.register(sys.stdout.fileno(), 0)
    return gone


def _let_go_of_output() -> None:
    """Keep the interpreter from trying to write the rest at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
