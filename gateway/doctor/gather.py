"""Finding the facts out: the kernel's files below a root (`/`; another in tests), BlueZ over D-Bus, the broker.

Nothing is changed, nobody is logged in anywhere, and no error ends it: what cannot be found out is None.
"""

import ctypes
import os
import re
import socket
import ssl
import stat
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from gateway.clock import Clock as Now
from gateway.clock import kernel_says_synced
from gateway.config import (
    ConfigError,
    Problem,
    ReaderSettings,
    Settings,
    key_that_fits,
    load,
    password,
    tls_problems,
    validities,
    warnings,
)
from gateway.doctor.bluez import powered
from gateway.doctor.facts import (
    Bluetooth,
    Broker,
    Certificate,
    Clock,
    Disk,
    Facts,
    Halves,
    Need,
    Node,
    Switch,
    User,
)
from gateway.doctor.usb import usb_readers
from gateway.doctor.users import runs_as
from gateway.handover import not_ours
from gateway.keys import forbidden, key_files, key_ring, ring_warnings, sealed
from gateway.language import said
from gateway.store.database import StoreError, is_held
from gateway.store.progress import Followed, components

READ, WRITE, SEARCH = 4, 2, 1
CAPTURE, UPLINK = "touchpoint-capture", "touchpoint-uplink"
SYNCHRONIZED = "run/systemd/timesync/synchronized"
"""What systemd-timesyncd leaves when it has synced (systemd-timesyncd.service(8))."""
MADE_BY_SYSTEMD = ("/dev", "/run/credentials")
"""What a service sees in a root directory of its own without being named (systemd.exec(5))."""
PATIENCE = 5.0
"""Seconds for the broker, and for a command."""
FIRMWARE = "sys/devices/platform/*/*firmware/get_throttled"
"""soc/soc:firmware, or another parent on newer models (drivers/firmware/raspberrypi.c makes the file)."""
_SERIAL = re.compile(r"tty:([^:]+(?::[^:]+)*?):(?:pn532|arygon)")


def gather(path: Path, root: Path = Path("/")) -> Facts:
    """Find out everything about a gateway with this configuration; without one that can be read, about the machine."""
    try:
        settings = load(path)
    except ConfigError as error:
        told = tuple(each.told(said) for each in error.problems)
        if forbidden(path):
            return replace(_machine(root, None), forbidden=True)
        return replace(_machine(root, None), configuration=told, set_up=_is_there(path))
    return replace(
        _machine(root, settings),
        configuration=tuple(
            each.told(said) for each in [*_not_ours(settings), *tls_problems(settings), *_no_password(settings)]
        ),
        warnings=tuple(map(said, warnings(settings))),
        needs=tuple(_needs(settings, root)),
        bluetooth=_bluetooth(settings.readers, root),
        usb_wanted=any(each.kind == "nfc" and each.device.startswith("usb") for each in settings.readers),
        certificates=tuple(Certificate(each.setting, each.from_ms, each.until_ms) for each in validities(settings)),
        broker=broker(settings),
        halves=_halves(settings),
        ring=_ring(settings),
        ring_sealed="pseudonym.keys" in sealed(settings),
        ring_forbidden=forbidden(settings.pseudonym.path),
    )


def _told_of_time(root: Path) -> bool:
    """Tell whether the services could know that the clock is synced; where there are none, whoever runs it asks."""
    return runs_as(CAPTURE, root).name != CAPTURE or (root / SYNCHRONIZED).exists()


def _is_there(path: Path) -> bool:
    """Tell whether there is such a file, also where we may not look for it."""
    try:
        path.stat()
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return True


def _machine(root: Path, settings: Settings | None) -> Facts:
    clock = Now()
    trusted = settings is not None and settings.clock.source == "trusted"
    battery = any((root / "sys/class/rtc").glob("rtc*"))
    model = _text(root / "proc/device-tree/model") or ""
    return Facts(
        Clock(clock.now().wall_ms, kernel_says_synced(), trusted, battery, _told_of_time(root)),
        usb=tuple(usb_readers(root)),
        libusb=_loads("libusb-1.0.so.0"),
        disk=None if settings is None else _disk(settings, root),
        throttled=_hexadecimal(next(map(_text, root.glob(FIRMWARE)), None)),
        raspberry="Raspberry" in model,
        zone_set=settings is None or settings.gateway.time_zone is not None,
        zone=_zone(root),
    )


def _not_ours(settings: Settings) -> list[Problem]:
    with suppress(OSError):  # among the permissions it is said that this could not be looked at
        return not_ours(settings)
    return []


def _no_password(settings: Settings) -> list[Problem]:
    try:
        password(settings)
    except ConfigError as error:
        return error.problems
    return []


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip("\0\n ")
    except OSError:
        return None


def _hexadecimal(text: str | None) -> int | None:
    return int(text, 16) if text and re.fullmatch(r"(0x)?[0-9a-fA-F]{1,8}", text) else None


def _decimal(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdecimal() else None


def _zone(root: Path) -> str | None:
    """Return the device's time zone, as /etc/localtime links to it (localtime(5)); without the link it is UTC."""
    try:
        link = str((root / "etc/localtime").readlink())
    except OSError:
        return None
    return link.partition("zoneinfo/")[2] or None


def _needs(settings: Settings, root: Path) -> Iterator[Need]:
    """List what each half must be able to use."""
    capture, uplink = runs_as(CAPTURE, root), runs_as(UPLINK, root)
    seen = {service: _seen(service, root) for service in (CAPTURE, UPLINK)}
    for need in _wanted(settings, capture, uplink):
        path, service = Path(need.path).absolute(), UPLINK if need.user == uplink else CAPTURE
        bound = max((each for each in seen[service] if path.is_relative_to(each)), key=len, default=None)
        hidden = service if seen[service] and bound is None else None
        yield replace(need, within=tuple(_within(path, bound or "/")), hidden_from=hidden)


def _seen(service: str, root: Path) -> list[str]:
    """Return below which directories a service sees what is there; empty if it sees everything, or is not there."""
    names = ("RootDirectory", "BindPaths", "BindReadOnlyPaths")
    asked = (word for name in names for word in ("-p", name))
    told = _said("systemctl", "show", *asked, f"{service}.service") if root == Path("/") else None
    shown = dict(line.split("=", 1) for line in (told or "").splitlines() if "=" in line)
    if not shown.get("RootDirectory"):
        return []
    bound = f"{shown.get('BindPaths', '')} {shown.get('BindReadOnlyPaths', '')}".split()
    return [*MADE_BY_SYSTEMD, *([*each.split(":"), ""][1] or each for each in bound)]


def _within(path: Path, top: str) -> Iterator[tuple[str, Node]]:
    """Look at the directories above a path, from `top` on: what is above a bind is systemd's own in there."""
    for directory in reversed(path.parents):
        if directory.is_relative_to(top):
            with suppress(OSError):
                yield str(directory), _node(directory.stat())


def _wanted(settings: Settings, capture: User, uplink: User) -> Iterator[Need]:
    gateway, mqtt = settings.gateway, settings.mqtt
    for path, name in {gateway.sockets: "gateway.runtime", gateway.state: "gateway.state"}.items():
        yield from (_need(name, path, READ | WRITE | SEARCH, user) for user in dict.fromkeys((capture, uplink)))
    for name, path in key_files(settings).items():
        if _is_there(path) or name in {"sun.keys", "ble.beacons"}:  # what else is missing is said elsewhere
            user = uplink if name.startswith("mqtt.") else capture
            yield replace(_need(name, path, READ, user), secret=True)
    for name, public in (("mqtt.ca", mqtt.ca), ("mqtt.certificate", mqtt.certificate)):
        if public is not None and _is_there(public):
            yield _need(name, public, READ, uplink)
    for reader in settings.readers:
        if (device := device_of(reader)) is not None:
            yield replace(_need(reader.name, device, READ | WRITE, capture), device=True)


def device_of(reader: ReaderSettings) -> Path | None:
    """Return the device file of a reader; None if it has none."""
    if reader.kind == "scanner":
        return Path(reader.device)
    serial = _SERIAL.fullmatch(reader.device) if reader.kind == "nfc" else None
    if serial is None:
        return None
    return Path(serial[1]) if serial[1].startswith("/") else Path("/dev", f"tty{serial[1]}")


def _need(name: str, path: Path, bits: int, user: User) -> Need:
    try:
        seen = path.stat()
    except FileNotFoundError:
        return Need(name, str(path), bits, user, None, there=False)
    except OSError:
        return Need(name, str(path), bits, user, None, there=None)
    return Need(name, str(path), bits, user, _node(seen), there=True)


def _node(seen: os.stat_result) -> Node:
    return Node(stat.S_IMODE(seen.st_mode) & 0o777, seen.st_uid, seen.st_gid, _group(seen.st_gid))


def _group(gid: int) -> str:
    import grp  # noqa: PLC0415  # reads a database that a container may not have

    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def _bluetooth(readers: Iterable[ReaderSettings], root: Path) -> Bluetooth:
    wanted = tuple(reader.adapter for reader in readers if reader.kind == "ble")
    if not wanted:
        return Bluetooth()
    adapters = tuple(sorted(path.name for path in (root / "sys/class/bluetooth").glob("hci*") if ":" not in path.name))
    return Bluetooth(wanted, tuple(_switches(root)), adapters, powered(), _bluez(), _in_memory(root))


def _switches(root: Path) -> Iterator[Switch]:
    """List the radio switches of Bluetooth (Documentation/ABI/stable/sysfs-class-rfkill)."""
    for path in sorted((root / "sys/class/rfkill").glob("rfkill*")):
        if _text(path / "type") == "bluetooth":
            soft, hard = (_text(path / name) == "1" for name in ("soft", "hard"))
            yield Switch(_text(path / "name") or path.name, soft, hard)


def _bluez() -> tuple[int, int] | None:
    """Ask for the version of BlueZ: it does not say so over D-Bus."""
    for command in ("bluetoothctl", "/usr/libexec/bluetooth/bluetoothd"):
        found = re.search(r"(\d+)\.(\d+)", _said(command, "--version") or "")
        if found:
            return int(found[1]), int(found[2])
    return None


def _said(*command: str) -> str | None:
    """Run a command that only says something."""
    with suppress(OSError, subprocess.SubprocessError):
        ran = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=True)  # noqa: S603  # ours
        return ran.stdout
    return None


def _mounts(root: Path) -> dict[str, tuple[str, str, str]]:
    """Return what is mounted where: device, type and options (proc(5), /proc/self/mounts)."""
    fields = [line.split(" ") for line in (_text(root / "proc/self/mounts") or "").splitlines()]
    return {each[1]: (each[0], each[2], each[3]) for each in fields if len(each) > 3}  # noqa: PLR2004  # its fields


def _in_memory(root: Path) -> bool | None:
    mounts = _mounts(root)
    if not mounts:
        return None
    return mounts.get("/var/lib/bluetooth", ("", "", ""))[1] in {"tmpfs", "ramfs"}


def _disk(settings: Settings, root: Path) -> Disk | None:
    gateway = settings.gateway
    try:
        seen = os.statvfs(gateway.state if gateway.state.exists() else gateway.state.parent)
        used = sum(path.stat().st_size for path in gateway.state.glob("capture.db*"))
    except OSError:
        return None
    device = _mounted(gateway.state.resolve(), root)
    free, limit = seen.f_bavail * seen.f_frsize, gateway.limit_mb * 1024 * 1024
    read_only = bool(seen.f_flag & os.ST_RDONLY)
    errors = _decimal(_text(root / "sys/fs/ext4" / device / "errors_count")) if device else None
    return Disk(str(gateway.state), free, max(limit - used, 0), read_only, errors, _wear(device, root))


def _mounted(path: Path, root: Path) -> str | None:
    """Return the name of the block device on which a path lies, as `mmcblk0p2`."""
    mounts = _mounts(root)
    at = next((str(each) for each in (path, *path.parents) if str(each) in mounts), None)
    device = mounts[at][0] if at else ""
    return Path(device).name if device.startswith("/dev/") else None


def _wear(device: str | None, root: Path) -> int | None:
    """Return how many tenths of its life a flash memory has used, as eMMC says (JEDEC JESD84-B51, 7.4.33)."""
    disk = re.match(r"mmcblk\d+", device or "")
    told = _text(root / "sys/block" / disk[0] / "device/life_time") if disk else None
    worst = max((_hexadecimal(part) or 0 for part in (told or "").split()), default=0)
    return worst or None


def broker(settings: Settings) -> Broker:
    """Connect to the broker, shake hands where it is encrypted, and leave."""
    mqtt = settings.mqtt
    said = partial(Broker, mqtt.host, mqtt.port, mqtt.ca is not None)
    try:
        _connect(settings)
    except OSError as error:
        return said(*_failure(error))
    return said()


def _failure(error: OSError) -> tuple[str, str]:
    """Return what kind of failure it was, and what is known about it."""
    match error:
        case ssl.SSLCertVerificationError():
            return "certificate", error.verify_message
        case ssl.SSLError():
            return "tls", getattr(error, "reason", None) or ""  # not every error of the module has one
        case socket.gaierror():
            return "name", ""
        case ConnectionRefusedError():
            return "refused", ""
        case TimeoutError():
            return "timeout", ""
        case _:
            return "network", error.strerror or ""


def _connect(settings: Settings) -> None:
    mqtt = settings.mqtt
    with socket.create_connection((mqtt.host, mqtt.port), PATIENCE) as plain:
        if mqtt.ca is not None:
            context = ssl.create_default_context(cafile=str(mqtt.ca))
            if mqtt.certificate is not None:
                key = key_that_fits(mqtt.certificate, mqtt.key)
                context.load_cert_chain(mqtt.certificate, key, password="")
            with context.wrap_socket(plain, server_hostname=mqtt.host):
                pass


def _halves(settings: Settings) -> Halves:
    state = settings.gateway.state
    return Halves(is_held(state, "capture"), is_held(state, "uplink"), _told(settings))


def _told(settings: Settings) -> dict[str, str]:
    """Return what the uplink half has written down as wrong."""
    with suppress(StoreError), closing(Followed(settings.gateway.state)) as followed:
        connection = followed.connection()
        parts = components(connection) if connection else {}
        return {name: part.reason or "failed" for name, part in parts.items() if not part.ok and name != "certificate"}
    return {}


def _ring(settings: Settings) -> tuple[str, ...] | None:
    try:
        ring = key_ring(settings)
    except (ConfigError, OSError):
        return None
    return None if ring is None else tuple(map(said, ring_warnings(ring, Now().now().wall_ms)))
