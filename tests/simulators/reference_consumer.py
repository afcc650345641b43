"""The reference consumer: what a centre does so that nothing is lost and nothing counts twice. A program of its own.

    python -m tests.simulators.reference_consumer --port 1883 --database centre.db [--receipts] [--lose 0.5 --seed 7]

Each message is committed to SQLite before it is acknowledged to the broker (manual acknowledgement), and a receipt
covers only what is committed: how far each session came without a hole that no gap explains. Receipts are also sent
whenever it connects, since earlier ones may have been lost. It shares no code with the gateway.

`--lose` makes it a bad one on purpose: that share of its receipts is never sent, until SIGUSR1 tells it to be good.
"""

import argparse
import json
import random
import signal
import sqlite3
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.simulators.consumer import EVENT, RECEIPT, event_texts

SCHEMA = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
CREATE TABLE IF NOT EXISTS event (
  arrival  INTEGER PRIMARY KEY,
  source   TEXT NOT NULL,
  id       TEXT NOT NULL,
  session  TEXT NOT NULL,
  sequence INTEGER NOT NULL,
  through  INTEGER NOT NULL,            -- the last sequence that it accounts for: its own, unless it is a gap
  text     TEXT NOT NULL,
  copies   INTEGER NOT NULL DEFAULT 0,  -- how often it came again
  changed  INTEGER NOT NULL DEFAULT 0,  -- how often another text came under the same id
  UNIQUE (source, id)
) STRICT;
CREATE INDEX IF NOT EXISTS event_session ON event (session, sequence);
CREATE TABLE IF NOT EXISTS session (id TEXT PRIMARY KEY, topic TEXT NOT NULL, through INTEGER NOT NULL) STRICT;
"""
STORE = """INSERT INTO event (source, id, session, sequence, through, text) VALUES (?, ?, ?, ?, ?, ?)
           ON CONFLICT (source, id) DO UPDATE SET copies = copies + 1, changed = changed + (text <> excluded.text)"""
GAP = "touchpoint.gap.v1"
RECONNECT_SECONDS = 0.2


class Archive:
    """The events, each once, and how far each session is complete."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.executescript(SCHEMA)

    def store(self, topic: str, texts: Sequence[str]) -> None:
        """Commit the events of one message. Raises ValueError, LookupError, TypeError for what is no event."""
        events = [_columns(text) for text in texts]
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            self._connection.executemany(STORE, events)
            for session in {event[2] for event in events}:
                self._advance(session, topic)
            self._connection.execute("COMMIT")
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise

    def _advance(self, session: str, topic: str) -> None:
        through = dict(self.complete(topic)).get(session, 0)
        later = "SELECT sequence, through FROM event WHERE session = ? AND sequence > ? ORDER BY sequence"
        for sequence, last in self._connection.execute(later, (session, through)):  # read no further than to a hole
            if sequence != through + 1:
                break
            through = last
        self._connection.execute("INSERT OR REPLACE INTO session VALUES (?, ?, ?)", (session, topic, through))

    def complete(self, topic: str) -> list[tuple[str, int]]:
        """Return the sessions that came on a topic, and how far each is complete."""
        return list(self._connection.execute("SELECT id, through FROM session WHERE topic = ?", (topic,)))

    def topics(self) -> list[str]:
        """Return the topics on which events ever came."""
        return [topic for (topic,) in self._connection.execute("SELECT DISTINCT topic FROM session")]

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


def _columns(text: str) -> tuple[str, str, str, int, int, str]:
    event = json.loads(text)
    sequence = int(event["sequence"])
    through = (event["data"]["through"] or sequence) if event["type"] == GAP else sequence
    return event["source"], event["id"], event["session"], sequence, through, text


@dataclass
class Consumer:
    """Carries messages from the broker to the archive, and receipts back."""

    archive: Archive
    receipts: bool
    lose: float
    dice: random.Random

    def run(self, port: int) -> None:
        """Consume until the process is ended."""
        client = Client(
            CallbackAPIVersion.VERSION2, client_id="centre", protocol=MQTTProtocolVersion.MQTTv5, manual_ack=True
        )
        client.on_connect, client.on_subscribe, client.on_message = self._connected, _subscribed, self._take
        lasting = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho
        lasting.SessionExpiryInterval = 86_400
        client.connect_async("127.0.0.1", port, keepalive=5, clean_start=False, properties=lasting)
        _reconnect(client)
        while True:
            if client.loop(0.1) != MQTTErrorCode.MQTT_ERR_SUCCESS:
                time.sleep(RECONNECT_SECONDS)
                _reconnect(client)

    def be_good(self, *_: object) -> None:
        """Lose no further receipt."""
        self.lose = 0.0

    def _connected(self, client: Client, *_: object) -> None:
        client.subscribe(f"touchpoint/v1/acme/+/+{EVENT}", 1)
        for topic in self.archive.topics():
            self._confirm(client, topic)

    def _take(self, client: Client, _: object, message: MQTTMessage) -> None:
        try:
            texts = event_texts(message.payload.decode(), getattr(message.properties, "ContentType", None))
            self.archive.store(message.topic, texts)
        except (ValueError, LookupError, TypeError) as error:
            say(f"malformed: {error!r}")
        client.ack(message.mid, message.qos)
        self._confirm(client, message.topic)

    def _confirm(self, client: Client, topic: str) -> None:
        for session, through in self.archive.complete(topic) if self.receipts else ():
            if self.dice.random() < self.lose:
                say("lost a receipt")
                continue
            receipt = json.dumps({"session": session, "through": through})
            client.publish(topic.removesuffix(EVENT) + RECEIPT, receipt, qos=1)


def _subscribed(*_: object) -> None:
    say("subscribed")


def _reconnect(client: Client) -> None:
    try:
        client.reconnect()
    except OSError:
        return  # the loop finds out and comes back


def say(what: str) -> None:
    """Print a line that whoever started the consumer can wait for."""
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


def main() -> None:
    """Consume as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--database", type=Path, required=True)
    parser.add_argument("--receipts", action="store_true", help="send receipts")
    parser.add_argument("--lose", type=float, default=0.0, help="the share of receipts that is lost, 0 to 1")
    parser.add_argument("--seed", type=int, default=0, help="which receipts are lost")
    asked = parser.parse_args()
    with closing(Archive(asked.database)) as archive:
        dice = random.Random(asked.seed)  # noqa: S311  # for repeatable losses, not for secrets
        consumer = Consumer(archive, asked.receipts, asked.lose, dice)
        signal.signal(signal.SIGUSR1, consumer.be_good)
        consumer.run(asked.port)


if __name__ == "__main__":
    main()
