"""The gateway itself, as its users run it: `touchpoint run` in a process of its own, asked over its control socket."""

import asyncio
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from typing import Any

from gateway.control import Answer, NobodyListensError, RequestError, ask
from gateway.demo import DemoError
from gateway.demo.installation import Installation
from gateway.demo.report import Numbers, numbers
from gateway.sentence import sentence
from gateway.store.backlog import Backlog
from gateway.store.progress import Followed

START_SECONDS = 10.0
STOP_SECONDS = 5.0
POLL_SECONDS = 0.05


class GatewayError(DemoError):
    """The gateway did not do what it should; the text says what, with the end of its log."""


@dataclass(slots=True)
class Daemon:
    """A running gateway."""

    installation: Installation
    process: Process

    async def ask(self, request: Mapping[str, Any]) -> Answer:
        """Ask the gateway. Raises GatewayError."""
        try:
            return await ask(self.installation.state, request)
        except RequestError as error:
            raise GatewayError(
                sentence("the gateway refused {ask}: {error}").format(ask=request["ask"], error=error)
            ) from None
        except (NobodyListensError, OSError):
            raise GatewayError(sentence("the gateway is gone:\n{log}").format(log=self._log())) from None

    async def ready(self) -> None:
        """Wait until every reader is up. Raises GatewayError when the gateway ends or takes too long."""
        try:
            async with asyncio.timeout(START_SECONDS):
                while not await self._is_ready():  # noqa: ASYNC110  # another process's state
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError:
            raise GatewayError(
                sentence("the gateway was not ready within {seconds:.0f} s:\n{log}").format(
                    seconds=START_SECONDS, log=self._log()
                )
            ) from None

    async def _is_ready(self) -> bool:
        if self.process.returncode is not None:
            raise GatewayError(sentence("the gateway ended at once:\n{log}").format(log=self._log()))
        try:
            readers = (await ask(self.installation.state, {"ask": "status"}))["readers"]
        except (NobodyListensError, RequestError, OSError):
            return False
        return bool(readers) and all(reader["up"] for reader in readers.values())

    async def open_store(self, registry: str, consenting: Iterable[str]) -> None:
        """Do what staff do before the first customer comes. Raises GatewayError."""
        await self.ask({"ask": "registry-import", "csv": registry})
        for token in consenting:
            await self.ask({"ask": "consent-grant", "token": token})

    async def sightings(self) -> int:
        """Return how many sightings the gateway has counted. Raises GatewayError."""
        counts = (await self.ask({"ask": "status"}))["counts"]
        return int(counts.get("sightings", 0))

    def numbers(self) -> Numbers:
        """Read the durable counters."""
        return numbers_of(self.installation)

    async def stop(self) -> None:
        """Stop as systemd would. Raises GatewayError when it does not end by itself."""
        if self.process.returncode is None:
            self.process.terminate()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self.process.wait()
        except TimeoutError:
            self.process.kill()
            await self.process.wait()
            raise GatewayError(
                sentence("the gateway did not stop within {seconds:.0f} s:\n{log}").format(
                    seconds=STOP_SECONDS, log=self._log()
                )
            ) from None

    def _log(self) -> str:
        return "\n".join(self.installation.log.read_text(encoding="utf-8", errors="replace").splitlines()[-10:])


@asynccontextmanager
async def daemon(installation: Installation) -> AsyncIterator[Daemon]:
    """Run the gateway while the context is open. Raises GatewayError."""
    command = (sys.executable, "-m", "gateway", "run", "--config", str(installation.configuration))
    with installation.log.open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    running = Daemon(installation, process)
    try:
        await running.ready()
        yield running
    finally:
        await running.stop()


def numbers_of(installation: Installation) -> Numbers:
    """Read the durable counters from the files, whether the gateway runs or not."""
    with closing(Backlog(installation.state)) as backlog, closing(Followed(installation.state)) as followed:
        delivered = followed.progress(backlog.session() or "").delivered
        return numbers(backlog.tallies(), trimmable(backlog, delivered), backlog.waiting())


def trimmable(backlog: Backlog, delivered: int) -> int:
    """Count the rows that are delivered and only wait for the next commit to be trimmed."""
    connection = backlog.connection()
    if connection is None:
        return 0
    statement = "SELECT count(*) FROM outbox WHERE fate = 0 AND sequence <= ?"
    return int(connection.execute(statement, (delivered,)).fetchone()[0])
