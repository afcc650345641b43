"""`touchpoint demo`: see it work, without any device."""

import signal
from collections.abc import Coroutine
from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from gateway.cli.command import FAILED, Json, fail, show_json
from gateway.language import _, said

if TYPE_CHECKING:
    from gateway.demo.report import Report

T = TypeVar("T")
INTERRUPTED = 130
"""As shells report a program that Ctrl-C ended."""
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


HELP = _("""Watch a boutique's day in 20 seconds: what is read, what is forwarded, and what is not.

A simulated boutique, the real gateway, a real broker on this machine, and a separate program that counts what
arrives. Ends with a summary; exit status 1 if anything in it does not add up. Nothing is left behind.""")


def demo(
    seconds: Annotated[float, typer.Option(min=5, max=600, help=_("How long the day lasts."))] = 20,
    seed: Annotated[
        int | None, typer.Option(help=_("The same number makes the same day."), show_default="random")
    ] = None,
    *,
    json: Json = False,
) -> None:
    """Watch a boutique's day in 20 seconds: what is read, what is forwarded, and what is not."""
    from random import randrange

    chosen = randrange(10_000) if seed is None else seed  # noqa: S311  # a day to watch, not a secret
    report = _played(seconds, chosen, json=json)
    if json:
        show_json(report.as_json())
    else:
        _conclude(report)
    if report.problems():
        raise typer.Exit(FAILED)


def _played(seconds: float, seed: int, *, json: bool) -> "Report":
    import asyncio

    from gateway.demo import DemoError
    from gateway.demo.show import Silent, screen
    from gateway.demo.stage import play

    try:
        with nullcontext(Silent()) if json else screen() as show:
            return asyncio.run(_until_interrupted(play(show, seconds, seed)))
    except DemoError as error:
        fail(said(error))
    except asyncio.CancelledError:
        raise typer.Exit(INTERRUPTED) from None


async def _until_interrupted(work: Coroutine[Any, Any, T]) -> T:
    """Do the work, or put everything away at the first Ctrl-C; a second one is not needed and changes nothing."""
    import asyncio

    loop, working = asyncio.get_running_loop(), asyncio.ensure_future(work)

    def stop() -> None:
        for number in SIGNALS:
            loop.add_signal_handler(number, lambda: None)
        working.cancel()

    for number in SIGNALS:
        loop.add_signal_handler(number, stop)
    return await working


def _conclude(report: "Report") -> None:
    from rich.console import Console

    from gateway.demo.show import summary, verdict

    console = Console(highlight=False)
    console.print(summary(report))
    console.print(verdict(report))
