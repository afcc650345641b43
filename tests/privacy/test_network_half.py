"""The network half alone: with everything that it can read and remember it cannot name a customer.

Both halves run as they are deployed: two processes, two users of one group if the test runs as root (the capture half
owns the keys, mode 0600), one state directory. Then whatever the network half's user can read, its environment, its
open files and its memory are searched for every key from which a handle or a pseudonym could be made.
"""

import asyncio
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from gateway.bytesearch import Needles
from gateway.control import NobodyListensError, RequestError, ask
from gateway.core.pseudonym import derive
from tests.campaign.installation import open_pipe
from tests.e2e.centre import Subscriber, until
from tests.simulators.broker import Mosquitto
from tests.simulators.trust_service import TrustService, hkdf

CAPTURE_USER, UPLINK_USER, GROUP = 64_001, 64_002, 64_000
"""Numbers that nobody has; as systemd's DynamicUser= they need no names."""
ROOT_KEY = hashlib.sha256(b"the root of these tests").digest()
TRUST = TrustService(ROOT_KEY)
EPOCH = "2026Q4"
PURPOSES = ("personalisation",)
MEMBERS = "https://id.acme.example/m/"
ANNA, GUESSED = f"{MEMBERS}anna-Zk3vX9c1QmS7tB0d", f"{MEMBERS}ben-LwRfA8uT5pQnEjYh"
"""Ben never comes: whoever knows his token may guess that he does, and look for him."""
ISOLATED = os.geteuid() == 0
CONFIGURATION = f"""
[gateway]
tenant = "acme"
site = "zrh-1"
id = "gw-1"
state = "state"

[mqtt]
host = "127.0.0.1"
port = {{port}}

[pseudonym]
keys = "./keys.json"

[clock]
source = "trusted"

[visit]
debounce = 0

[[reader]]
name = "counter"
kind = "simulated"
plays = "scanner"
device = "reader"
touchpoint = "counter"

[[bearer]]
kind = "link"
prefix = "{MEMBERS}"
"""
AS_USER = """set -e
mount -t tmpfs none /mnt
mkdir /mnt/python /mnt/site /mnt/here
mount --bind "$1" /mnt/python
mount --bind "$2" /mnt/site
mount --bind "$3" /mnt/here
cd /mnt/here
export PYTHONHOME=/mnt/python PYTHONPATH=/mnt/here:/mnt/site PYTHONDONTWRITEBYTECODE=1 LD_LIBRARY_PATH=/mnt/python/lib
user=$4 group=$5; shift 5
exec setpriv --reuid "$user" --regid "$group" --clear-groups --no-new-privs /mnt/python/bin/python3 "$@"
"""
"""Python and this tree may lie where other users must not go (/root): a mount namespace shows them all the same."""
ZERO = b"\0" * 64
ZEROS = re.compile(rb"\0{64,}")
"""Memory that was never written; there is much of it, and nothing in it."""
HERE = Path(__file__).parents[2]
READ_ALL = """
import os, sys
for parent, _, names in os.walk(sys.argv[1]):
    for name in names:
        path = os.path.join(parent, name)
        if os.path.isfile(path) and os.access(path, os.R_OK):
            sys.stderr.write(path + "\\n")
            sys.stdout.buffer.write(open(path, "rb").read())
"""


def secrets() -> dict[str, bytes]:
    """Return every key under which a handle, a pseudonym or a proof of this site is made."""
    epoch = TRUST.epoch_key("acme", "zrh-1", EPOCH)
    uses = {f"use key {purpose}": hkdf(epoch, f"touchpoint/v1/use\0{purpose}\0link") for purpose in PURPOSES}
    return {"root": ROOT_KEY, "consent key": TRUST.consent_key("acme", "zrh-1"), "epoch key": epoch, **uses}


def answers() -> dict[str, bytes]:
    """Return what somebody would be called who never came."""
    token, place = ("link", GUESSED), ("acme", "zrh-1", EPOCH)
    named = {f"pseudonym for {purpose}": TRUST.pseudonym(place, purpose, token) for purpose in PURPOSES}
    found = {"handle": TRUST.handle("acme", "zrh-1", token), **named}
    return {label: text.rpartition(".")[2].encode() for label, text in found.items()}


@dataclass
class Site:
    """A gateway as it is deployed."""

    directory: Path
    port: int
    halves: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def state(self) -> Path:
        return self.directory / "state"

    def install(self) -> None:
        """Lay it out: the configuration for both, the keys for capture alone, the state directory for the group."""
        self.directory.mkdir()
        self.state.mkdir()
        (self.directory / "gateway.toml").write_text(CONFIGURATION.format(port=self.port), encoding="utf-8")
        ring = derive(ROOT_KEY, "acme", "zrh-1", [(EPOCH, 0, None)])
        (self.directory / "keys.json").write_text(ring.to_json(), encoding="utf-8")
        (self.directory / "keys.json").chmod(0o600)
        os.mkfifo(self.directory / "reader")
        self.pipe = open_pipe(self.directory / "reader")
        if ISOLATED:
            self.directory.parent.chmod(0o755)
            for path in (self.directory / "keys.json", self.directory / "reader"):
                os.chown(path, CAPTURE_USER, GROUP)
            os.chown(self.state, CAPTURE_USER, GROUP)
            self.state.chmod(0o2770)

    def start(self, half: str) -> None:
        with (self.directory / f"{half}.log").open("wb") as log:
            command = _python(half, "-m", "gateway", half, "--config", str(self.directory / "gateway.toml"))
            self.halves[half] = subprocess.Popen(command, stdout=log, stderr=log)

    def stop(self) -> None:
        os.close(self.pipe)
        for process in self.halves.values():
            process.send_signal(signal.SIGTERM)
        for process in self.halves.values():
            process.wait(10)

    def present(self, token: str) -> None:
        os.write(self.pipe, json.dumps({"at": 0, "reader": "counter", "scan": {"text": token}}).encode() + b"\n")

    def ask(self, request: dict[str, Any]) -> dict[str, Any] | None:
        """Ask the capture half; when it wants a token, Anna presents hers."""

        async def present(_: dict[str, Any]) -> None:
            self.present(ANNA)

        with suppress(NobodyListensError):
            return asyncio.run(ask(self.state, request, present))
        return None

    def is_reading(self) -> bool:
        assert all(process.poll() is None for process in self.halves.values()), self.said()
        with suppress(RequestError):
            answer = self.ask({"ask": "status"})
            return bool(answer and answer["readers"].get("counter", {}).get("up"))
        return False

    def said(self) -> str:
        return "".join(path.read_text(encoding="utf-8") for path in self.directory.glob("*.log"))


def _python(half: str, *words: str) -> list[str]:
    """Return the command that runs Python as this half's user, if there are two."""
    if not ISOLATED:
        return [sys.executable, *words]
    user = CAPTURE_USER if half == "capture" else UPLINK_USER
    places = (sys.base_prefix, sysconfig.get_path("purelib"), str(HERE))
    return ["unshare", "--mount", "sh", "-c", AS_USER, "sh", *places, str(user), str(GROUP), *words]


def readable(directory: Path, half: str) -> tuple[bytes, list[str]]:
    """Return all that this half's user can read below a directory, and which files that was."""
    command = _python(half, "-c", READ_ALL, str(directory))
    ran = subprocess.run(command, capture_output=True, check=True, timeout=60)
    return ran.stdout, [Path(line).name for line in ran.stderr.decode().splitlines()]


def memory(process: int) -> bytes:
    """Return what a process has in its writable memory (proc(5), /proc/pid/mem)."""
    found = bytearray()
    with Path(f"/proc/{process}/mem").open("rb", buffering=0) as mem:
        for line in Path(f"/proc/{process}/maps").read_text(encoding="utf-8").splitlines():
            span = re.match(r"([0-9a-f]+)-([0-9a-f]+) rw", line)
            if span and "[vvar]" not in line:
                first, end = int(span[1], 16), int(span[2], 16)
                with suppress(OSError):  # a page that is not there
                    found += ZEROS.sub(ZERO, os.pread(mem.fileno(), end - first, first)) + ZERO
    return bytes(found)


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """A gateway at which Anna has agreed, has come, and whose event is at the centre."""
    with (
        tempfile.TemporaryDirectory(prefix="tp-") as name,
        Mosquitto(directory := Path(name)) as broker,
        Subscriber(broker.port) as centre,
    ):
        made = Site(directory / "gw", broker.port)
        made.install()
        try:
            made.start("capture")
            made.start("uplink")
            until(made.is_reading, "the reader to be read")
            assert made.ask({"ask": "consent-grant", "reader": "counter"})
            made.present(ANNA)
            until(lambda: any(event["data"].get("subject") for event in centre.events()), "Anna's event")
            yield made
        finally:
            made.stop()


@dataclass(frozen=True)
class Looked:
    """What was looked through, and the labels of what was found there."""

    names: list[str]
    """Of the files."""
    files: set[str]
    memory: set[str]
    handle: bool
    """Whether Anna's handle was there, as it must be: without it, nothing was looked through."""


def look(site: Site, half: str) -> Looked:
    """Search all that a half can read, and its memory."""
    files, names = readable(site.directory, half)
    remembered = memory(site.halves[half].pid)
    assert len(remembered) > 1_000_000
    needles = Needles([*secrets().items(), *answers().items(), ("Anna's token", ANNA.encode())])
    handle = TRUST.handle("acme", "zrh-1", ("link", ANNA)).encode()
    return Looked(names, needles.find(files), needles.find(remembered), handle in files + remembered)


@pytest.fixture(scope="module")
def network(site: Site) -> Looked:
    """What the network half can know."""
    return look(site, "uplink")


def test_the_search_finds_the_keys_where_they_are(site: Site) -> None:
    """In the files of capture's user, and in the memory of the capture half, the keys are found."""
    found = look(site, "capture")
    assert "keys.json" in found.names
    assert found.files == {"consent key", "epoch key"}
    assert {"consent key", "epoch key"} <= found.memory


@pytest.mark.skipif(not ISOLATED, reason="only root can start the halves as two users")
def test_no_file_that_it_can_read_holds_a_key(network: Looked) -> None:
    """Its user reads the databases and the configuration, but neither the ring nor the device key."""
    assert {"capture.db", "uplink.db", "gateway.toml", "device.pub"} <= set(network.names)
    assert not {"keys.json", "device.key"} & set(network.names)
    assert network.files == set()


def test_its_memory_and_environment_hold_no_key(site: Site, network: Looked) -> None:
    """Its memory, its environment and its open files have nothing of them, while it forwards a subject's events.

    Nor does it remember a token, or what the bearer of a guessed one would be called: it cannot tell if he came.
    """
    assert network.handle
    assert network.memory == set()
    process = Path(f"/proc/{site.halves['uplink'].pid}")
    assert Needles(list(secrets().items())).find((process / "environ").read_bytes()) == set()
    opened = [str(path.readlink()) for path in (process / "fd").iterdir()]
    assert not [path for path in opened if path.endswith(("keys.json", "device.key"))]
