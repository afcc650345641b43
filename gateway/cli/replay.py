"""`touchpoint replay`: recorded sightings, through the same path."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.command import Config, Json, fail, failures_explained, settings_from, show_json
from gateway.language import _

if TYPE_CHECKING:
    from gateway.config import Settings


HELP = _("""Play recorded sightings through the same path as live ones, into a state directory of their own.

Readers, keys, touchpoints and consents are those of the configuration; its live outbox is never touched and
nothing is sent. The same recording from the same --start gives the same events, byte for byte.""")


def replay(  # noqa: PLR0913  # its options
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help=_("JSON lines, one sighting a line; see firmware-notes/recordings.md.")),
    ],
    config: Config = None,
    *,
    state: Annotated[
        Path | None,
        typer.Option("--state", metavar="DIR", help=_("Where the outbox is made; default: a new directory.")),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            "--start", metavar="TIME", help=_("When it began, for instance 2026-11-21T10:00:00Z; default: now.")
        ),
    ] = None,
    fast: Annotated[bool, typer.Option("--fast", help=_("As fast as it goes, instead of in real time."))] = False,
    events: Annotated[bool, typer.Option("--events", help=_("Print the events as JSON lines."))] = False,
    json: Json = False,
) -> None:
    """Play recorded sightings through the same path as live ones, into a state directory of their own."""
    from gateway.replay import Replay, at_once, real_time
    from gateway.store.backlog import Backlog

    settings = settings_from(config)
    with failures_explained():
        if not file.is_file():
            wrong = _("{file}: is no file") if file.exists() else _("{file}: no such file")
            fail(wrong.format(file=file), 2)
        begun = _start_ms(start)
        own = _own_state(settings, state)
        pace = (at_once, 500) if fast else (real_time(), 1)
        with _removed_on_failure(own, made_here=state is None):
            counts = Replay(settings, file, own, begun, *pace).run()
        backlog = Backlog(own)
    if events:
        from gateway.cli.outbox import every_event

        for event in every_event(backlog):
            typer.echo(event)
        return
    dropped = {name.removeprefix("dropped:"): n for name, n in counts.items() if name.startswith("dropped:")}
    denied = {name.removeprefix("denied:"): n for name, n in backlog.tallies().items() if name.startswith("denied:")}
    numbers = {name: counts[name] for name in ("sightings", "absorbed", "acted_on")}
    made = backlog.last()
    if json:
        show_json({**numbers, "dropped": dropped, "denied": denied, "appended": made, "state": str(own)})
        return
    played = _("{sightings} sightings: {acted_on} acted on, {absorbed} absorbed, {dropped} dropped")
    typer.echo(
        played.format(**numbers, dropped=sum(dropped.values()))
        + "".join(f", {n} {name}" for name, n in dropped.items())
    )
    if denied:
        reasons = ", ".join(f"{n} {reason}" for reason, n in denied.items())
        typer.echo(_("without a subject: {reasons}").format(reasons=reasons))
    typer.echo(
        _("{made} events in {state}; to see them: touchpoint outbox export --state {state}").format(
            made=made, state=own
        )
    )


def _own_state(settings: "Settings", state: Path | None) -> Path:
    """Return a directory that is not the live one."""
    if state is None:
        return Path(tempfile.mkdtemp(prefix="touchpoint-replay-"))
    if state.resolve() == settings.gateway.state.resolve():
        fail(_("{state} is the live state directory of this configuration; name another one").format(state=state), 2)
    state.mkdir(parents=True, exist_ok=True)
    return state


@contextmanager
def _removed_on_failure(state: Path, *, made_here: bool) -> Iterator[None]:
    """Leave no directory behind that was made for a replay that failed or was stopped."""
    try:
        yield
    except BaseException:
        if made_here:
            shutil.rmtree(state, ignore_errors=True)
        raise


def _start_ms(start: str | None) -> int:
    from gateway.clock import Clock

    if start is None:
        return Clock().now().wall_ms
    try:
        begun = datetime.fromisoformat(start)
    except ValueError:
        raise typer.BadParameter(_("not a date and time like 2026-11-21T10:00:00Z"), param_hint="--start") from None
    return int((begun if begun.tzinfo else begun.replace(tzinfo=UTC)).timestamp() * 1000)
