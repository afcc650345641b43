"""`touchpoint status`: whether all is well, on one screen."""

from typing import TYPE_CHECKING, Any

import typer

from gateway.cli.command import Config, Json, failures_explained, settings_from, show_json
from gateway.language import _

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.config import Settings
    from gateway.store.progress import Component


HELP = _("""Show readers, outbox, broker, keys and counters. Exit status 1 if anything is wrong.

The counters are durable, since the state directory was made: sightings = absorbed + acted on + dropped;
appended = delivered + withdrawn + evicted + waiting.""")


def status(config: Config = None, *, json: Json = False) -> None:
    """Show readers, outbox, broker, keys and counters. Exit status 1 if anything is wrong.

    The counters are durable, since the state directory was made: sightings = absorbed + acted on + dropped;
    appended = delivered + withdrawn + evicted + waiting.
    """
    settings = settings_from(config)
    with failures_explained():
        found = _found(settings)
    problems = _problems(found)
    if json:
        show_json({**found, "problems": problems})
    else:
        _print(settings, found, problems)
    if problems:
        raise typer.Exit(1)


def _found(settings: "Settings") -> dict[str, Any]:
    import asyncio
    from contextlib import closing

    from gateway.control import NobodyListensError, ask
    from gateway.keys import key_ring
    from gateway.store.backlog import Backlog
    from gateway.store.progress import Followed, components
    from gateway.store.said import tallies

    try:
        live = asyncio.run(ask(settings.gateway.sockets, {"ask": "status"}))
    except NobodyListensError:
        live = None
    with closing(Backlog(settings.gateway.state)) as backlog, closing(Followed(settings.gateway.state)) as followed:
        session, uplink = backlog.session(), followed.connection()
        progress = followed.progress(session or "")
        parts = components(uplink) if uplink else {}
        return {
            "running": live is not None,
            "session": session,
            "sequence": backlog.last(),
            "published": progress.published,
            "delivered": progress.delivered,
            "waiting": backlog.waiting(),
            "readers": live["readers"] if live else {},
            "broker": {"ok": parts["broker"].ok, "reason": parts["broker"].reason} if "broker" in parts else None,
            "clock": live["clock"] if live else None,
            "training": live["training"] if live else None,
            "key": live["key"] if live else key_ring(settings) is not None,
            "counters": backlog.tallies(),
            "refused": tallies(uplink) if uplink else {},
            "health": _wrong(parts) | backlog.condition() | (live["health"] if live else {}),
        }


def _wrong(parts: "Mapping[str, Component]") -> dict[str, str | None]:
    """Return what is wrong with the uplink half's components, the broker aside; None where nothing is."""
    return {name: None if part.ok else part.reason or "failed" for name, part in parts.items() if name != "broker"}


def _problems(found: dict[str, Any]) -> list[str]:
    from gateway.store.condition import is_of_reader

    problems = [] if found["running"] else ["the capture half is not running: touchpoint run"]
    down = {name: each for name, each in found["readers"].items() if not each["up"] and not each["lent"]}
    problems += [f"reader {name}: {each['reason']}" for name, each in down.items()]
    if found["broker"] is None:
        problems.append("the uplink half has not reported yet; is it running?")
    elif not found["broker"]["ok"]:
        problems.append(f"broker: {found['broker']['reason']}")
    said = {name: wrong for name, wrong in found["health"].items() if name != "keys" and not is_of_reader(name)}
    problems += [f"{name}: {wrong}" for name, wrong in said.items() if wrong]
    if not found["key"]:
        problems.append("no key is in force: no subject is named in any event; see touchpoint keys --help")
    elif found["health"].get("keys"):
        problems.append(f"keys: {found['health']['keys']}")
    if found["clock"] == "unsynced":
        problems.append("the clock is not synced: no subject is named until it is")
    return problems


def _print(settings: "Settings", found: dict[str, Any], problems: list[str]) -> None:
    gateway, counters = settings.gateway, found["counters"]
    dropped = {name.removeprefix("dropped:"): n for name, n in counters.items() if name.startswith("dropped:")}
    typer.echo(f"{gateway.tenant} / {gateway.site} / {gateway.id}   {'running' if found['running'] else 'not running'}")
    if found["training"]:
        from gateway.cli.training import lasting

        typer.echo(f"  {lasting(found['training'])}")
    for name, each in found["readers"].items():
        typer.echo(f"  reader {name}: {'up' if each['up'] else each['reason']}")
    typer.echo(f"  broker {settings.mqtt.host}:{settings.mqtt.port}: {_word(found['broker'])}")
    typer.echo(
        f"  sightings {counters.get('sightings', 0)} = absorbed {counters.get('absorbed', 0)}"
        f" + acted on {counters.get('acted_on', 0)} + dropped {sum(dropped.values())}"
        + (f" ({', '.join(f'{name} {n}' for name, n in dropped.items())})" if dropped else "")
    )
    gone = " + ".join(f"{name} {counters.get(name, 0)}" for name in ("delivered", "withdrawn", "evicted"))
    typer.echo(f"  events {counters.get('appended', 0)} = {gone} + waiting {found['waiting']}")
    for name, number in found["refused"].items():
        typer.echo(f"  refused from the centre: {name.removeprefix('down:')}: {number}")
    for problem in problems:
        typer.echo(f"! {problem}")


def _word(broker: dict[str, Any] | None) -> str:
    if broker is None:
        return "not known"
    return "connected" if broker["ok"] else str(broker["reason"])
