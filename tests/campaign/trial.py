"""One trial: a gateway under load, a fault at random moments, everything up again and drained, and what came of it.

    with Trial(prepared, plan, seed) as trial:
        trial.flow(0.5)                    # let customers scan, and watch
        trial.strike(lambda: ...)          # count what is at stake at this moment, then do it
        trial.drain()

One thread does it all, in turns: scan what is due, look into the files, wait five milliseconds.
"""

import contextlib
import shutil
import signal
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Self

from tests.campaign.centre import Centre
from tests.campaign.installation import HALVES, POINTS, Gateway, install
from tests.campaign.load import RATE, Load
from tests.campaign.slow_disk import compiled, environment, is_slow
from tests.campaign.witness import Witness
from tests.simulators.broker import Mosquitto

TURN_SECONDS = 0.005
START_SECONDS = 30.0
DRAIN_SECONDS = 150.0
"""Longer than the longest wait of the uplink that a trial can cause: a back-off of 60 s, a receipt awaited for 60 s."""
STILL_SECONDS = 0.5


@dataclass(frozen=True)
class Plan:
    """How a kind of trial is set up, and how often it strikes."""

    deliveries: tuple[str, ...] = ("receipt",)
    """By turns, from seed to seed."""
    strikes: int = 1
    consumer: tuple[str, ...] = ()
    slow: bool = False
    rate: float = RATE
    aimed: bool = False
    """Strike at the next moment at which accepted events are at stake, not at any: for short trials."""


@dataclass
class Exposure:
    """What was at stake when faults struck."""

    faults: int = 0
    hits: int = 0
    """Faults at which at least one accepted event was not stored by the consumer yet."""
    exposed: int = 0
    """Those events, all faults together."""
    in_hand: int = 0
    """Scans that the gateway had been given and had not accepted yet, all faults together: these it may lose."""


@dataclass
class Trial:
    """A gateway, a broker and a centre in a directory that is removed at the end."""

    prepared: Path
    plan: Plan
    seed: int
    exposure: Exposure = field(default_factory=Exposure)
    problems: list[str] = field(default_factory=list)

    def __enter__(self) -> Self:
        self.dice = Random(self.seed)  # noqa: S311  # for repeatable faults, not for secrets
        self.delivery = self.plan.deliveries[self.seed % len(self.plan.deliveries)]
        self.directory = Path(tempfile.mkdtemp(prefix="tp-"))
        install(self.prepared, self.directory / "gw")
        self.broker = Mosquitto(self.directory).__enter__()
        slow = environment(self._slow_sync) if self.plan.slow else {}
        self.gateway = Gateway(self.directory / "gw", self.broker.port, slow)
        self.gateway.configure(self.delivery)
        options = ("--seed", str(self.seed), *self.plan.consumer)
        receipts = ("--receipts",) if self.delivery == "receipt" else ()
        self.centre = Centre(self.directory, self.broker.port, (*options, *receipts))
        self.witness = Witness(self.gateway.state)
        self.load = Load(self.gateway.directory, self.dice, self.plan.rate).__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.gateway.stop()
        self.witness.look_away()
        self.load.__exit__()
        self.centre.kill()
        self.broker.__exit__()
        shutil.rmtree(self.directory)

    @property
    def _slow_sync(self) -> Path:
        return compiled(self.prepared.parent)

    def start(self) -> None:
        """Start everything and wait until events reach the centre."""
        self.centre.start()
        self.wait(self.centre.is_listening, "the consumer to subscribe")
        self.gateway.start(*HALVES)
        self.wait_for_flow()
        if self.plan.slow and not all(is_slow(each, self._slow_sync) for each in self.gateway.processes()):
            self.problems.append("the disk is not slow")

    def flow(self, seconds: float) -> None:
        """Let customers scan for a while."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self._turn()

    def wait(self, condition: Callable[[], object], what: str, seconds: float = START_SECONDS) -> bool:
        """Let customers scan until something holds; it is a problem when it never does."""
        deadline = time.monotonic() + seconds
        while not condition():
            self._turn()
            if time.monotonic() > deadline:
                self.problems.append(f"waited {seconds:g} s for {what}")
                return False
        return True

    def wait_for_flow(self, seconds: float = START_SECONDS) -> None:
        """Wait until new events are accepted, and new ones stored by the centre."""
        self.wait(self.gateway.capture_is_open, "capture to open its database", seconds)
        accepted, stored = self.witness.last, self.centre.through()
        self.wait(lambda: self.witness.last > accepted, "an event to be accepted", seconds)
        self.wait(lambda: self.centre.through() > stored, "an event to be stored by the centre", seconds)

    def _turn(self) -> None:
        self.load.tick()
        self._look()
        time.sleep(TURN_SECONDS)

    def _look(self) -> None:
        if self.gateway.capture_is_open():
            self.witness.look()

    def strike(self, fault: Callable[[], object]) -> None:
        """Count what is at stake, look away, and do it."""
        self._look()
        waiting = self._at_stake()
        while self.plan.aimed and not waiting:
            self._turn()
            waiting = self._at_stake()
        self.exposure.faults += 1
        self.exposure.hits += waiting > 0
        self.exposure.exposed += waiting
        self.exposure.in_hand += self._in_hand()
        self.witness.look_away()
        fault()

    def _at_stake(self) -> int:
        return max(0, self.witness.last - self.centre.through())

    def _in_hand(self) -> int:
        last = self.witness.accepted
        return sum((given - 1 - last.get(reader, -1)) % POINTS for reader, given in self.load.written.items() if given)

    def kill(self, *halves: str) -> None:
        """Kill halves and start them again, at once or a moment later."""
        self.problems += self.gateway.died()
        self.strike(lambda: self.gateway.kill(*halves))
        self.flow(self.dice.choice((0.0, self.dice.uniform(0, 0.5))))
        self.gateway.start(*halves)

    def broker_starts(self) -> bool:
        """Start the broker again; False while its port is somebody else's, as any free port can be for a moment."""
        with contextlib.suppress(OSError):
            self.broker.start()
        return self.broker.running

    def drain(self) -> None:
        """Let nobody scan any more, and wait until all that was accepted has arrived and is trimmed."""
        self.load.rate = 1e-9
        self.centre.signal(signal.SIGUSR1)
        self.wait(self.gateway.capture_is_open, "capture to open its database")
        self._wait_until_still()
        self.wait(self._drained, "the outbox to drain", DRAIN_SECONDS)

    def _wait_until_still(self) -> None:
        last = -1
        while self.witness.last != last:
            last = self.witness.last
            self.flow(STILL_SECONDS)

    def _drained(self) -> bool:
        return self.witness.waiting == 0 and self.centre.through() >= self.witness.last
