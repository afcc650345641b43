"""A clean Debian, made with mmdebstrap, in which the package is installed with dpkg and no network. Needs root."""

import os
import shutil
import subprocess
from pathlib import Path

from tests.package.built import version
from tests.vm.image import suite

DEPENDS = "systemd,udev,python3,libusb-1.0-0"
LEFT = "find / -xdev -name '*touchpoint*' -not -path '/proc/*' -not -path '/var/lib/dpkg/*' -not -path '/mnt/*'"
VERSION = 'from importlib.metadata import version; print(version("touchpoint-gateway"))'
OFFLINE = ("unshare", "--net", "--mount", "chroot")


def lintian(package: Path) -> str:
    """Have Debian's own checker find no error. Raises AssertionError."""
    said = subprocess.run(
        ["lintian", "--allow-root", "--fail-on", "error", package], capture_output=True, text=True, check=False
    )
    assert said.returncode == 0, said.stdout
    warnings = {line.split()[2] for line in said.stdout.splitlines() if line.startswith("W:")}
    return f"no error, {len(warnings)} kinds of warning"


def installed(package: Path, root: Path) -> str:
    """Install the package in a new Debian, and run what it has brought. Raises CalledProcessError, AssertionError."""
    if os.geteuid() != 0:
        raise PermissionError("mmdebstrap and chroot need root: run it as root")
    made = ("mmdebstrap", "--variant=minbase", "--quiet", f"--include={DEPENDS}", suite(), root)
    subprocess.run(made, check=True, capture_output=True)
    shutil.copy(package, root / "mnt" / "package.deb")
    said = inside(root, "dpkg --install /mnt/package.deb 2>&1")
    assert "Next: touchpoint setup" in said, said
    inside(root, "systemd-analyze verify --man=no touchpoint.target")
    inside(root, "getent passwd touchpoint-capture touchpoint-uplink && getent group touchpoint")
    assert inside(root, "readlink /opt/touchpoint/current").strip() == version(package)
    enabled = inside(root, "ls /etc/systemd/system/multi-user.target.wants /etc/systemd/system/touchpoint.target.wants")
    assert {"touchpoint.target", "touchpoint-capture.service", "touchpoint-uplink.service"} <= set(enabled.split())
    inside(root, "cp /usr/share/doc/touchpoint-gateway/examples/gateway.toml /etc/touchpoint/")
    assert "capture" in inside(root, "touchpoint --help")
    said = inside(root, f"/opt/touchpoint/current/bin/python -c '{VERSION}'").strip()
    assert said == version(package).partition("-")[0], said
    return f"touchpoint-gateway {said}"


def upgraded(package: Path, newer: Path, root: Path) -> str:
    """Upgrade it there, and have dpkg refuse the way back. Raises ChildProcessError, AssertionError."""
    shutil.copy(package, root / "mnt" / "package.deb")
    shutil.copy(newer, root / "mnt" / "newer.deb")
    inside(root, "dpkg --install /mnt/newer.deb 2>&1")
    there = inside(root, "ls /opt/touchpoint; readlink /opt/touchpoint/current; ls /var/lib").split()
    assert there.count(version(newer)) == 2, str(there)
    assert not {version(package), "touchpoint-kept"} & set(there), str(there)
    assert "capture" in inside(root, "touchpoint --help")
    said = inside(root, "! dpkg --install /mnt/package.deb 2>&1")
    assert "an older gateway cannot read" in said, said
    assert inside(root, "dpkg-query --show --showformat '${Version} ${Status}' touchpoint-gateway").split() == [
        version(newer), "install", "ok", "installed"
    ]  # fmt: skip
    return f"{version(newer)}, and not back"


def purged(root: Path) -> str:
    """Purge it, and find nothing that it has left. Raises CalledProcessError, AssertionError."""
    inside(root, "dpkg --purge touchpoint-gateway")
    left = inside(root, LEFT).split()
    assert not left, ", ".join(left)
    assert inside(root, "getent passwd | grep touchpoint || true") == ""
    return "nothing left"


def inside(root: Path, command: str) -> str:
    """Run a command in the chroot, without a network, that must succeed; return what it says."""
    command = f"mount -t proc proc /proc && {command}"  # gone with the namespace
    said = subprocess.run([*OFFLINE, root, "sh", "-c", command], capture_output=True, text=True, check=False)
    if said.returncode != 0:
        raise ChildProcessError(f"{command}: {said.stdout}{said.stderr}")
    return said.stdout
