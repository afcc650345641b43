"""The kinds of trial: what goes wrong, how often, and when.

Each is a function of a running trial, which strikes at random moments of the trial's own dice.
"""

import json
import signal
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

from paho.mqtt import publish
from paho.mqtt.enums import MQTTProtocolVersion

from tests.campaign.installation import HALVES
from tests.campaign.trial import Plan, Trial
from tests.campaign.witness import read_only

SOON = 100
"""A forged receipt is so many events ahead: what is kept of it would be believed a moment later."""
STARTING = 0.15
"""The share of kills that do not wait until what was killed before works again."""
NOTICED_SECONDS = 10.0
"""Twice the keep-alive of the trials: so soon must a black hole be noticed."""
LOOKING_SECONDS = 1.5
"""How long the looks that this depends on may take on a busy machine."""
TOPIC = "touchpoint/v1/acme/zrh-1/gw-1/receipt"

Kind = Callable[[Trial], None]


def killing(*halves: str) -> Kind:
    """Kill these halves together, again and again."""

    def kind(trial: Trial) -> None:
        for _ in range(trial.plan.strikes):
            _at_a_random_moment(trial)
            trial.kill(*halves)

    return kind


def _at_a_random_moment(trial: Trial) -> None:
    if trial.dice.random() >= STARTING:
        trial.wait_for_flow()
    trial.flow(trial.dice.uniform(0.0, 0.8))


def broker(trial: Trial) -> None:
    """Kill the broker, with whatever it acknowledged and had not saved yet."""
    for _ in range(trial.plan.strikes):
        _kill_broker(trial)
        trial.wait_for_flow(90)


def _kill_broker(trial: Trial) -> None:
    trial.flow(trial.dice.uniform(0.2, 1.5))
    trial.strike(trial.broker.kill)
    trial.flow(trial.dice.uniform(0.0, 1.0))
    trial.wait(trial.broker_starts, "the broker's port to be free")


def black_hole(trial: Trial) -> None:
    """Freeze the broker for moments, and then until the uplink has noticed, which must not take long."""
    for _ in range(trial.plan.strikes):
        _blink(trial)
        trial.wait_for_flow()
    trial.flow(trial.dice.uniform(0.0, 1.0))
    trial.strike(trial.broker.freeze)
    trial.wait(trial.witness.broker_is_missed, "the black hole to be noticed", NOTICED_SECONDS + LOOKING_SECONDS)
    trial.flow(trial.dice.uniform(0.0, 2.0))
    trial.broker.thaw()
    trial.wait_for_flow(90)


def consumer(trial: Trial) -> None:
    """Kill the centre's consumer: receipts of what it had stored are lost with it."""
    for _ in range(trial.plan.strikes):
        trial.flow(trial.dice.uniform(0.2, 1.0))
        trial.strike(trial.centre.kill)
        trial.flow(trial.dice.uniform(0.0, 1.0))
        trial.centre.start()
        trial.wait_for_flow()


def lost_receipts(trial: Trial) -> None:
    """Lose half the receipts (the consumer does), all the while a half is killed now and then."""
    for _ in range(trial.plan.strikes):
        trial.flow(trial.dice.uniform(0.5, 2.0))
        trial.kill(trial.dice.choice(HALVES))
        trial.wait_for_flow()


def late_receipts(trial: Trial) -> None:
    """Freeze the consumer while events go on: the receipts come late, and must be waited for."""
    for _ in range(trial.plan.strikes):
        trial.flow(trial.dice.uniform(0.2, 1.0))
        trial.strike(lambda: trial.centre.signal(signal.SIGSTOP))
        trial.flow(trial.dice.uniform(0.5, 3.0))
        _nothing_is_delivered_unstored(trial)
        trial.centre.signal(signal.SIGCONT)
        trial.wait_for_flow()


def forged_receipts(trial: Trial) -> None:
    """Send receipts that cannot be while the true ones are held up; a retained one comes again to the next uplink."""
    trial.centre.signal(signal.SIGSTOP)
    for number in range(trial.plan.strikes):
        trial.flow(trial.dice.uniform(0.1, 0.4))
        payload = _forgery(trial, number)
        trial.strike(partial(_say, trial, payload, retain=number == 0))
        _nothing_is_delivered_unstored(trial)
    published = trial.witness.progress()[0]
    trial.kill("uplink")
    trial.wait(lambda: trial.witness.progress()[0] > published, "the next uplink to publish")
    _nothing_is_delivered_unstored(trial)
    _say(trial, "", retain=True)
    trial.centre.signal(signal.SIGCONT)
    trial.wait_for_flow()


def _forgery(trial: Trial, number: int) -> str:
    """Return a receipt of the future, of another session, out of bounds, or no receipt at all."""
    session, published = _session(trial.gateway.state), trial.witness.progress()[0]
    forgeries = (
        json.dumps({"session": session, "through": published + SOON}),
        json.dumps({"session": "another", "through": published}),
        json.dumps({"session": session, "through": -1}),
        "[" * 2_000,
    )
    return forgeries[number % len(forgeries)]


def _session(state: Path) -> str:
    with closing(read_only(state / "capture.db")) as connection:
        (session,) = connection.execute("SELECT id FROM session").fetchone()
    return str(session)


def _say(trial: Trial, payload: str, *, retain: bool = False) -> None:
    publish.single(
        TOPIC,
        payload,
        1,
        retain=retain,
        hostname="127.0.0.1",
        port=trial.broker.port,
        protocol=MQTTProtocolVersion.MQTTv5,
    )


def _nothing_is_delivered_unstored(trial: Trial) -> None:
    delivered, stored = trial.witness.progress()[1], trial.centre.through()
    if delivered > stored:
        trial.problems.append(f"delivered is {delivered}, but the centre has stored {stored} only")


def doorbell(trial: Trial) -> None:
    """Take the doorbells away: what they would have said is found out by looking."""
    for _ in range(trial.plan.strikes):
        trial.flow(trial.dice.uniform(0.2, 1.0))
        trial.strike(lambda: _remove_bells(trial.gateway.state))
        trial.wait_for_flow(5)
    trial.kill(trial.dice.choice(HALVES))
    trial.wait_for_flow()


def _remove_bells(state: Path) -> None:
    for half in HALVES:
        (state / f"{half}.bell").unlink(missing_ok=True)


def storm(trial: Trial) -> None:
    """Kill anything, in any order, while the rest may be down as well."""
    for _ in range(trial.plan.strikes):
        trial.dice.choice((_kill_some, _kill_some, _kill_broker, _kill_centre, _blink))(trial)
    trial.wait_for_flow(90)


def _kill_some(trial: Trial) -> None:
    trial.flow(trial.dice.uniform(0.0, 1.0))
    trial.kill(*trial.dice.choice((("capture",), ("uplink",), HALVES)))


def _kill_centre(trial: Trial) -> None:
    trial.strike(trial.centre.kill)
    trial.flow(trial.dice.uniform(0.0, 1.0))
    trial.centre.start()


def _blink(trial: Trial) -> None:
    trial.strike(trial.broker.freeze)
    trial.flow(trial.dice.uniform(0.1, 3.0))
    trial.broker.thaw()


BOTH_DELIVERIES = ("receipt", "puback")

KINDS: dict[str, tuple[Kind, Plan]] = {
    "capture": (killing("capture"), Plan(BOTH_DELIVERIES, 10)),
    "uplink": (killing("uplink"), Plan(BOTH_DELIVERIES, 10)),
    "both": (killing(*HALVES), Plan(BOTH_DELIVERIES, 10)),
    "slow-disk": (killing(*HALVES), Plan(BOTH_DELIVERIES, 10, slow=True, rate=200.0)),
    "broker": (broker, Plan(strikes=5)),
    "black-hole": (black_hole, Plan(BOTH_DELIVERIES, 1)),
    "consumer": (consumer, Plan(BOTH_DELIVERIES, 5)),
    "lost-receipts": (lost_receipts, Plan(strikes=3, consumer=("--lose", "0.5"))),
    "late-receipts": (late_receipts, Plan(strikes=5)),
    "forged-receipts": (forged_receipts, Plan(strikes=12)),
    "doorbell": (doorbell, Plan(BOTH_DELIVERIES, 5)),
    "storm": (storm, Plan(strikes=10)),
}


def running(kind: Kind, trial: Trial) -> float:
    """Run a trial from start to drained; return how many seconds it took."""
    began = time.monotonic()
    trial.start()
    kind(trial)
    trial.drain()
    return time.monotonic() - began
