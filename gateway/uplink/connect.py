"""Staying connected: connect, announce the birth, forward, and come back with full jitter when the line breaks.

The state topic is retained: birth says online with what is known, the Will (death) says offline, and a clean stop
says offline itself. Full jitter keeps hundreds of gateways from returning in step after a broker restart.
"""

import asyncio
import contextlib
import random
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field

from gateway.core.contract import Topics
from gateway.core.event import ComponentHealth, State, rfc3339
from gateway.core.order import RestartAskedError
from gateway.core.sighting import ClockQuality, Moment
from gateway.log import Message as JournalMessage
from gateway.log import log, told
from gateway.sentence import sentence
from gateway.store import said
from gateway.store.database import StoreError, is_corrupt
from gateway.store.progress import Component, components, report
from gateway.store.recovery import mark
from gateway.store.schema import CAPTURE
from gateway.together import first_failure
from gateway.uplink.downlink import Downlink
from gateway.uplink.forward import Forwarder
from gateway.uplink.mqtt import Broker, Connection, Message, MqttError, SubscribeRefusedError, connect

BACKOFF_SECONDS = 1.0
BACKOFF_SECONDS_MAX = 60.0
STABLE_SECONDS = 30.0
"""A connection that lasted so long was a good one: the next back-off starts small again."""
REPORT_SECONDS = 300.0
CHANGE_SECONDS = 5.0
"""How often to see whether a component fares otherwise."""
CONSENT_SECONDS = 30.0
"""So long events wait for a complete consent set after a connect."""
LOOK_SECONDS = 0.05
LISTEN_SECONDS = 1.0
BATCH = 16
"""So many messages are taken at a time: some milliseconds of signatures."""
GOODBYE_SECONDS = 0.5


@dataclass(slots=True)
class Uplink:
    """The uplink half at work. `run` ends only when its task is cancelled."""

    broker: Broker
    topics: Topics
    forwarder: Forwarder
    downlink: Downlink
    now: Callable[[], Moment]
    version: str
    dice: random.Random = field(default_factory=random.SystemRandom)
    capture_runs: Callable[[], bool] = lambda: True
    """Whether the other half runs."""
    connected: bool = False
    """Whether a broker takes what is published, at this moment."""

    async def run(self) -> None:
        """Connect and reconnect for ever."""
        failures = 0
        while True:
            started_ns, soon = self.now().boot_ns, True
            try:
                await self._stay_connected()
            except MqttError as error:
                soon = error.passes_soon
                self._report(ok=False, reason=str(error))
            except StoreError as error:
                self._report(ok=False, reason=str(error))
            except sqlite3.Error as error:
                if is_corrupt(error):
                    mark(self.forwarder.backlog.directory, CAPTURE.file)
                self._report(ok=False, reason=sentence("the store: {error}").format(error=error))
            lasted = (self.now().boot_ns - started_ns) / 1e9
            failures = 0 if lasted >= STABLE_SECONDS else failures + 1
            await asyncio.sleep(self._backoff(failures) if soon else self._backoff_for_people())

    def fares(self) -> str:
        """Say in a line how the broker fares, or why that cannot be read."""
        try:
            broker = self._components().get("broker")
        except StoreError as error:
            return str(error)
        return f"broker: {'not tried yet' if broker is None else broker.reason or 'connected'}"

    def _backoff(self, failures: int) -> float:
        """Full jitter: anything from nothing to a limit that doubles with each failure in a row."""
        return self.dice.uniform(0, min(BACKOFF_SECONDS_MAX, BACKOFF_SECONDS * 2.0 ** min(failures, 10)))

    def _backoff_for_people(self) -> float:
        """Wait for somebody to mend what only people can: half a limit to a whole one."""
        return self.dice.uniform(BACKOFF_SECONDS_MAX / 2, BACKOFF_SECONDS_MAX)

    async def _stay_connected(self) -> None:
        will = self._state(online=False)
        async with connect(self.broker, will) as connection:
            try:
                await first_failure(connection.lost(), self._listen(connection), self._speak(connection))
            except (asyncio.CancelledError, RestartAskedError):
                await self._say_goodbye(connection)
                raise
            finally:
                self.connected = False

    async def _speak(self, connection: Connection) -> None:
        """Subscribe, say who is there, and forward until one part of it fails.

        What comes down is taken all the while: of a broker whose messages nobody takes no answer is read either.
        """
        await self._subscribe(connection)
        await connection.publish(self._state(online=True))
        self._report(ok=True, reason=None)
        self.connected = True
        await first_failure(self._forward(connection), self._report_on(connection), self._fetch_again(connection))

    async def _subscribe(self, connection: Connection) -> None:
        """Subscribe to consents first; only receipts cannot be done without."""
        self.downlink.connected()
        for topic in self.downlink.subscriptions():
            await self._try_to_subscribe(connection, topic)
        if self.forwarder.delivery == "receipt":
            await connection.subscribe(self.topics.receipt)

    async def _try_to_subscribe(self, connection: Connection, topic: str) -> None:
        try:
            await connection.subscribe(topic)
        except SubscribeRefusedError as error:
            log.warning("%s: %s", topic, error)

    async def _forward(self, connection: Connection) -> None:
        """Forward once the consent set is complete; if that takes long, what names no customer need not wait."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CONSENT_SECONDS):
                while not self.downlink.consents.complete:  # noqa: ASYNC110  # it is a look at what the listener has written
                    await asyncio.sleep(LOOK_SECONDS)
        await self.forwarder.run(connection)

    async def _listen(self, connection: Connection) -> None:
        """Take what comes down, a few messages at a time, so that events and pings go on; write when it is quiet."""
        while True:
            messages = connection.waiting(BATCH)
            if messages:
                self.downlink.hear(messages)
            elif not self.downlink.write():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LISTEN_SECONDS):
                        self.downlink.hear([await connection.receive()])
            if self.downlink.orders.report_now:
                self.downlink.orders.report_now = False
                self.forwarder.resumed.set()
            await asyncio.sleep(0)

    async def _fetch_again(self, connection: Connection) -> None:
        """Subscribe to the consents once more when they must be fetched, and the clock can judge them."""
        while True:
            if self.downlink.consents.fetch and not self._is_unsynced():
                self.downlink.connected()
                await self._try_to_subscribe(connection, self.topics.consent_filter)
                await self._try_to_subscribe(connection, self.topics.consent_state)
            await asyncio.sleep(LISTEN_SECONDS)

    async def _report_on(self, connection: Connection) -> None:
        """Publish the state now and then, and as soon as the session is another one or a component fares otherwise."""
        clock = asyncio.get_running_loop().time
        said, due = self._health(online=True), clock() + REPORT_SECONDS
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(CHANGE_SECONDS, due - clock())):
                    await self.forwarder.resumed.wait()
            if clock() >= due or self.forwarder.resumed.is_set() or self._health(online=True) != said:
                self.forwarder.resumed.clear()
                said, due = self._health(online=True), clock() + REPORT_SECONDS
                await connection.publish(self._state(online=True))

    async def _say_goodbye(self, connection: Connection) -> None:
        """Say offline ourselves: after a clean DISCONNECT the broker does not publish the Will."""
        connection.hear_no_more()
        try:
            async with asyncio.timeout(GOODBYE_SECONDS):
                await connection.publish(self._state(online=False))
        except (MqttError, TimeoutError):
            return

    def _state(self, *, online: bool) -> Message:
        backlog = self.forwarder.backlog
        session = backlog.session()
        state = State(
            online=online,
            version=self.version,
            session=session,
            sequence=backlog.last() if session else None,
            at=rfc3339(self.now().wall_ms),
            health=self._health(online=online),
            counters={**backlog.tallies(), **said.tallies(self.forwarder.database)},
            audit_head=backlog.audit_head(),
        )
        return Message(self.topics.state, state.model_dump_json().encode(), "application/json", retain=True)

    def _health(self, *, online: bool) -> dict[str, ComponentHealth]:
        """Tell how every component of both halves fares."""
        health = {name: ComponentHealth(ok=part.ok, reason=part.reason) for name, part in self._components().items()}
        condition = self.forwarder.backlog.condition() | self.own_condition()
        health |= {name: ComponentHealth(ok=wrong is None, reason=wrong) for name, wrong in condition.items()}
        if online:  # whoever reads this has it from the broker: the last failure to reach it is over
            health["broker"] = ComponentHealth(ok=True, reason=None)
        return health

    def own_condition(self) -> dict[str, str | None]:
        """Tell what this half sees for itself: whether the other runs, and whether the clock can be believed."""
        return {
            "capture": None if self.capture_runs() else sentence("the capture half is not running: nothing is read"),
            "clock": sentence("it is not synced: no subject is named") if self._is_unsynced() else None,
        }

    def _is_unsynced(self) -> bool:
        return self.now().quality is ClockQuality.UNSYNCED

    def _components(self) -> dict[str, Component]:
        return components(self.forwarder.database)

    def _report(self, *, ok: bool, reason: str | None) -> None:
        """Write how the broker fares, and log it once for each change."""
        before = self._components().get("broker")
        if before is None or (before.ok, before.reason) != (ok, reason):
            if ok:
                log.info("broker: connected", extra=told(JournalMessage.BROKER_UP, "broker"))
            else:
                log.warning("broker: %s", reason, extra=told(JournalMessage.BROKER_DOWN, "broker"))
        report(self.forwarder.database, "broker", Component(ok, reason, self.now().wall_ms))
