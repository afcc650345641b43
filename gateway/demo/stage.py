"""The play: sets the stage in a temporary directory, plays the day at the real gateway, and reports what came of it."""

import asyncio
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Protocol

from gateway.demo.boutique import REGISTRY, boutique
from gateway.demo.broker import broker
from gateway.demo.daemon import Daemon, daemon, numbers_of
from gateway.demo.day import Act, Step, day
from gateway.demo.devices import Device, devices, reading
from gateway.demo.evidence import Evidence
from gateway.demo.installation import install
from gateway.demo.line import Line, unchanged
from gateway.demo.report import Arrived, Numbers, Report
from gateway.demo.witness import Event, Witness, witness

LOOK_SECONDS = 0.25
"""How often the numbers on the screen are brought up to date."""
PATIENCE_SECONDS = 15.0
"""How long to wait at the end for what is under way; it takes a second when all is well and the machine is idle."""
POLL_SECONDS = 0.05
DEEPEST = 60
"""Characters of a directory in which the path of a socket still has room."""


class Show(Protocol):
    """Shows the day to whoever watches."""

    def opened(self, broker: str, seconds: float, seed: int) -> None:
        """Say that the gateway runs and the day begins."""

    def happened(self, step: Step) -> None:
        """Show something that a person in the store would see."""

    def counted(self, numbers: Numbers) -> None:
        """Show the gateway's numbers."""

    def arrived(self, arrived: Arrived, new: Sequence[Event]) -> None:
        """Show what has come to the centre."""


def room() -> str | None:
    """Return where the temporary directory may lie: in /tmp when the user's own is too deep for sockets (unix(7))."""
    return None if len(tempfile.gettempdir()) <= DEEPEST else "/tmp"  # noqa: S108  # a random directory in it


def nothing(directory: Path) -> None:
    """Leave the files as they are."""
    del directory


@dataclass(slots=True)
class Stage:
    """Everything that is set up, and what was done so far."""

    show: Show
    line: Line
    devices: dict[str, Device]
    daemon: Daemon
    witness: Witness
    evidence: Evidence
    shown: int = 0

    async def play(self, steps: list[Step], close: Callable[[], None]) -> None:
        """Play the day, close it, wait until the gateway has dealt with all of it, and show the numbers meanwhile.

        Nothing slow may come after the wait: time alone makes events, and what comes too late still waits at the end.
        """
        async with asyncio.TaskGroup() as tasks:
            looking = tasks.create_task(self._look())
            await self._act(steps)
            await asyncio.to_thread(close)
            await self._settled()
            looking.cancel()

    async def _act(self, steps: list[Step]) -> None:
        clock = asyncio.get_running_loop().time
        opened = clock()
        for step in steps:
            await asyncio.sleep(opened + step.at - clock())
            await self._do(step)

    async def _do(self, step: Step) -> None:
        if step.says is not None:
            self.show.happened(step)
        if step.sighting is not None:
            await self.devices[step.sighting.reader].send(reading(step.sighting, step.at))
            self.shown += 1
        match step.act:
            case Act.UNPLUG:
                await self.line.unplug()
            case Act.PLUG:
                self.line.plug()
            case Act.WITHDRAW:
                await self._withdraw(step.token)
            case None:
                pass

    async def _withdraw(self, token: str | None) -> None:
        """Look into the files first: they hold waiting events about somebody now."""
        await asyncio.to_thread(self.evidence.search_files)
        await self.daemon.ask({"ask": "consent-withdraw", "token": token})

    async def _settled(self) -> None:
        """Wait until all readings are counted, all events sent and all of those arrived, if that comes to pass."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not await self._is_settled():  # noqa: ASYNC110  # other processes' state
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError:
            return  # the report says what is missing

    async def _is_settled(self) -> bool:
        if await self.daemon.sightings() < self.shown:
            return False
        numbers = self.daemon.numbers()
        committed = numbers.sightings >= self.shown  # with the events that they make, which may have waited a second
        return committed and numbers.waiting == 0 and self.witness.arrived.received >= numbers.delivered

    async def _look(self) -> None:
        while True:
            self.show.counted(self.daemon.numbers())
            await asyncio.sleep(LOOK_SECONDS)


async def play(
    show: Show,
    seconds: float,
    seed: int,
    *,
    tamper: Callable[[bytes], bytes] = unchanged,
    intrude: Callable[[Path], None] = nothing,
) -> Report:
    """Play a day of so many seconds and report. Raises DemoError.

    `tamper` and `intrude` are for tests that prove that the report tells what is wrong: they spoil the line and the
    files of the gateway.
    """
    try:
        return await _play(show, seconds, seed, tamper, intrude)
    except ExceptionGroup as errors:
        raise _first(errors) from errors


def _first(error: Exception) -> Exception:
    return _first(error.exceptions[0]) if isinstance(error, ExceptionGroup) else error


async def _play(
    show: Show, seconds: float, seed: int, tamper: Callable[[bytes], bytes], intrude: Callable[[Path], None]
) -> Report:
    random = Random(seed)  # noqa: S311  # the same seed makes the same day; tokens of nobody
    shop = boutique(random)
    steps = day(shop, random, seconds)
    with tempfile.TemporaryDirectory(prefix="touchpoint-demo-", dir=room()) as name, devices(Path(name)) as plugged:
        directory = Path(name)
        async with (
            broker(directory) as running,
            Line(running.port, tamper) as line,
            witness(running.port, directory / "witness.log") as watching,
            asyncio.TaskGroup() as tasks,
        ):
            tasks.create_task(watching.follow(show.arrived))
            installation = install(directory, line.port, plugged)
            evidence = Evidence(directory, line, shop.secrets())
            evidence.prove([directory, installation.state])
            async with daemon(installation) as gateway:
                await gateway.open_store(REGISTRY, shop.consenting())
                stage = Stage(show, line, plugged, gateway, watching, evidence)
                show.opened(running.name, seconds, seed)

                def close() -> None:
                    intrude(installation.state)
                    evidence.search_files()

                await stage.play(steps, close)
            await asyncio.to_thread(evidence.search_all)
            watching.finish()
        return Report(
            seed=seed,
            seconds=seconds,
            broker=running.name,
            shown=stage.shown,
            numbers=numbers_of(installation),
            arrived=watching.arrived,
            found=sorted(evidence.found),
            search_proven=evidence.proven,
        )
