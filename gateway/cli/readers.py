"""`touchpoint readers`: what the gateway reads with."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.command import Config, Json, asked, fail, failures_explained, say_where, settings_from, show_json
from gateway.language import _, said
from gateway.language.counted import called

if TYPE_CHECKING:
    from asyncio.subprocess import Process

    from gateway.config import ReaderSettings, Settings

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help=_("""The gateway's readers: scanners, NFC readers, Bluetooth adapters.

After plugging one in: touchpoint readers list, then touchpoint readers test NAME and hold a tag to it."""),
)

Name = Annotated[str, typer.Argument(metavar="NAME", help=_("The reader's name in the configuration."))]
GRACE_SECONDS = 3.0
"""So long a program may take to end when it is asked to."""


@app.command(
    "list",
    short_help=_("List the readers, and how they fare."),
    help=_("""List the readers: kind, device, where each stands, and whether it is up or lent to a command."""),
)
def list_(config: Config = None, *, json: Json = False) -> None:
    """List the readers: kind, device, where each stands, and whether it is up or lent to a command."""
    settings = settings_from(config)
    live = _live(settings)
    found = [_found(each, live) for each in settings.readers]
    if json:
        show_json(found)
        return
    for each in found:
        typer.echo(f"{each['name']:<20} {each['kind']:<10} {each['at'] or '-':<14} {_state(each)}  {each['device']}")
    if not found:
        fail(_("No [[reader]] is configured."), 0)


def _live(settings: "Settings") -> dict[str, Any] | None:
    """Return how the readers fare; None when the gateway does not run."""
    import asyncio

    from gateway.control import NobodyListensError, ask

    with failures_explained():
        try:
            answer = asyncio.run(ask(settings.gateway.sockets, {"ask": "status"}))
        except NobodyListensError:
            return None
    return dict(answer["readers"])


def _found(reader: "ReaderSettings", live: dict[str, Any] | None) -> dict[str, Any]:
    status = {} if live is None else live.get(reader.name, {})
    return {
        "name": reader.name,
        "kind": reader.kind,
        "device": reader.adapter if reader.kind == "ble" else reader.device,
        "at": reader.touchpoint or reader.zone,
        "running": live is not None,
        "up": status.get("up"),
        "reason": status.get("reason"),
        "lent": bool(status.get("lent")),
    }


def _state(reader: dict[str, Any]) -> str:
    if not reader["running"]:
        return _("the gateway is not running")
    if reader["up"] is None:
        return _("starting")
    return _("up") if reader["up"] else said(reader["reason"])


@app.command(
    "test",
    short_help=_("Say what a reader reads next."),
    help=_("""Wait until something is held to a reader, and say what it means: a touchpoint, a customer's token, or
nothing.

What identifies a customer is not shown, and no event is made of it. Works while the gateway runs, and without.
Exit status 1 if nothing was read. Ctrl-C ends it with nothing left behind."""),
)
def try_(
    name: Name,
    config: Config = None,
    *,
    seconds: Annotated[float, typer.Option(min=0.1, max=600, help=_("How long to wait for a tag or code."))] = 30.0,
    json: Json = False,
) -> None:
    """Wait until something is held to a reader, and say what it means."""
    from gateway.daemon.trying import try_reader

    settings = settings_from(config)
    request = {"ask": "reader-test", "reader": name, "seconds": seconds}
    answer = asked(lambda: try_reader(settings, request, say_where))
    if json:
        show_json(answer)
    else:
        typer.echo(_meant(answer))


def _meant(answer: dict[str, Any]) -> str:
    """Say what was read at a reader."""
    kinds = {
        "touchpoint": _("{reader} read touchpoint {touchpoint}: {name} ({by})."),
        "customer": _("{reader} read a customer's token ({by})."),
        "badge": _("{reader} read a badge of the staff ({by})."),
    }
    said = kinds.get(answer["means"]) or _unknown(answer)
    if answer["means"] == "touchpoint" and answer["answer"]:
        said = _("{reader} read touchpoint {touchpoint}: {name}, answer {answer} ({by}).")
    by = f"{answer['by']}, {called(answer['authenticity'])}" if answer["authenticity"] else answer["by"]
    return said.format(**{**answer, "by": by})


def _unknown(answer: dict[str, Any]) -> str:
    if answer["by"] is None:
        return _("{reader} read something that identifies nothing: an empty tag, or no text.")
    if answer["own_link"]:
        return _("{reader} read a link of your domain that belongs to no touchpoint ({by}).")
    return _("{reader} read something that the registry does not know ({by}).")


@app.command(
    short_help=_("Run a program with a reader's device."),
    context_settings={"ignore_unknown_options": True},
    help=_("""Run a program with the device of a reader, which the gateway leaves alone meanwhile and takes back
afterwards.

The program finds the device in $TOUCHPOINT_DEVICE. When the time is over it is ended. Exit status: the program's."""),
)
def lend(
    name: Name,
    program: Annotated[list[str], typer.Argument(metavar="PROGRAM...", help=_("The program and its arguments."))],
    config: Config = None,
    *,
    minutes: Annotated[float, typer.Option(min=0.01, max=480, help=_("So long at most."))] = 10.0,
) -> None:
    """Run a program with the device of a reader, which the gateway leaves alone meanwhile."""
    import asyncio

    settings = settings_from(config)
    with failures_explained():
        status = asyncio.run(_run(settings, name, program, minutes * 60))
    raise typer.Exit(status if status >= 0 else 128 - status)


async def _run(settings: "Settings", name: str, program: list[str], seconds: float) -> int:
    import asyncio
    import os

    from gateway.lending import lend as lend_device

    async with lend_device(settings, name, program[0], seconds) as lent:
        process = await asyncio.create_subprocess_exec(*program, env={**os.environ, "TOUCHPOINT_DEVICE": lent.device})
        try:
            return await process.wait()
        finally:
            await _end(process)


async def _end(process: "Process") -> None:
    """End a program that still runs: it is asked, and after a while it is killed."""
    import asyncio

    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(GRACE_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
