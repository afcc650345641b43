"""At the counter of a store that runs: a card is held to the scanner; staff change their mind and press Ctrl-C."""

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.e2e.centre import until
from tests.e2e.conftest import Store

TOKEN = "https://id.acme.example/m/Zk3vX9c1QmS7tB0dLw2RfA"
OTHER = "https://id.acme.example/m/yC0mBqK7w1m0cVd3o9lS2Q"


@pytest.fixture
def counter(store: Store) -> Store:
    """A store whose capture half runs."""
    store.start("capture")
    return store


@contextmanager
def asking(counter: Store, *words: str) -> Iterator[subprocess.Popen[str]]:
    """Start a command that waits for a token."""
    with subprocess.Popen(
        counter.command(*words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as command:
        try:
            yield command
        finally:
            command.kill()


def prompt(command: subprocess.Popen[str]) -> str:
    """Return the next line that staff read."""
    assert command.stderr is not None
    return command.stderr.readline().strip()


def test_consent_is_given_and_taken_back_by_the_same_gesture(counter: Store) -> None:
    """Two cards, one of them twice; then either ends the consent of both."""
    with asking(counter, "consent", "grant", "--tokens", "2") as command:
        assert prompt(command) == "Present token 1 of 2 at counter-scanner now."
        counter.scanner.scan(TOKEN)
        assert prompt(command) == "Present token 2 of 2 at counter-scanner now."
        counter.scanner.scan(TOKEN)
        assert prompt(command) == "That token was presented already; present another one at counter-scanner."
        counter.scanner.scan(OTHER)
        told, _ = command.communicate(timeout=20)
    assert command.returncode == 0
    assert told.startswith("Consent recorded for personalisation")
    with asking(counter, "consent", "withdraw") as command:
        assert prompt(command) == "Present the token at counter-scanner now."
        counter.scanner.scan(OTHER)
        told, _ = command.communicate(timeout=20)
    assert told == "Consent withdrawn. From now on no event names this customer.\n"
    (record,) = counter.ask("consent", "show", "--token-from-stdin", given=f"{TOKEN}\n")
    assert record["state"] == "withdrawn"


def test_ctrl_c_at_the_counter_leaves_nothing_and_gives_the_reader_back(counter: Store) -> None:
    """Between the two cards: nothing is recorded, and the next card is read as at any other time."""
    with asking(counter, "consent", "grant", "--tokens", "2") as command:
        prompt(command)
        counter.scanner.scan(TOKEN)
        prompt(command)
        command.send_signal(signal.SIGINT)
        _, said = command.communicate(timeout=20)
    assert command.returncode != 0
    assert "Traceback" not in said
    before = counter.ask("status")["counters"].get("acted_on", 0)
    assert counter.ask("consent", "show", "--token-from-stdin", given=f"{TOKEN}\n") == []

    def read_again() -> bool:
        counter.scanner.scan(OTHER)
        return bool(counter.ask("status")["sequence"] > 0)

    until(read_again, "the scanner to be back at its work")
    assert counter.ask("status")["counters"]["acted_on"] >= before
