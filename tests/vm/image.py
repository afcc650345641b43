"""The simulated Pi's disk: Debian with its own kernel, BlueZ and time client, and the environment of the simulators.

Made with mmdebstrap and pip alone, as root, and kept under `build/vm` until its recipe changes. The package under test
is not in it: each run installs its own.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
CACHE = ROOT / "build" / "vm"
PYTHON = "/usr/bin/python3"
"""Of this machine's Debian, which the package is built for (systemd/debian/build)."""
SUITES = {"3.11": "bookworm", "3.13": "trixie"}
"""Debian by its Python."""
PACKAGES = (
    "systemd,systemd-sysv,systemd-timesyncd,udev,kmod,dbus,bluez,procps,python3,python3-venv,python3-evdev,"
    "libusb-1.0-0,linux-image-amd64"
)
MODULES = ("virtio_pci", "virtio_blk", "ext4")
"""In the initial RAM disk; everything else is loaded from the disk."""
SIMULATORS = "bumble==0.0.236"
SIZE = "2G"
QUIET_UNITS = (
    "apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer"
    " getty@tty1.service serial-getty@ttyS0.service systemd-binfmt.service systemd-pstore.service ldconfig.service"
    " modprobe@drm.service systemd-journal-catalog-update.service systemd-update-done.service"
)
"""What a guest that lives for a minute does not need."""
TIME = """[Time]
NTP=10.0.2.2
FallbackNTP=
ConnectionRetrySec=5
"""
HANDS = """[Unit]
Description=Hands of the test in this machine
After=dbus.service
[Service]
ExecStart=/opt/simulators/bin/python -m tests.vm.hands
Environment=PYTHONPATH=/mnt/share PYTHONDONTWRITEBYTECODE=1
ExecStartPre=mount -o ro /dev/vdb /mnt/share
StandardOutput=tty
StandardError=tty
TTYPath=/dev/ttyS0
[Install]
WantedBy=multi-user.target
"""


def image() -> Path:
    """Return the directory with `disk.img`, `vmlinuz` and `initrd.img`; make it unless it is there."""
    recipe = Path(__file__).read_bytes() + (ROOT / "requirements.lock").read_bytes() + suite().encode()
    directory = CACHE / hashlib.sha256(recipe).hexdigest()[:16]
    if not (directory / "disk.img").exists():
        _make(directory)
    return directory


def suite() -> str:
    """Return the Debian that has the Python of this machine's. Raises SystemExit if that is of none we know."""
    ask = "import sys; print('.'.join(map(str, sys.version_info[:2])))"
    found = subprocess.run([PYTHON, "-c", ask], check=True, capture_output=True, text=True).stdout.strip()
    if found not in SUITES:
        sys.exit(f"{PYTHON} is {found}; the package is tried in a Debian that has {' or '.join(SUITES)}")
    return SUITES[found]


def filesystem(tree: Path, disk: Path, size: str) -> None:
    """Write a directory into a new ext4 file system."""
    disk.unlink(missing_ok=True)
    _run("mkfs.ext4", "-q", "-F", "-E", "root_owner=0:0", "-d", tree, disk, size)


def _make(directory: Path) -> None:
    if os.geteuid() != 0:
        sys.exit("make vm-test builds a disk with mmdebstrap, which needs root: run it as root")
    shutil.rmtree(CACHE, ignore_errors=True)
    tree = CACHE / "tree"
    _say(f"Debian {suite()}")
    CACHE.mkdir(parents=True)
    _run("mmdebstrap", "--variant=minbase", "--skip=check/empty", "--quiet", f"--include={PACKAGES}",
         f"--essential-hook={_initrd_hook()}", suite(), tree)  # fmt: skip
    _say("simulators")
    wheels = tree / "wheels"
    constraints = CACHE / "constraints.txt"
    constraints.write_text(_pins(), encoding="utf-8")
    pip_wheel = (PYTHON, "-m", "pip", "wheel", "--quiet")
    _run(*pip_wheel, "--wheel-dir", wheels, "--constraint", constraints, SIMULATORS)
    _run("chroot", tree, "python3", "-m", "venv", "--system-site-packages", "/opt/simulators")
    _run(
        "chroot", tree, "/opt/simulators/bin/pip", "install", "--quiet", "--no-index", "--find-links=/wheels", "bumble"
    )
    shutil.rmtree(wheels)
    _say("disk")
    _settle(tree)
    new = CACHE / "new"
    new.mkdir()
    for name in ("vmlinuz", "initrd.img"):
        (kept,) = (tree / "boot").glob(f"{name}-*")
        shutil.copy(kept, new / name)
    filesystem(tree, new / "disk.img", SIZE)
    new.rename(directory)
    shutil.rmtree(tree)


def _initrd_hook() -> str:
    lines = "\\n".join(MODULES)
    directory = '"$1/etc/initramfs-tools'
    return (
        f"mkdir -p {directory}/conf.d\" && printf 'MODULES=list\\nCOMPRESS=gzip\\n' > {directory}/conf.d/list\""
        f" && printf '{lines}\\n' > {directory}/modules\""
    )


def _pins() -> str:
    """Return the versions of the lock file, without their hashes."""
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    return "\n".join(line.removesuffix(" \\") for line in lines if line and not line.startswith(" "))


def _settle(tree: Path) -> None:
    """Leave in the guest's files what makes it boot quickly, and the same each time."""
    units = tree / "etc" / "systemd" / "system"
    (units / "hands.service").write_text(HANDS, encoding="utf-8")
    wanted = units / "multi-user.target.wants"
    wanted.mkdir(parents=True, exist_ok=True)
    (wanted / "hands.service").symlink_to("../hands.service")
    for unit in QUIET_UNITS.split():
        (units / unit).unlink(missing_ok=True)
        (units / unit).symlink_to("/dev/null")
    (tree / "etc" / "modules-load.d" / "simulated.conf").write_text("hci_vhci\nuinput\n", encoding="utf-8")
    (tree / "etc" / "fstab").write_text("/dev/vda / ext4 rw,noatime 0 1\n", encoding="utf-8")
    (tree / "etc" / "machine-id").write_text("0123456789abcdef0123456789abcdef\n", encoding="utf-8")
    (tree / "etc" / "hostname").write_text("simulated-pi\n", encoding="utf-8")
    (tree / "etc" / "systemd" / "network").mkdir(parents=True, exist_ok=True)
    (tree / "etc" / "systemd" / "network" / "wired.network").write_text(
        "[Match]\nType=ether\n[Network]\nDHCP=yes\n", encoding="utf-8"
    )
    (tree / "etc" / "systemd" / "timesyncd.conf").write_text(TIME, encoding="utf-8")
    (wanted / "systemd-networkd.service").symlink_to("/lib/systemd/system/systemd-networkd.service")
    (tree / "mnt" / "share").mkdir()


def _say(step: str) -> None:
    print(f"image: {step}", file=sys.stderr, flush=True)  # noqa: T201 -- it takes a minute


def _run(*command: str | Path) -> None:
    subprocess.run(command, check=True)


if __name__ == "__main__":
    print(image())  # noqa: T201 -- it takes a minute
