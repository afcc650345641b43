"""The first fetch of a large consent set: `python -m tests.campaign.first_sync [--records 100000]`.

A real mosquitto holds the signed records; a gateway that knows none of them is started. Told are the seconds until the
set is confirmed, the memory of the uplink half, and how long a scan took meanwhile from the pipe to its commit.
"""

import argparse
import json
import os
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from gateway.clock import Clock
from gateway.core.contract import Topics
from gateway.store.device import public_text
from tests.benchmarks.installation import CARDS, Installation, install, running
from tests.simulators.broker import Mosquitto
from tests.simulators.centre import Centre
from tests.simulators.centre_keys import CENTRE

AT_ONCE = 500
SECONDS = 600.0
UNSAVED = "autosave_interval 0\nautosave_on_changes false\nmax_queued_bytes 0"
"""Saving its file after each of so many messages would take the broker hours."""
ISSUER = f"""
[[issuer]]
kid = "{CENTRE.kid}"
key = "{public_text(CENTRE.key.public_key())}"
"""


@dataclass
class Sync:
    """What was measured."""

    records: int
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    rss_before_kib: int = 0
    rss_after_kib: int = 0
    scan_ms: list[float] = field(default_factory=list)

    def as_json(self) -> dict[str, object]:
        """Return it for scripts."""
        scans = sorted(self.scan_ms)
        return {
            "records": self.records,
            "seconds": round(self.seconds, 1),
            "uplink_cpu_seconds": round(self.cpu_seconds, 1),
            "uplink_rss_mib": [round(kib / 1024, 1) for kib in (self.rss_before_kib, self.rss_after_kib)],
            "scans_meanwhile": len(scans),
            "scan_to_commit_ms": {"median": scans[len(scans) // 2], "worst": scans[-1]} if scans else None,
        }


def main() -> None:
    """Measure, and print it as JSON; exit status 1 if it took longer than a minute."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=100_000)
    with tempfile.TemporaryDirectory(prefix="tp-") as directory:
        sync = measure(Path(directory), parser.parse_args().records)
    sys.stdout.write(json.dumps(sync.as_json(), indent=2) + "\n")
    sys.exit(sync.seconds > 60)


def measure(directory: Path, records: int) -> Sync:
    """Publish the set, start a gateway, and wait until it has all of it."""
    with Mosquitto(directory, UNSAVED) as broker:
        _publish(broker.port, records)
        installed = install(directory, broker.port, 1)
        with installed.configuration.open("a", encoding="utf-8") as file:
            file.write(ISSUER)
        sync = Sync(records)
        with running(installed.command("capture")), running(installed.command("uplink")) as (uplink,):
            began = time.monotonic()
            _until((installed.state / "uplink.db").exists)
            sync.rss_before_kib = _rss(uplink.pid)
            while not _confirmed(installed):
                assert time.monotonic() - began < SECONDS, "the set was not confirmed"
                sync.scan_ms.append(_scan(installed, len(sync.scan_ms)))
                sync.rss_after_kib = max(sync.rss_after_kib, _rss(uplink.pid))
                time.sleep(0.2)
            sync.seconds, sync.cpu_seconds = time.monotonic() - began, _cpu_seconds(uplink.pid)
        return sync


def _publish(port: int, records: int) -> None:
    """Say it all, retained, as the centre does."""
    centre, now_ms = Centre(Topics("acme", "zrh-1", "gw-1")), Clock("trusted").now().wall_ms
    client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5, client_id="centre")
    client.max_inflight_messages_set(AT_ONCE)
    client.connect("127.0.0.1", port)
    client.loop_start()
    sent = []
    for number in range(records):
        message = centre.grant(f"rec-{number:08}", f"h1.{number:022}", at_ms=now_ms - 1_000)
        sent.append(client.publish(message.topic, message.payload, 1, retain=True))
        if len(sent) >= AT_ONCE:
            sent.pop(0).wait_for_publish(60)
    state = centre.state(now_ms)
    for each in (*sent, client.publish(state.topic, state.payload, 1, retain=True)):
        each.wait_for_publish(60)
    client.disconnect()
    client.loop_stop()


def _scan(installed: Installation, number: int) -> float:
    """Scan something, and return after how many milliseconds it stands in the file."""
    card = CARDS[number % len(CARDS)]  # another one than before: the same again would be debounced
    line = json.dumps({"at": 0, "reader": "scanner-0", "scan": {"text": card}}) + "\n"
    began, before = time.monotonic(), _appended(installed)
    with installed.pipes[0].open("w", encoding="utf-8") as pipe:
        pipe.write(line)
    for _ in _polls(5.0):
        if _appended(installed) > before:
            return round((time.monotonic() - began) * 1000, 1)
    return 5_000.0  # debounced, or lost: told as what it is, far too long


def _polls(seconds: float) -> Iterator[None]:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        yield
        time.sleep(0.002)


def _appended(installed: Installation) -> int:
    with closing(sqlite3.connect(f"{(installed.state / 'capture.db').as_uri()}?mode=ro", uri=True)) as outside:
        row = outside.execute("SELECT seq FROM sqlite_sequence WHERE name = 'outbox'").fetchone()
    return int(row[0]) if row else 0


def _confirmed(installed: Installation) -> bool:
    with closing(sqlite3.connect(f"{(installed.state / 'uplink.db').as_uri()}?mode=ro", uri=True)) as outside:
        try:
            row = outside.execute("SELECT confirmed FROM consent_set").fetchone()
        except sqlite3.OperationalError:  # not brought up to date yet
            return False
    return bool(row and row[0])


def _until(condition: Callable[[], bool]) -> None:
    for _ in _polls(20.0):
        if condition():
            return
    raise AssertionError("the gateway did not start")


def _cpu_seconds(pid: int) -> float:
    """Return what a process has had of the processors, in user and kernel mode (proc(5), stat)."""
    user, kernel = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[11:13]
    return (int(user) + int(kernel)) / os.sysconf("SC_CLK_TCK")


def _rss(pid: int) -> int:
    """Return the resident memory of a process, KiB (proc(5))."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(status.partition("VmRSS:")[2].split()[0])


if __name__ == "__main__":
    main()
