"""The units, as systemd itself reads them."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

UNITS = Path(__file__).parents[2] / "systemd"
PROGRAM = "/opt/touchpoint/current/bin/touchpoint"
EXPOSED = {"capture": 0.5, "uplink": 1.0}
"""By `systemd-analyze security`, of 10. Debian's mosquitto.service: 9.6."""


def unit(half: str) -> dict[str, list[str]]:
    """Return what stands in the unit of a half, by key: all its values, in order."""
    found: dict[str, list[str]] = {}
    for line in (UNITS / f"touchpoint-{half}.service").read_text(encoding="utf-8").splitlines():
        if "=" in line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found.setdefault(key, []).extend(value.split())
    return found


def test_systemd_finds_nothing_wrong(tmp_path: Path) -> None:
    """No unknown key, no unknown value, no unit that is missing; only the program is another one here."""
    for path in UNITS.iterdir():
        if path.suffix in {".service", ".target", ".timer", ".mount"}:
            text = path.read_text(encoding="utf-8").replace(PROGRAM, "/bin/true")
            (tmp_path / path.name.replace("@.", "@capture.")).write_text(text, encoding="utf-8")
    said = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *sorted(tmp_path.iterdir())],
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    assert [line for line in (said.stdout + said.stderr).splitlines() if "touchpoint" in line] == []


@pytest.mark.parametrize("half", EXPOSED)
def test_a_half_is_hardly_exposed(half: str, tmp_path: Path) -> None:
    """The score of systemd itself, which CI holds."""
    path = tmp_path / f"touchpoint-{half}.service"
    shutil.copy(UNITS / path.name, path)
    said = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", path], capture_output=True, text=True, check=False, timeout=50
    )
    found = re.search(r"exposure level for \S+: ([0-9.]+)", said.stdout + said.stderr)
    assert found is not None, said.stderr
    assert float(found[1]) <= EXPOSED[half]


def test_capture_has_no_network_and_uplink_neither_keys_nor_devices() -> None:
    """What is promised about the halves stands in their units."""
    capture, uplink = unit("capture"), unit("uplink")
    assert (capture["PrivateNetwork"], capture["IPAddressDeny"]) == (["yes"], ["any"])
    assert not {"AF_INET", "AF_INET6"} & set(capture["RestrictAddressFamilies"])
    assert uplink["PrivateDevices"] == ["yes"]
    assert (uplink["SocketBindDeny"], uplink["SocketBindAllow"]) == (["any"], ["tcp:9464"])
    hidden = {path.lstrip("-+") for path in uplink["InaccessiblePaths"]}
    assert {"/etc/touchpoint/keys.json", "/etc/credstore.encrypted", "/var/lib/touchpoint/device.key"} <= hidden
    assert "/var/lib/touchpoint-capture" in capture["BindPaths"]
    assert "/var/lib/touchpoint-capture" not in uplink["BindPaths"]
    assert not [name for name in uplink["LoadCredentialEncrypted"] if "key" in name or "sun" in name]


@pytest.mark.parametrize("half", EXPOSED)
def test_a_half_is_watched_bounded_and_leaves_no_copy_of_its_memory(half: str) -> None:
    """READY and watchdog, start limits, no restart with a wrong configuration; no dump, no swap, a limit of memory."""
    said = unit(half)
    assert said["Type"] == ["notify"]
    assert said["RestartPreventExitStatus"] == ["78"]
    assert {"WatchdogSec", "StartLimitIntervalSec", "StartLimitBurst", "MemoryMax", "TasksMax"} <= said.keys()
    assert (said["LimitCORE"], said["MemorySwapMax"], said["UMask"]) == (["0"], ["0"], ["0077"])


def test_a_half_that_failed_is_tried_again_however_often() -> None:
    """The timer is over once it has fired, so that the next failure can start it."""
    timer = (UNITS / "touchpoint-again@.timer").read_text(encoding="utf-8")
    assert "\nRemainAfterElapse=no\n" in timer
    assert "OnFailure=touchpoint-again@capture.timer" in (UNITS / "touchpoint-capture.service").read_text(
        encoding="utf-8"
    )


def test_udev_takes_the_rules() -> None:
    """Each line is a rule that names its device, and an owner or a property of it."""
    rules = (UNITS / "touchpoint.udev.rules").read_text(encoding="utf-8").splitlines()
    given = [line for line in rules if line and not line.startswith("#")]
    assert len(given) == 6
    assert all(re.fullmatch(r'SUBSYSTEM=="\w+"(, [\w{}]+=="[^"]+")+, [\w{}]+="[\w-]+"', line) for line in given)
