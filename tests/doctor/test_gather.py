"""Finding the facts out: from the kernel's files as a Raspberry Pi has them, and from a broker that is not there."""

import socket
import ssl
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config import ReaderSettings, load
from gateway.doctor import Verdict, gather, judge
from gateway.doctor.facts import Switch, UsbReader
from gateway.doctor.gather import CAPTURE, UPLINK, broker, device_of
from gateway.doctor.users import runs_as
from gateway.store.database import only_one

CONFIGURATION = """
[gateway]
tenant = "acme"
site = "zrh-1"
id = "gw-1"
state = "state"
time_zone = "Europe/Zurich"
[mqtt]
host = "127.0.0.1"
port = {port}
[pseudonym]
keys = "./keys.json"
[[reader]]
name = "counter"
kind = "scanner"
device = "{root}/dev/ttyACM0"
touchpoint = "counter"
[[reader]]
name = "shelf"
kind = "nfc"
device = "usb"
touchpoint = "shelf"
[[reader]]
name = "salon"
kind = "ble"
zone = "salon"
"""
PI = {
    "proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.5\0",
    "proc/self/mounts": "/dev/mmcblk0p2 / ext4 rw 0 0\ntmpfs /var/lib/bluetooth tmpfs rw 0 0\n",
    "sys/devices/platform/soc/soc:firmware/get_throttled": "50005\n",
    "sys/class/rtc/rtc0/name": "rtc",
    "sys/class/rfkill/rfkill0/type": "bluetooth\n",
    "sys/class/rfkill/rfkill0/name": "hci0\n",
    "sys/class/rfkill/rfkill0/soft": "1\n",
    "sys/class/rfkill/rfkill0/hard": "0\n",
    "sys/class/rfkill/rfkill1/type": "wlan\n",
    "sys/class/bluetooth/hci0/address": "",
    "sys/class/bluetooth/hci0:11/address": "",
    "sys/bus/usb/devices/1-1/idVendor": "054c\n",
    "sys/bus/usb/devices/1-1/idProduct": "06c3\n",
    "sys/bus/usb/devices/1-2/idVendor": "1d6b\n",
    "sys/fs/ext4/mmcblk0p2/errors_count": "2\n",
    "sys/block/mmcblk0/device/life_time": "0x02 0x0b\n",
}


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port at which nobody listens, and that nobody else gets meanwhile."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


@pytest.fixture
def pi(directory: Path, closed_port: int) -> Path:
    """A machine with these files, and a gateway's configuration on it."""
    for name, text in PI.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    driver = directory / "sys/bus/usb/drivers/port100"
    driver.mkdir(parents=True)
    interface = directory / "sys/bus/usb/devices/1-1/1-1:1.0"
    interface.mkdir()
    (interface / "driver").symlink_to(driver)
    (directory / "etc").mkdir()
    (directory / "etc/localtime").symlink_to("/usr/share/zoneinfo/Europe/Zurich")
    (directory / "state").mkdir()
    text = CONFIGURATION.format(port=closed_port, root=directory)
    (directory / "gateway.toml").write_text(text, encoding="utf-8")
    return directory


def test_a_machine_is_read_from_its_files(pi: Path) -> None:
    """Power, disk, switches, adapters, USB readers and time zone are what the kernel's files say."""
    facts = gather(pi / "gateway.toml", pi)
    assert (facts.throttled, facts.raspberry, facts.zone, facts.clock.battery) == (0x50005, True, "Europe/Zurich", True)
    assert facts.usb == (UsbReader("Sony RC-S380", "port100", "054c:06c3"),)
    assert facts.bluetooth.switches == (Switch("hci0", soft=True, hard=False),)
    assert facts.bluetooth.adapters == ("hci0",)
    assert facts.bluetooth.cache_in_memory is True
    assert facts.disk is not None
    assert (facts.disk.errors, facts.disk.wear) == (2, 0x0B)
    assert facts.halves is not None
    assert (facts.halves.capture, facts.halves.uplink) == (False, False)
    wrong = {finding.check for finding in judge(facts) if finding.verdict is Verdict.WRONG}
    assert {"power", "disk", "disk-wear", "rfkill", "usb", "readers", "broker", "keys", "running"} <= wrong


def test_a_half_that_runs_is_seen_by_its_lock(pi: Path) -> None:
    """Whoever holds the lock runs; looking does not take it."""
    with only_one(pi / "state", "capture"):
        facts = gather(pi / "gateway.toml", pi)
    assert facts.halves is not None
    assert (facts.halves.capture, facts.halves.uplink) == (True, False)


def test_a_bare_machine_is_looked_at_all_the_same(directory: Path) -> None:
    """Without a configuration, and without a single file of the kernel, nothing fails."""
    facts = gather(directory / "nothing.toml", directory)
    assert "there is no such file" in facts.configuration[0]
    assert not facts.set_up
    assert judge(facts)


def test_what_a_user_may_not_look_at_is_told_as_that(pi: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys in a directory of the service's alone, a state that is not this user's: neither missing nor fine."""
    (pi / "keys.json").touch()
    monkeypatch.setattr(Path, "stat", forbidding(Path.stat, "keys.json", "restoring"))
    monkeypatch.setattr(Path, "open", forbidding(Path.open, "keys.json"))
    found = judge(gather(pi / "gateway.toml", pi))
    assert [each.verdict for each in found if "keys.json" in each.what] == [Verdict.UNKNOWN]
    assert [each.verdict for each in found if each.check == "keys"] == [Verdict.UNKNOWN]


@pytest.mark.parametrize("name", ["keys.json", "gateway.toml"])
def test_what_a_user_may_not_read_is_told_as_that(pi: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A file that can be looked at, and not be opened: as the package has both."""
    (pi / "keys.json").touch()
    monkeypatch.setattr(Path, "open", forbidding(Path.open, name))
    found = judge(gather(pi / "gateway.toml", pi))
    about = [each for each in found if each.check in {"keys", "configuration"} and each.verdict is not Verdict.FINE]
    assert [each.verdict for each in about if each.fix] == [Verdict.UNKNOWN]


def forbidding(allowed: Callable[..., Any], *names: str) -> Callable[..., Any]:
    """Refuse to do this with files of these names, as the kernel does to others than root."""

    def refuse(path: Path, *how: object, **more: object) -> object:
        if path.name in names:
            raise PermissionError(13, "Permission denied", str(path))
        return allowed(path, *how, **more)

    return refuse


def test_nobody_listens_at_the_broker(pi: Path) -> None:
    """A refused connection is told from others."""
    assert broker(load(pi / "gateway.toml")).failed == "refused"


def test_a_broker_without_tls_is_told(pi: Path) -> None:
    """A port that speaks something else is no broker with a certificate."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        text = CONFIGURATION.format(port=server.getsockname()[1], root=pi)
        (pi / "gateway.toml").write_text(text, encoding="utf-8")
        assert broker(load(pi / "gateway.toml")).failed is None


def test_a_name_that_is_none_is_told(pi: Path) -> None:
    """A name that cannot be resolved (RFC 6761, 6.4: .invalid never is)."""
    text = CONFIGURATION.format(port=1883, root=pi).replace("127.0.0.1", "broker.invalid")
    (pi / "gateway.toml").write_text(text, encoding="utf-8")
    assert broker(load(pi / "gateway.toml")).failed in {"name", "timeout", "network"}


@given(st.dictionaries(st.sampled_from(sorted(PI)), st.binary(max_size=40)))
def test_whatever_the_files_hold_nothing_fails(
    tmp_path_factory: pytest.TempPathFactory, contents: dict[str, bytes]
) -> None:
    """A kernel that says something new is no reason to fail."""
    root = tmp_path_factory.mktemp("root")
    for name, content in contents.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    assert judge(gather(root / "nothing.toml", root))


@pytest.mark.parametrize(
    ("kind", "device", "expected"),
    [
        ("scanner", "/dev/ttyACM0", "/dev/ttyACM0"),
        ("nfc", "tty:USB0:pn532", "/dev/ttyUSB0"),
        ("nfc", "tty:/dev/serial/by-id/usb-a:pn532", "/dev/serial/by-id/usb-a"),
        ("nfc", "usb", None),
    ],
)
def test_the_device_of_a_reader(kind: str, device: str, expected: str | None) -> None:
    """Serial readers have a device file; those on USB are found by their vendor and product."""
    reader = ReaderSettings.model_validate({"name": "a", "kind": kind, "device": device, "touchpoint": "t"})
    found = device_of(reader)
    assert (found and str(found)) == expected


def test_what_a_service_sees_is_asked_of_systemd(pi: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that its root directory does not have is named, with the service; one that is bound into it is not."""
    for bound, hidden in ((pi, None), ("/elsewhere", UPLINK)):
        told = f"RootDirectory=/run/r\nBindPaths={bound}:{bound}:rbind\nBindReadOnlyPaths=/etc:/etc:rbind"
        asked: list[str] = []

        def say(*command: str, told: str = told, asked: list[str] = asked) -> str:
            asked.append(command[-1])
            return told

        monkeypatch.setattr(sys.modules[gather.__module__], "_said", say)
        state = [need for need in gather(pi / "gateway.toml").needs if need.name == "gateway.state"]
        assert [need.hidden_from for need in state] == [hidden]
        assert {f"{CAPTURE}.service", f"{UPLINK}.service"} <= set(asked)


def test_the_directories_of_a_file_are_looked_at(pi: Path) -> None:
    """The outermost first, each with who may enter it."""
    (need,) = (each for each in gather(pi / "gateway.toml", pi).needs if each.name == "gateway.state")
    assert [name for name, _ in need.within] == [str(each) for each in reversed((pi / "state").parents)]


def test_above_what_is_bound_nothing_is_looked_at(pi: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """systemd makes the directories above it; its name within is what counts, not where it comes from."""
    told = f"RootDirectory=/run/r\nBindPaths=/elsewhere:{pi}:rbind"
    monkeypatch.setattr(sys.modules[gather.__module__], "_said", lambda *_: told)
    (need,) = (each for each in gather(pi / "gateway.toml").needs if each.name == "gateway.state")
    assert need.hidden_from is None
    assert [name for name, _ in need.within] == [str(pi)]


def test_without_the_service_it_is_whoever_asks() -> None:
    """A machine without the services' users is judged as the user who asks finds it."""
    assert runs_as("touchpoint-nobody-at-all").name == runs_as("touchpoint-capture", Path("/elsewhere")).name


@pytest.mark.parametrize(
    ("error", "failed"),
    [
        (socket.gaierror(-2, "Name or service not known"), "name"),
        (TimeoutError("timed out"), "timeout"),
        (OSError(113, "No route to host"), "network"),
        (ssl.SSLError(1, "wrong version number"), "tls"),
        (ssl.SSLCertVerificationError("self-signed certificate"), "certificate"),
    ],
)
def test_each_way_to_fail_is_told(pi: Path, monkeypatch: pytest.MonkeyPatch, error: OSError, failed: str) -> None:
    """What keeps the gateway from the broker is told apart, since each has another fix."""

    def fails(*_: object) -> None:
        raise error

    if isinstance(error, ssl.SSLCertVerificationError):
        error.verify_message = "self-signed certificate"
    monkeypatch.setattr(socket, "create_connection", fails)
    seen = broker(load(pi / "gateway.toml"))
    assert seen.failed == failed
    assert judge(replace(gather(pi / "nothing.toml", pi), broker=seen))
