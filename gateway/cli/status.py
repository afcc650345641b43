"""`touchpoint status`: whether all is well, on one screen."""

import shutil
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.command import Config, Json, fail, failures_explained, settings_from, show_json
from gateway.cli.screen import Problem, screen
from gateway.language import _, said

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.config import Settings
    from gateway.store.progress import Component


WATCH_SECONDS = 1.0
WRONG_USE = 2
UNBOUNDED = 10_000
"""Columns and lines where there is no terminal."""

HELP = _("""Show how the gateway fares, on one screen. Exit status 1 if anything is wrong.

The counters are durable, since the state directory was made: sightings = absorbed + acted on + dropped;
appended = delivered + withdrawn + evicted + waiting.""")


Watch = Annotated[bool, typer.Option("--watch", help=_("Draw the screen anew every second, until Ctrl-C."))]


def status(config: Config = None, *, json: Json = False, watch: Watch = False) -> None:
    """Show how the gateway fares, on one screen. Exit status 1 if anything is wrong."""
    settings = settings_from(config)
    if watch:
        if json or not sys.stdout.isatty():
            fail(_("--watch draws on a terminal; ask again and again instead, with --json"), WRONG_USE)
        _watch(settings)
        return
    with failures_explained():
        found = _found(settings)
    problems = _problems(found)
    if json:
        show_json(
            {**found, "problems": [each.wrong for each in problems], "advice": [each.advice for each in problems]}
        )
    else:
        _print(settings, found, problems)
    if problems:
        raise typer.Exit(1)


def _watch(settings: "Settings") -> None:
    """Draw on the terminal's other screen; Ctrl-C and SIGTERM leave it, and everything is as it was."""
    import signal

    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    ending, console = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}, Console(highlight=False)
    signal.pthread_sigmask(signal.SIG_BLOCK, ending)  # waited for, so that none comes in the middle of anything
    with failures_explained(), Live(console=console, screen=True, auto_refresh=False) as live:
        ended = None
        while ended is None:
            found = _found(settings)
            lines = screen(found, _problems(found), settings.gateway.zone, console.width, console.height)
            live.update(Text("\n".join(lines), no_wrap=True), refresh=True)
            ended = signal.sigtimedwait(ending, WATCH_SECONDS)


def _found(settings: "Settings") -> dict[str, Any]:
    import asyncio
    from contextlib import closing

    from gateway.clock import Clock
    from gateway.control import NobodyListensError, ask
    from gateway.handover import not_ours
    from gateway.store.backlog import Backlog
    from gateway.store.database import is_held
    from gateway.store.progress import Followed, components
    from gateway.store.said import tallies

    sends = is_held(settings.gateway.state, "uplink")
    try:
        live = asyncio.run(ask(settings.gateway.sockets, {"ask": "status"}))
    except NobodyListensError:
        live = None
    with closing(Backlog(settings.gateway.state)) as backlog, closing(Followed(settings.gateway.state)) as followed:
        session, uplink = backlog.session(), followed.connection()
        progress = followed.progress(session or "")
        parts = components(uplink) if uplink else {}
        return {
            "gateway": f"{settings.gateway.tenant} / {settings.gateway.site} / {settings.gateway.id}",
            "running": live is not None,
            "kept_from_starting": [(each.wrong, each.hint or "") for each in not_ours(settings)],
            "now_ms": Clock().now().wall_ms,
            "session": session,
            "sequence": backlog.last(),
            "published": progress.published,
            "delivered": progress.delivered,
            "waiting": backlog.waiting(),
            "oldest_ms": backlog.oldest_ms(progress.delivered),
            "consents": {"here": backlog.consents(), "centre": _centre(followed.consent_set())},
            "zones": _zones(settings),
            "last": live["last"] if live else [],
            "address": f"{settings.mqtt.host}:{settings.mqtt.port}",
            "readers": live["readers"] if live else {},
            "uplink": sends,
            "broker": None if sends is False or "broker" not in parts else _broker(parts["broker"]),
            "clock": live["clock"] if live else None,
            "training": live["training"] if live else None,
            "key": live["key"] if live else _has_keys(settings),
            "counters": backlog.tallies(),
            "refused": tallies(uplink) if uplink else {},
            "health": _wrong(parts) | backlog.condition() | (live["health"] if live else {}),
        }


def _has_keys(settings: "Settings") -> bool:
    """Tell whether there is a key ring, as far as this user may look."""
    from gateway.keys import forbidden, key_ring

    return forbidden(settings.pseudonym.path) or key_ring(settings) is not None


def _broker(part: "Component") -> dict[str, Any]:
    return {"ok": part.ok, "reason": part.reason}


def _centre(stands: tuple[int, bool, int] | None) -> dict[str, Any] | None:
    """Return how the centre's consent set stands; None where the centre has not spoken."""
    return None if stands is None else dict(zip(("count", "confirmed", "at_ms"), stands, strict=True))


def _zones(settings: "Settings") -> dict[str, list[str]]:
    """Return the readers that cover each zone."""
    zones: dict[str, list[str]] = {}
    for reader in settings.readers:
        if reader.channel == "ble" and reader.zone is not None:
            zones.setdefault(reader.zone, []).append(reader.name)
    return zones


def _wrong(parts: "Mapping[str, Component]") -> dict[str, str | None]:
    """Return what is wrong with the uplink half's components, the broker aside; None where nothing is."""
    return {name: None if part.ok else part.reason or "failed" for name, part in parts.items() if name != "broker"}


def _problems(found: dict[str, Any]) -> list[Problem]:
    """Return what is wrong, the worst first, and what to do."""
    if kept := found["kept_from_starting"]:
        return [Problem(said(wrong), said(what_to_do)) for wrong, what_to_do in kept]
    return [*_of_capture(found), *_of_uplink(found), *_of_components(found), *_of_keys(found), *_of_clock(found)]


def _of_capture(found: dict[str, Any]) -> Iterator[Problem]:
    if not found["running"]:
        advice = _("start it: systemctl start touchpoint.target, or touchpoint run")
        yield Problem(_("the capture half is not running: nothing is read"), advice)
    advice = _("is it plugged in, has it power? then: touchpoint doctor")
    for name, each in found["readers"].items():
        if not each["up"] and not each["lent"]:
            yield Problem(_("reader {name}: {reason}").format(name=name, reason=said(each["reason"])), advice)


def _of_uplink(found: dict[str, Any]) -> Iterator[Problem]:
    if found["uplink"] is False:
        advice = _("start it: systemctl start touchpoint.target, or touchpoint run")
        yield Problem(_("the uplink half is not running: nothing is sent, and events wait"), advice)
    elif found["broker"] is None:
        yield Problem(_("the uplink half has not reported yet"), _("is it running? touchpoint doctor"))
    elif not found["broker"]["ok"]:
        advice = _("events wait on the disk meanwhile; look at the network, then: touchpoint doctor")
        yield Problem(_("broker: {reason}").format(reason=said(found["broker"]["reason"])), advice)


def _of_components(found: dict[str, Any]) -> Iterator[Problem]:
    from gateway.store.condition import is_of_reader

    for name, wrong in found["health"].items():
        if wrong and name != "keys" and not is_of_reader(name):
            yield Problem(f"{name}: {said(wrong)}", _advice(name))


def _of_keys(found: dict[str, Any]) -> Iterator[Problem]:
    if not found["key"]:
        wrong = _("no key is in force: no subject is named in any event")
        yield Problem(wrong, _("see touchpoint keys --help"))
    elif reason := found["health"].get("keys"):
        yield Problem(_("keys: {reason}").format(reason=said(str(reason))), _("see touchpoint keys --help"))


def _of_clock(found: dict[str, Any]) -> Iterator[Problem]:
    if found["clock"] == "unsynced":
        wrong = _("the clock is not synced: no subject is named until it is")
        yield Problem(wrong, _("does the network let NTP through? timedatectl shows it"))


def _advice(component: str) -> str:
    """Say what to do when something is wrong with a component."""
    match component:
        case "store":
            return _("free some space on the disk; a card that fails must be replaced")
        case "ledger" | "consent":
            return _("it comes by itself once the broker is reached and the centre sends it")
        case "signatures":
            return _("journalctl -t touchpoint-security; is there an [[issuer]] for the centre's key?")
        case _:
            return _("ask: touchpoint doctor")


def _print(settings: "Settings", found: dict[str, Any], problems: list[Problem]) -> None:
    """Print the screen; into a file or a pipe with all that a terminal has no room for."""
    width, height = shutil.get_terminal_size() if sys.stdout.isatty() else (UNBOUNDED, UNBOUNDED)
    typer.echo("\n".join(screen(found, problems, settings.gateway.zone, width, height)))
