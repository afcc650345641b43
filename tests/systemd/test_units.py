"""The units, as systemd itself reads them."""

import subprocess
import sys
from pathlib import Path

import pytest

UNITS = Path(__file__).parents[2] / "systemd"
PROGRAM = "/opt/touchpoint/bin/touchpoint"


@pytest.mark.parametrize("name", ["touchpoint-capture.service", "touchpoint-uplink.service", "var-lib-bluetooth.mount"])
def test_systemd_finds_nothing_wrong(name: str, tmp_path: Path) -> None:
    """No unknown key, no unknown value; only the program is another one here."""
    unit = tmp_path / name
    unit.write_text((UNITS / name).read_text(encoding="utf-8").replace(PROGRAM, sys.executable), encoding="utf-8")
    said = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, check=False, timeout=50
    )
    assert [line for line in (said.stdout + said.stderr).splitlines() if name in line] == []


def test_the_network_half_sees_no_keys_and_the_other_no_network() -> None:
    """What is promised about the halves stands in their units."""
    capture, uplink = (
        (UNITS / f"touchpoint-{half}.service").read_text(encoding="utf-8").splitlines()
        for half in ("capture", "uplink")
    )
    assert {"PrivateNetwork=yes", "RestrictAddressFamilies=AF_UNIX"} <= set(capture)
    (hidden,) = [line for line in uplink if line.startswith("InaccessiblePaths=")]
    assert {"-/etc/touchpoint/keys.json", "-/var/lib/touchpoint/device.key"} <= set(hidden.partition("=")[2].split())
    assert "PrivateDevices=yes" in uplink
