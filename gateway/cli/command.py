"""What the commands share: the options they all have, and how they fail.

Exit status: 0 done, 1 it failed or found something wrong, 2 the command line is wrong, 78 the configuration is wrong
(sysexits.h, EX_CONFIG; systemd does not start the service again on that).
"""

import json
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from gateway.language import _, said, speak

if TYPE_CHECKING:
    from gateway.config import Settings

FAILED = 1

Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help=_("The configuration; else $TOUCHPOINT_CONFIG, else /etc/touchpoint/gateway.toml."),
    ),
]
Yes = Annotated[bool, typer.Option("--yes", help=_("Ask nothing: for scripts."))]


def _for_scripts(json: bool) -> bool:  # noqa: FBT001 -- as Typer calls it
    """Speak English from now on where JSON is asked for: a script reads the same whatever the locale."""
    if json:
        speak("en")
    return json


Json = Annotated[bool, typer.Option("--json", is_eager=True, callback=_for_scripts, help=_("Print JSON, for scripts."))]


def fail(message: str, code: int = FAILED) -> NoReturn:
    """Say on standard error what is wrong, and end with this exit status."""
    typer.echo(message, err=True)
    raise typer.Exit(code)


def confirm(question: str, word: str, *, yes: bool) -> None:
    """Have a person type a word before what cannot be undone, unless they have said yes already; or end."""
    if yes:
        return
    typer.echo(question, err=True)
    typer.echo(_("Type {word} to go on: ").format(word=word), nl=False, err=True)
    if sys.stdin.readline().strip() != word:
        fail(_("That was not it; nothing was changed."))


def show_json(value: object) -> None:
    """Print a value as JSON."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def settings_from(option: Path | None) -> "Settings":
    """Load the configuration, or end with exit status 78 and every problem in it."""
    from gateway.config import EXIT_CONFIG, ConfigError, find, load

    try:
        return load(find(option))
    except ConfigError as error:
        fail(error.told(said), EXIT_CONFIG)


@contextmanager
def failures_explained() -> Iterator[None]:
    """Turn the errors that people can do something about into a message and an exit status."""
    import sqlite3

    from gateway.config import EXIT_CONFIG, ConfigError
    from gateway.control import RequestError
    from gateway.keys import KeyFileError
    from gateway.store.database import StoreError

    try:
        yield
    except ConfigError as error:
        fail(error.told(said), EXIT_CONFIG)
    except (RequestError, StoreError, KeyFileError) as error:
        fail(said(error))
    except sqlite3.Error as error:
        fail(
            _("the store cannot be read: {error}. The running gateway sets a damaged file aside by itself").format(
                error=said(error)
            )
        )
    except OSError as error:
        where = error.filename or _("the system")
        advice = (
            _("Run it as root (sudo), or as the user of the gateway.") if isinstance(error, PermissionError) else ""
        )
        fail(f"{where}: {said(error.strerror)}" + (advice and f". {advice}"))


def ask_gateway(settings: "Settings", request: dict[str, Any]) -> dict[str, Any]:
    """Ask the running gateway, or do it on its files when none runs; say at which reader to present a token."""
    from gateway.daemon.capture import ask_desk

    return asked(lambda: ask_desk(settings, request, say_where))


async def say_where(answer: dict[str, Any]) -> None:
    """Say what to do at which reader."""
    typer.echo(_spoken(answer), err=True)


def _spoken(answer: dict[str, Any]) -> str:
    if "try" in answer:
        return _("Hold a tag or code to {reader} now.").format(reader=answer["try"])
    if "again" in answer:
        again = _("That token was presented already; present another one at {reader}.")
        return again.format(reader=answer["again"])
    if answer.get("of", 1) > 1:
        which = _("Present token {number} of {of} at {reader} now.")
        return which.format(number=answer["number"], of=answer["of"], reader=answer["present"])
    return _("Present the token at {reader} now.").format(reader=answer["present"])


def asked(question: Callable[[], Coroutine[Any, Any, dict[str, Any]] | Awaitable[dict[str, Any]]]) -> dict[str, Any]:
    """Run a question to the gateway and explain what went wrong, if anything did."""
    import asyncio

    async def answer() -> dict[str, Any]:
        return await question()

    with failures_explained():
        return asyncio.run(answer())
