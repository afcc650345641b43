"""thingsboard-gateway as it is published: its SQLite storage, its sending loop, its MQTT client, against mosquitto.

It lives in an environment of its own, made on demand in the user's cache directory. Mosquitto stands in for the
platform, with what ThingsBoard does that a plain broker does not: it answers `getSessionLimits` (with ThingsBoard's
defaults: 64 KiB a message, 100 messages unacknowledged, no rate limits), and returns no client's own attributes to it.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from threading import Event

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from gateway.demo.broker import HOST
from tests.benchmarks.broker import mosquitto
from tests.benchmarks.installation import running
from tests.benchmarks.outbox import draft
from tests.benchmarks.sightings import written
from tests.benchmarks.witness import witness
from tests.core import salon

VERSION = "3.8.5"
TOKEN, DEVICE = "thingsboard-gateway", "counter"
INSTALL_SECONDS, FILL_SECONDS, DRAIN_SECONDS, ANSWER_SECONDS = 300, 120, 300, 20
READ_AT_ONCE, SAMPLE_READ_AT_ONCE = 1_000, 10
"""What its SQLite storage reads at once unless told otherwise, and what its sample configuration tells any storage."""
LIMITS = {
    "maxPayloadSize": 65_536,
    "maxInflightMessages": 100,
    "rateLimits": {"messages": None, "telemetryMessages": None, "telemetryDataPoints": None},
    "gatewayRateLimits": {},
}
ACCESS = f"""topic readwrite #

user {TOKEN}
topic write v1/#
topic read v1/devices/me/rpc/#
topic read v1/devices/me/attributes/response/+
topic read v1/gateway/rpc
topic read v1/gateway/attributes/response
"""
UNREACHABLE = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
"""It asks its makers' server for updates whenever it starts; this keeps it from leaving the machine."""


class MissingError(Exception):
    """It could not be installed; the text says why."""


def environment() -> Path:
    """Return the directory of its environment, which is made if need be. Raises MissingError."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    there = cache / "touchpoint-benchmarks" / f"thingsboard-gateway-{VERSION}"
    if not (there / "complete").exists():
        shutil.rmtree(there, ignore_errors=True)
        _run([sys.executable, "-m", "venv", str(there)])
        pip = [str(there / "bin/pip"), "--disable-pip-version-check", "install", "--quiet"]
        _run([*pip, f"thingsboard-gateway=={VERSION}"])
        (there / "complete").touch()
    return there


def _run(command: list[str]) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=INSTALL_SECONDS)
    except subprocess.CalledProcessError as error:
        lines = (error.stderr or error.stdout).strip().splitlines() or ["no reason given"]
        raise MissingError(f"{Path(command[0]).name}: {lines[-1]}") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MissingError(str(error)) from None


def fill(installed: Path, directory: Path, number: int) -> None:
    """Let it store so many events, all of one device, which suits it best."""
    event = json.loads(written(draft()))
    lines = (_message(event, salon.MORNING_MS + at) for at in range(number))
    directory.mkdir()
    script = Path(__file__).with_name("thingsboard_fill.py")
    command = [str(installed / "bin/python"), str(script), f"{directory}/"]
    subprocess.run(command, input="\n".join(lines), text=True, check=True, capture_output=True, timeout=FILL_SECONDS)


def _message(event: Mapping[str, object], at_ms: int) -> str:
    """Return what its connectors hand to the storage: the event is one value, and no two share a time."""
    telemetry = [{"ts": at_ms, "values": {"event": event}}]
    message = {"deviceName": DEVICE, "deviceType": "default", "telemetry": telemetry, "attributes": {}}
    return json.dumps(message, separators=(",", ":"))


def events_per_second(installed: Path, filled: Path, number: int, read_at_once: int) -> float:
    """Start it on a copy of a storage that was filled, and return how fast the events reach a subscriber."""
    with ExitStack() as stack:
        home = filled.with_name(f"{filled.name}-home")
        stack.callback(shutil.rmtree, home)
        (home / "logs").mkdir(parents=True)
        shutil.copytree(filled, home / "data")
        access = home / "access"
        access.write_text(ACCESS, encoding="utf-8")
        broker = stack.enter_context(mosquitto(home, f"acl_file {access}\n"))
        watching = stack.enter_context(witness(broker.port))
        stack.enter_context(_platform(broker.port))
        _configure(installed, home, broker.port, read_at_once)
        started = running([str(installed / "bin/thingsboard-gateway")], directory=home, environment=_variables(home))
        stack.enter_context(started)
        watching.wait(number, DRAIN_SECONDS)
        return watching.per_second(number)


def _variables(home: Path) -> dict[str, str]:
    return os.environ | UNREACHABLE | {"TB_GW_CONFIG_DIR": str(home)}


def _configure(installed: Path, home: Path, port: int, read_at_once: int) -> None:
    """Change no more of its sample configuration than where it sends to and how it stores."""
    (samples,) = installed.glob("lib/python*/site-packages/thingsboard_gateway/config")
    shutil.copy(samples / "logs.json", home)
    configuration = json.loads((samples / "tb_gateway.json").read_text(encoding="utf-8"))
    configuration["thingsboard"] |= {
        "host": HOST,
        "port": port,
        "remoteConfiguration": False,
        "security": {"type": "accessToken", "accessToken": TOKEN},
    }
    configuration["storage"] = {
        "type": "sqlite",
        "data_file_path": f"{home / 'data'}/",
        "max_read_records_count": read_at_once,
    }
    (home / "tb_gateway.json").write_text(json.dumps(configuration), encoding="utf-8")


@contextmanager
def _platform(port: int) -> Iterator[None]:
    """Answer what it asks before it sends anything."""
    client, subscribed = Client(CallbackAPIVersion.VERSION2, client_id="platform"), Event()

    def answer(_client: Client, _user: object, message: MQTTMessage) -> None:
        client.publish(message.topic.replace("/request/", "/response/"), json.dumps(LIMITS), 1)

    client.on_connect = lambda *_: client.subscribe("v1/devices/me/rpc/request/+", 1) and None
    client.on_subscribe = lambda *_: subscribed.set()
    client.on_message = answer
    client.connect(HOST, port)
    client.loop_start()
    try:
        assert subscribed.wait(ANSWER_SECONDS), "the broker did not answer"
        yield
    finally:
        with suppress(OSError):
            client.disconnect()
        client.loop_stop()
