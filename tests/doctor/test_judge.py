"""The doctor's judgement: what is wrong, what it means, and what to do, for facts that a machine may have."""

import ast
import inspect
import os
import re
import stat
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from gateway.cli.app import app
from gateway.doctor import Finding, Verdict, judge
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
    UsbReader,
    User,
)
from gateway.doctor.finding import needs_a_person
from gateway.doctor.judge import BUILT_MS, DAY_MS, may

NOW = BUILT_MS + 300 * DAY_MS
ME = User("touchpoint-capture", 990, frozenset({990, 20}))
STAFF = User("staff", 1000, frozenset({1000}))
FILE = Need("pseudonym.keys", "/etc/touchpoint/keys.json", 4, ME, Node(0o600, 990, 990, "touchpoint"), True, True)  # noqa: FBT003
DEVICE = Need("counter", "/dev/ttyACM0", 6, ME, Node(0o660, 0, 20, "dialout"), True, device=True)  # noqa: FBT003
RADIO = Bluetooth(("",), (Switch("hci0", soft=False, hard=False),), ("hci0",), {"hci0": True}, (5, 82), True)  # noqa: FBT003
WELL = Facts(
    Clock(NOW, synced=True, trusted=False, battery=True),
    needs=(FILE, DEVICE),
    usb=(UsbReader("Sony RC-S380", None),),
    usb_wanted=True,
    bluetooth=RADIO,
    disk=Disk("/var/lib/touchpoint", 10**10, 10**8, errors=0, wear=1),
    certificates=(Certificate("mqtt.certificate", NOW - DAY_MS, NOW + 100 * DAY_MS),),
    broker=Broker("broker.acme.example", 8883, encrypted=True),
    throttled=0,
    raspberry=True,
    zone="Europe/Zurich",
    zone_set=False,
    halves=Halves(capture=True, uplink=True),
    ring=(),
)

WRONG: dict[str, tuple[Facts, str, str]] = {
    "configuration": (replace(WELL, configuration=("gateway.toml:3: site is missing",)), "configuration", "check"),
    "not set up": (
        replace(WELL, configuration=("there is no file",), set_up=False),
        "configuration",
        "touchpoint setup",
    ),
    "no clock": (replace(WELL, clock=replace(WELL.clock, synced=False)), "clock", "123"),
    "another time client": (replace(WELL, clock=replace(WELL.clock, told=False)), "clock", "systemd-timesyncd"),
    "an old year": (replace(WELL, clock=replace(WELL.clock, now_ms=0), certificates=()), "clock", "timedatectl"),
    "undervoltage now": (replace(WELL, throttled=0x50005), "power", "supply"),
    "undervoltage before": (replace(WELL, throttled=0x50000), "power", "supply"),
    "heat": (replace(WELL, throttled=0x80008), "power", "heat sink"),
    "read-only": (replace(WELL, disk=replace(WELL.disk, read_only=True)), "disk", "dmesg"),  # type: ignore[type-var]
    "errors": (replace(WELL, disk=replace(WELL.disk, errors=3)), "disk", "backup"),  # type: ignore[type-var]
    "full": (replace(WELL, disk=replace(WELL.disk, free=10**6)), "disk", "limit_mb"),  # type: ignore[type-var]
    "worn": (replace(WELL, disk=replace(WELL.disk, wear=11)), "disk-wear", "replace"),  # type: ignore[type-var]
    "open key": (replace(WELL, needs=(replace(FILE, node=Node(0o644, 990, 990, "t")),)), "permissions", "chmod 600"),
    "not ours": (replace(WELL, needs=(replace(FILE, node=Node(0o600, 0, 0, "root")),)), "permissions", "chown touch"),
    "closed directory": (
        replace(
            WELL, needs=(replace(FILE, within=(("/", Node(0o755, 0, 0, "root")), ("/k", Node(0o700, 0, 0, "r")))),)
        ),
        "permissions",
        "chmod o+x /k",
    ),
    "hidden": (
        replace(WELL, needs=(replace(FILE, path="/root/keys.json", hidden_from="touchpoint-capture"),)),
        "permissions",
        "/etc/touchpoint",
    ),
    "hidden state": (
        replace(WELL, needs=(replace(FILE, name="gateway.state", hidden_from="touchpoint-capture"),)),
        "permissions",
        "/var/lib/touchpoint",
    ),
    "hidden device": (
        replace(WELL, needs=(replace(DEVICE, hidden_from="touchpoint-capture"),)),
        "permissions",
        "/dev",
    ),
    "a directory of its group": (
        replace(WELL, needs=(replace(FILE, within=(("/k", Node(0o701, 0, 20, "dialout")),)),)),
        "permissions",
        "chmod g+x /k",
    ),
    "no state": (replace(WELL, needs=(Need("gateway.state", "/s", 7, ME, None, False),)), "permissions", "install -d"),  # noqa: FBT003
    "not plugged in": (replace(WELL, needs=(replace(DEVICE, node=None, there=False),)), "readers", "by-id"),
    "no group": (
        replace(WELL, needs=(replace(DEVICE, user=STAFF, node=Node(0o660, 0, 21, "tty")),)),
        "udev",
        "usermod -aG tty",
    ),
    "no rule": (replace(WELL, needs=(replace(DEVICE, node=Node(0o600, 0, 0, "root")),)), "udev", "udevadm"),
    "libusb": (replace(WELL, libusb=False), "usb", "libusb-1.0-0"),
    "no NFC reader": (replace(WELL, usb=()), "usb", "lsusb"),
    "kernel's driver": (replace(WELL, usb=(UsbReader("Sony RC-S380", "port100"),)), "usb", "rmmod port100"),
    "blocked": (replace(WELL, bluetooth=replace(RADIO, switches=(Switch("hci0", True, False),))), "rfkill", "unblock"),  # noqa: FBT003
    "switched": (replace(WELL, bluetooth=replace(RADIO, switches=(Switch("hci0", True, True),))), "rfkill", "switch"),  # noqa: FBT003
    "no adapter": (replace(WELL, bluetooth=replace(RADIO, adapters=())), "adapter", "disable-bt"),
    "another adapter": (replace(WELL, bluetooth=replace(RADIO, wanted=("hci1",))), "adapter", "hci0"),
    "powered off": (replace(WELL, bluetooth=replace(RADIO, powered={"hci0": False})), "adapter", "power on"),
    "no BlueZ": (replace(WELL, bluetooth=replace(RADIO, powered=None)), "bluez", "enable --now bluetooth"),
    "old BlueZ": (replace(WELL, bluetooth=replace(RADIO, bluez=(5, 55))), "bluez", "Debian 12"),
    "BlueZ trap": (replace(WELL, bluetooth=replace(RADIO, bluez=(5, 87))), "bluez", "upgrade"),
    "addresses on disk": (replace(WELL, bluetooth=replace(RADIO, cache_in_memory=False)), "bluetooth-cache", "mount"),
    "no ring": (replace(WELL, ring=None), "keys", "derive"),
    "ring ends": (replace(WELL, ring=("epoch 2026Q4 ends soon",)), "keys", "touchpoint keys"),
    "expired": (replace(WELL, clock=replace(WELL.clock, now_ms=NOW + 101 * DAY_MS)), "certificate", "--renew"),
    "expires soon": (replace(WELL, clock=replace(WELL.clock, now_ms=NOW + 80 * DAY_MS)), "certificate", "--renew"),
    "not yet valid": (replace(WELL, clock=replace(WELL.clock, now_ms=NOW - 2 * DAY_MS)), "certificate", "timedatectl"),
    "UTC": (replace(WELL, zone=None), "time-zone", "time_zone ="),
    "capture stopped": (
        replace(WELL, halves=Halves(capture=False, uplink=True)),
        "running",
        "start touchpoint-capture",
    ),
    "it says so": (replace(WELL, halves=Halves(True, True, {"broker": "not authorized"})), "reported", "status"),  # noqa: FBT003
    **{
        failed: (replace(WELL, broker=Broker("b.example", 8883, True, failed, "why")), "broker", "")  # noqa: FBT003
        for failed in ("name", "refused", "timeout", "certificate", "tls", "network")
    },
}

names = st.text("abc/-. ", max_size=8)
nodes = st.builds(Node, st.integers(0, 0o777), st.integers(0, 3), st.integers(0, 3), names)
users = st.builds(User, names, st.integers(0, 3), st.frozensets(st.integers(0, 3), max_size=3))
anything = st.builds(
    Facts,
    st.builds(Clock, st.integers(0, 2**42), st.none() | st.booleans(), st.booleans(), st.booleans(), st.booleans()),
    configuration=st.tuples(names) | st.just(()),
    needs=st.lists(
        st.builds(
            Need,
            names,
            names,
            st.integers(0, 7),
            users,
            st.none() | nodes,
            st.none() | st.booleans(),
            st.booleans(),
            st.booleans(),
            st.lists(st.tuples(names, nodes), max_size=2).map(tuple),
            st.none() | names,
        ),
        max_size=3,
    ).map(tuple),
    usb=st.lists(st.builds(UsbReader, names, st.sampled_from([None, "port100", "cdc_acm"])), max_size=2).map(tuple),
    libusb=st.booleans(),
    usb_wanted=st.booleans(),
    bluetooth=st.builds(
        Bluetooth,
        st.lists(st.sampled_from(["", "hci0", "AA:BB:CC:DD:EE:FF"]), max_size=2).map(tuple),
        st.lists(st.builds(Switch, names, st.booleans(), st.booleans()), max_size=2).map(tuple),
        st.lists(st.sampled_from(["hci0", "hci1"]), max_size=2).map(tuple),
        st.none() | st.dictionaries(st.sampled_from(["hci0", "hci1"]), st.booleans()),
        st.none() | st.tuples(st.integers(4, 6), st.integers(0, 99)),
        st.none() | st.booleans(),
    ),
    disk=st.none()
    | st.builds(
        Disk,
        names,
        st.integers(0, 2**40),
        st.integers(0, 2**40),
        st.booleans(),
        st.none() | st.integers(0, 9),
        st.none() | st.integers(1, 11),
    ),
    certificates=st.lists(st.builds(Certificate, names, st.integers(0, 2**42), st.integers(0, 2**42)), max_size=2).map(
        tuple
    ),
    broker=st.none()
    | st.builds(
        Broker,
        names,
        st.integers(1, 65535),
        st.booleans(),
        st.none() | st.sampled_from(["name", "refused", "timeout", "certificate", "tls", "network", "else"]),
        st.text(max_size=9),
    ),
    throttled=st.none() | st.integers(0, 2**32 - 1),
    raspberry=st.booleans(),
    zone_set=st.booleans(),
    zone=st.none() | names,
    halves=st.none()
    | st.builds(
        Halves, st.none() | st.booleans(), st.none() | st.booleans(), st.dictionaries(names, st.text(), max_size=2)
    ),
    ring=st.none() | st.tuples(names) | st.just(()),
)


def wrong(facts: Facts) -> list[Finding]:
    """Return what needs a person."""
    return [finding for finding in judge(facts) if finding.verdict is Verdict.WRONG]


def test_a_gateway_that_is_well_needs_nobody() -> None:
    """Every check says that all is fine, and none says nothing."""
    findings = judge(WELL)
    assert {finding.verdict for finding in findings} == {Verdict.FINE}
    assert len({finding.check for finding in findings}) >= 10


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_said_with_its_fix(name: str) -> None:
    """One thing is wrong: it is found by the check of its name, with what it means and what to do, and nothing else."""
    facts, check, fix = WRONG[name]
    found = wrong(facts)
    assert [finding.check for finding in found] == [check]
    assert fix in found[0].fix
    assert found[0].means or check == "keys"


@pytest.mark.parametrize(
    ("facts", "check"),
    [(replace(WELL, ring=None, ring_forbidden=True), "keys"), (Facts(WELL.clock, forbidden=True), "configuration")],
)
def test_what_a_user_may_not_read_is_neither_wrong_nor_fine(facts: Facts, check: str) -> None:
    """It is unknown, and who could tell is said."""
    found = [each for each in judge(facts) if each.check in {"keys", "configuration"} and each.fix]
    assert [(each.check, each.verdict) for each in found] == [(check, Verdict.UNKNOWN)]
    assert "sudo" in found[0].fix


@given(anything)
def test_every_fact_can_be_judged(facts: Facts) -> None:
    """Whatever a machine is like, it is judged: each finding says something, and what is wrong how to fix it."""
    findings = judge(facts)
    assert all(finding.what for finding in findings if finding.check not in {"configuration", "keys"})
    assert all(finding.fix for finding in findings if finding.verdict is Verdict.WRONG)
    assert needs_a_person(findings) == any(finding.verdict is Verdict.WRONG for finding in findings)


@given(anything)
def test_a_judgement_depends_on_the_facts_alone(facts: Facts) -> None:
    """The same facts are judged alike."""
    assert judge(facts) == judge(facts)


@given(st.integers(0, 0o777), st.sampled_from([4, 2, 1, 6, 7]))
def test_permissions_are_those_of_the_system(tmp_path_factory: pytest.TempPathFactory, mode: int, bits: int) -> None:
    """For the owner of a file, what is decided here is what access(2) says; root may whatever it likes."""
    file = Path(tmp_path_factory.getbasetemp(), "file")
    file.touch()
    file.chmod(mode)
    seen = file.stat()
    node = Node(stat.S_IMODE(seen.st_mode), seen.st_uid, seen.st_gid, "")
    me = User("me", os.geteuid(), frozenset({os.getegid()}))
    if os.geteuid() != 0:
        assert may(me, node, bits) == os.access(file, bits)
    assert may(replace(me, uid=0), node, bits)


@pytest.mark.parametrize(
    ("mode", "uid", "groups", "expected"),
    [
        (0o600, 5, frozenset(), True),
        (0o060, 5, frozenset({7}), False),
        (0o060, 6, frozenset({7}), True),
        (0o006, 6, frozenset({7}), False),
        (0o006, 6, frozenset({8}), True),
    ],
)
def test_the_first_that_fits_decides(mode: int, uid: int, groups: frozenset[int], *, expected: bool) -> None:
    """An owner whom the owner's bits forbid is not helped by those of the group (POSIX)."""
    assert may(User("", uid, groups), Node(mode, 5, 7, ""), 6) is expected


def test_what_cannot_be_looked_at_needs_nobody() -> None:
    """Without root some things stay unknown: that is said, and is no reason for alarm."""
    facts = replace(WELL, needs=(replace(FILE, node=None, there=None),), halves=Halves(None, None))
    assert not wrong(facts)
    assert [finding.check for finding in judge(facts) if finding.verdict is Verdict.UNKNOWN] == [
        "permissions",
        "running",
        "running",
    ]


def test_without_beacons_nobody_asks_for_bluetooth() -> None:
    """A gateway with scanners alone may have no adapter."""
    assert not wrong(replace(WELL, bluetooth=Bluetooth()))


def test_a_key_ring_that_is_a_credential_is_no_fault() -> None:
    """Whoever asks cannot read it, and the service can."""
    found = [each for each in judge(replace(WELL, ring=None, ring_sealed=True)) if each.check == "keys"]
    assert [each.verdict for each in found] == [Verdict.NOTE]


def test_a_fix_names_what_there_is_on_a_device() -> None:
    """Commands of ours that exist, and nothing of the repository: a store has the package."""
    source = ast.parse(inspect.getsource(sys.modules[judge.__module__]))
    texts = [each.value for each in ast.walk(source) if isinstance(each, ast.Constant) and isinstance(each.value, str)]
    named = {words for text in texts for words in re.findall(r"touchpoint ((?:[a-z]+ ?)+)", text)}
    known = typer.main.get_command(app).commands  # type: ignore[attr-defined]  # it is a group
    assert {words for words in named if words.split()[0] not in known} == set()
    assert [text for text in texts if re.search(r"(?<![/\w])(systemd|config|tests|firmware-notes)/", text)] == []
