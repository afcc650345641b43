"""A capture half on a file of its own, in this process: sources that say what a test lets them say, a clock to set."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from gateway.capture import Capture
from gateway.clock import Clock
from gateway.core.event import Event
from gateway.core.sighting import Moment, Payload, Sighting
from gateway.sources.source import Source
from gateway.store.backlog import Backlog
from gateway.store.ballast import Ballast
from gateway.store.database import open_writer
from gateway.store.outbox import Outbox
from gateway.store.progress import Followed, Progress, record, refuse
from gateway.store.schema import UPLINK
from gateway.store.verify import Report, verify
from gateway.store.writer import Writer
from tests.core import salon
from tests.simulators.centre_keys import GATEWAY
from tests.store.conftest import opened

SECONDS = 10.0


class ClockToSet(Clock):
    """A trusted clock that can be set forward, as if time had passed."""

    def __init__(self) -> None:
        super().__init__("trusted")
        self.ahead_s = 0.0

    def now(self) -> Moment:
        """Return this instant, so much later."""
        now = super().now()
        later_ns = int(self.ahead_s * 1e9)
        return replace(now, boot_ns=now.boot_ns + later_ns, wall_ms=now.wall_ms + later_ns // 1_000_000)


class Voice(Source):
    """A reader that reads what it is told to; `asked` is called whenever the next sighting is asked for."""

    def __init__(self, capture: Capture, name: str, asked: Callable[[], None] = lambda: None) -> None:
        super().__init__(name, status=capture.show, dropped=capture.dropped)
        self._asked = asked
        self._words: asyncio.Queue[Payload] = asyncio.Queue()

    def say(self, *sightings: Sighting) -> None:
        """Have the reader read these."""
        for sighting in sightings:
            self._words.put_nowait(sighting.payload)

    async def __anext__(self) -> Sighting:
        """Return the next sighting."""
        self._asked()
        return await super().__anext__()

    async def _read(self) -> None:
        self._up()
        while True:
            await self._put(await self._words.get())


@dataclass
class Shop:
    """A capture half, what it stands on, and what another process would see of it."""

    directory: Path
    ledger: salon.FakeLedger = field(default_factory=salon.FakeLedger)
    clock: ClockToSet = field(default_factory=ClockToSet)
    rings: list[None] = field(default_factory=list)

    @asynccontextmanager
    async def open(self, open_outbox: Callable[[Path], Outbox] = opened) -> AsyncIterator[Capture]:
        """Open the half; no source runs."""
        async with Writer(lambda: open_outbox(self.directory)) as writer:
            with closing(Followed(self.directory)) as followed:
                self.capture = Capture(
                    salon.path(self.ledger),
                    writer,
                    self.clock,
                    followed,
                    asyncio.Event(),
                    lambda: self.rings.append(None),
                    Ballast(self.directory / "ballast", 4096),
                    GATEWAY,
                )
                yield self.capture

    @asynccontextmanager
    async def running(
        self, asked: Callable[[], None] = lambda: None, open_outbox: Callable[[Path], Outbox] = opened
    ) -> AsyncIterator[Mapping[str, Voice]]:
        """Run the half with a scanner, an NFC and a BLE reader, and stop it cleanly."""
        async with self.open(open_outbox) as capture:
            voices = {name: Voice(capture, name, asked) for name in ("scanner", "nfc", "salon")}
            working = asyncio.ensure_future(capture.run(list(voices.values())))
            try:
                yield voices
            finally:
                working.cancel()
                with suppress(asyncio.CancelledError):
                    await working

    def events(self) -> list[Event]:
        """Read the events that wait."""
        with closing(Backlog(self.directory)) as backlog:
            return [Event.model_validate_json(row.event) for row in backlog.rows(0, 100_000, 1 << 30)]

    def tallies(self) -> dict[str, int]:
        """Read the durable counters."""
        with closing(Backlog(self.directory)) as backlog:
            return backlog.tallies()

    def verified(self) -> Report:
        """Look the file through: nothing may be wrong with it."""
        with closing(Backlog(self.directory)) as backlog:
            report = verify(backlog)
        assert report.problems == []
        return report

    def uplink_says(self, published: int, delivered: int, *refused: int) -> None:
        """Write as the uplink half would."""
        with closing(open_writer(self.directory, UPLINK)) as database:
            record(database, "session-1", Progress(published, delivered))
            refuse(database, "session-1", refused, "withdrawn")


async def until(condition: Callable[[], bool]) -> None:
    """Wait until the condition holds."""
    async with asyncio.timeout(SECONDS):
        while not condition():  # noqa: ASYNC110  # conditions are of all kinds; no event stands for them
            await asyncio.sleep(0.005)
