"""From facts to findings: pure, so that what is wrong with a machine can be tried without one."""

from collections.abc import Callable, Iterator

from gateway.config import EXPIRES_DAYS
from gateway.doctor.facts import Broker, Certificate, Facts, Need, Node, Switch, User
from gateway.doctor.finding import Finding, Verdict
from gateway.language import _, said
from gateway.sentence import sentence

FINE, NOTE, UNKNOWN, WRONG = Verdict.FINE, Verdict.NOTE, Verdict.UNKNOWN, Verdict.WRONG
REINSTALL = "apt install --reinstall ./touchpoint-gateway_*.deb"
"""Brings back what the package installs: udev rules, modprobe.d, units."""
SERVICE = "touchpoint-capture"
"""Whose devices are, by the udev rules: a group would give it more than its readers."""
OLDEST_BLUEZ = (5, 66)
"""What Debian 12 has; older ones were not tried."""
TRAPS = {
    (5, 78): "https://github.com/bluez/bluez/issues/967",
    (5, 87): "https://github.com/bluez/bluez/issues/2282",
}
"""Releases of BlueZ in which scans fail on some adapters, or in which a scan by service brings bluetoothd down."""
BUILT_MS = 1_767_225_600_000
"""2026-01-01: no clock of a gateway is right that shows less."""
DAY_MS = 86_400_000
WORN = 9
"""Tenths of a flash's life (JEDEC eMMC, DEVICE_LIFE_TIME_EST: 0x0A is 90 to 100 %, 0x0B beyond)."""
UNDERVOLTAGE, THROTTLED, HOT = 0x1, 0x6, 0x8
SINCE_BOOT = 16
"""Shift from what is now to what has been since the start, in get_throttled."""

SEARCH = 1
"""Of a directory's permissions (stat(2))."""

SEEN_TO_WRITE = {"gateway.state": "/var/lib/touchpoint", "gateway.runtime": "/run/touchpoint"}
"""Where the services see what they write, by their units."""
AS_ROOT = sentence("Run it as root: sudo touchpoint doctor")

Judgement = Callable[[Facts], Iterator[Finding]]


def judge(facts: Facts) -> list[Finding]:
    """Return what is to be said, in the order in which it should be put right."""
    return [finding for check in CHECKS for finding in check(facts)]


def may(user: User, node: Node, bits: int) -> bool:
    """Tell whether a user may do this with a file: the first of owner, group and others that fits decides (POSIX)."""
    if user.uid == 0:
        return True
    shift = 6 if user.uid == node.uid else 3 if node.gid in user.groups else 0
    return node.mode >> shift & bits == bits


def configuration(facts: Facts) -> Iterator[Finding]:
    """Judge the file, and what it names."""
    if facts.forbidden:
        yield Finding("configuration", UNKNOWN, _("The configuration cannot be read by this user."), "", said(AS_ROOT))
        return
    mend, make = _("Put it right in the file, then: touchpoint check"), "touchpoint setup"
    fix = mend if facts.set_up else make
    means = _("The gateway does not start with it.")
    yield from (Finding("configuration", WRONG, each, means, fix) for each in facts.configuration)
    yield from (Finding("configuration", NOTE, each) for each in facts.warnings)
    if not facts.configuration:
        yield Finding("configuration", FINE, _("The configuration can be used."))


def permissions(facts: Facts) -> Iterator[Finding]:
    """Judge files, directories and devices, as the user of each half finds them."""
    found = [finding for need in facts.needs if (finding := _permission(need))]
    yield from found
    if facts.needs and not found:
        yield Finding("permissions", FINE, _("Every file, directory and device can be used by who needs it."))


def _permission(need: Need) -> Finding | None:
    if need.there is None:
        what = _("{name}: {path} cannot be looked at by this user.").format(name=need.name, path=need.path)
        return Finding("permissions", UNKNOWN, what, "", said(AS_ROOT))
    if need.node is None:
        return _missing(need)
    if out_of_reach := _out_of_reach(need):
        return out_of_reach
    if not may(need.user, need.node, need.bits):
        return _forbidden(need, need.node)
    if need.secret and need.node.mode & 0o077:
        what = _("{name}: others than its owner can read or change {path}.").format(name=need.name, path=need.path)
        means = _("Whoever has an account on this device can take the secret in it.")
        return Finding("permissions", WRONG, what, means, f"chmod 600 {need.path}")
    return None


def _missing(need: Need) -> Finding:
    what = _("{name}: there is no {path}.").format(name=need.name, path=need.path)
    if need.device:
        means = _("Nothing is read there; other readers go on.")
        fix = _("Plug it in, and compare with: ls -l /dev/serial/by-id /dev/input/by-id")
        return Finding("readers", WRONG, what, means, fix)
    if need.secret:
        means = _("What needs it does not work, such as naming a subject in events.")
        return Finding(
            "permissions", NOTE, what, means, _("Put it there, for {user} alone.").format(user=need.user.name)
        )
    means = _("The gateway cannot start.")
    return Finding("permissions", WRONG, what, means, f"install -d -m 2770 -o {need.user.name} {need.path}")


def _out_of_reach(need: Need) -> Finding | None:
    """Judge where it lies, whatever its own permissions."""
    if need.hidden_from:
        return _hidden(need, need.hidden_from)
    closed = next(((name, node) for name, node in need.within if not may(need.user, node, SEARCH)), None)
    if closed is None:
        return None
    directory, node = closed
    what = _("{name}: {user} may not enter {directory}.")
    told = what.format(name=need.name, user=need.user.name, directory=directory)
    who = "u" if need.user.uid == node.uid else "g" if node.gid in need.user.groups else "o"
    return Finding("permissions", WRONG, told, _("The half that needs it cannot start."), f"chmod {who}+x {directory}")


def _hidden(need: Need, service: str) -> Finding:
    what = _("{name}: {path} is where the service {service} sees nothing.")
    told = what.format(name=need.name, path=need.path, service=service)
    if need.device:
        means, fix = _("Nothing is read there; other readers go on."), _("Name it by its path below /dev.")
        return Finding("permissions", WRONG, told, means, fix)
    place = SEEN_TO_WRITE.get(need.name, "/etc/touchpoint")
    fix = _("Have it in {place}, and name it so in the configuration.").format(place=place)
    return Finding("permissions", WRONG, told, _("The half that needs it cannot start."), fix)


def _forbidden(need: Need, node: Node) -> Finding:
    what = _("{name}: {user} may not use {path}.").format(name=need.name, user=need.user.name, path=need.path)
    if need.device:
        means = _("Nothing is read there; other readers go on.")
        in_group = User(need.user.name, -1, frozenset({node.gid}))
        if need.user.name != SERVICE and node.gid and may(in_group, node, need.bits):
            return Finding("udev", WRONG, what, means, f"usermod -aG {node.group} {need.user.name}")
        fix = f"{REINSTALL}; udevadm control --reload; udevadm trigger"
        return Finding("udev", WRONG, what, means, fix)
    means = _("The half that needs it cannot start.")
    return Finding("permissions", WRONG, what, means, f"chown {need.user.name} {need.path}")


def usb(facts: Facts) -> Iterator[Finding]:
    """Judge NFC readers on USB."""
    if not facts.usb_wanted:
        return
    if not facts.libusb:
        what, means = _("libusb is missing."), _("NFC readers on USB cannot be opened.")
        yield Finding("usb", WRONG, what, means, "apt install libusb-1.0-0")
    if not facts.usb:
        what = _("There is no NFC reader on USB that is known.")
        yield Finding("usb", WRONG, what, _("No tag is read."), _("Plug it in, and look for it with: lsusb"))
    for each in facts.usb:
        if each.driver in {"port100", "pn533_usb"}:
            what = _("The kernel's driver {driver} holds the NFC reader {product}.")
            fix = f"{REINSTALL}; rmmod {each.driver}"
            told = what.format(driver=each.driver, product=each.product)
            yield Finding("usb", WRONG, told, _("No tag is read."), fix)
        else:
            yield Finding("usb", FINE, _("The NFC reader {product} is there.").format(product=each.product))


def bluetooth(facts: Facts) -> Iterator[Finding]:
    """Judge switches, adapters, and BlueZ; nothing where no reader needs them."""
    if not facts.bluetooth.wanted:
        return
    yield from (finding for switch in facts.bluetooth.switches if (finding := _blocked(switch)))
    yield from _adapters(facts)
    yield from _bluez(facts.bluetooth.bluez)
    if facts.bluetooth.cache_in_memory is False:
        what = _("BlueZ keeps the addresses of devices that it hears on the disk, in /var/lib/bluetooth.")
        means = _("Some of them belong to customers' phones.")
        fix = "systemctl enable --now var-lib-bluetooth.mount"
        yield Finding("bluetooth-cache", WRONG, what, means, fix)


def _blocked(switch: Switch) -> Finding | None:
    means = _("No beacon is heard.")
    if switch.hard:
        what = _("{name} is switched off by a switch of the device.").format(name=switch.name)
        return Finding("rfkill", WRONG, what, means, _("Look for a switch or a setting of the firmware."))
    if switch.soft:
        what = _("{name} is blocked.").format(name=switch.name)
        return Finding("rfkill", WRONG, what, means, "rfkill unblock bluetooth")
    return None


def _adapters(facts: Facts) -> Iterator[Finding]:
    seen, means = facts.bluetooth, _("No beacon is heard.")
    if not seen.adapters:
        what = _("There is no Bluetooth adapter.")
        fix = _("Plug one in; on a Raspberry Pi look that config.txt has no dtoverlay=disable-bt.")
        yield Finding("adapter", WRONG, what, means, fix)
        return
    if seen.powered is None:
        what = _("BlueZ does not answer.")
        yield Finding("bluez", WRONG, what, means, "systemctl enable --now bluetooth")
        return
    for name in seen.wanted:
        at = [each for each in seen.adapters if name in {"", each}]
        if not at and not name.count(":"):
            what = _("There is no adapter {name}.").format(name=name)
            fix = _("Name one of these in its [[reader]]: {names}").format(names=", ".join(seen.adapters))
            yield Finding("adapter", WRONG, what, means, fix)
        elif at and not any(seen.powered.get(each) for each in at):
            what = _("The Bluetooth adapter {name} is switched off.").format(name=at[0])
            yield Finding("adapter", WRONG, what, means, "bluetoothctl power on")
        else:
            yield Finding("adapter", FINE, _("A Bluetooth adapter is there and switched on."))


def _bluez(version: tuple[int, int] | None) -> Iterator[Finding]:
    if version is None:
        yield Finding("bluez", UNKNOWN, _("The version of BlueZ could not be found out."), "", "bluetoothctl --version")
        return
    named = ".".join(map(str, version))
    if version < OLDEST_BLUEZ:
        what = _("BlueZ is {version}, older than any that was tried.").format(version=named)
        means = _("Beacons may be heard too rarely, or not at all.")
        yield Finding("bluez", WRONG, what, means, _("Upgrade to Debian 12 or later."))
    elif version in TRAPS:
        what = _("BlueZ is {version}, which has a known fault: {link}").format(version=named, link=TRAPS[version])
        means = _("Scans can fail, or bluetoothd crash; the gateway begins again each time.")
        yield Finding("bluez", WRONG, what, means, "apt update && apt install --only-upgrade bluez")
    else:
        yield Finding("bluez", FINE, _("BlueZ is {version}.").format(version=named))


def broker(facts: Facts) -> Iterator[Finding]:
    """Judge whether the broker can be reached, without logging in."""
    seen = facts.broker
    if seen is None:
        return
    where = {"host": seen.host, "port": seen.port}
    if seen.failed is None:
        said = _("The broker {host}:{port} answers; its certificate is good.")
        plain = _("The broker {host}:{port} answers, unencrypted.")
        yield Finding("broker", FINE, (said if seen.encrypted else plain).format(**where))
        return
    means = _("Events wait here until it can be reached; none is lost.")
    what, fix = _unreachable(seen)
    yield Finding("broker", WRONG, what.format(**where, detail=seen.detail), means, fix.format(**where))


def _unreachable(seen: Broker) -> tuple[str, str]:
    said = {
        "name": (_("The name {host} cannot be resolved."), _("Look at mqtt.host, and at DNS: getent hosts {host}")),
        "refused": (
            _("{host} refuses connections at port {port}."),
            _("Look at mqtt.port, and whether the broker runs; a firewall may refuse too."),
        ),
        "timeout": (
            _("{host}:{port} does not answer."),
            _("Look at the network and its firewall: nc -vz {host} {port}"),
        ),
        "certificate": (
            _("The certificate of {host} is not believed: {detail}."),
            _("Name the authority that signed it with mqtt.ca, and the host as it stands in the certificate."),
        ),
        "tls": (
            _("No encrypted connection to {host}:{port} could be made: {detail}."),
            _("Look whether that port speaks TLS (8883), and at mqtt.certificate."),
        ),
    }
    other = _("{host}:{port} cannot be reached: {detail}."), _("Look at the network: ip route; ping {host}")
    return said.get(seen.failed or "", other)


def certificates(facts: Facts) -> Iterator[Finding]:
    """Judge from when until when the certificates hold."""
    yield from (_dates(each, facts.clock.now_ms) for each in facts.certificates)


def _dates(each: Certificate, now_ms: int) -> Finding:
    days = (each.until_ms - now_ms) // DAY_MS
    means = _("The broker cannot be reached with it; events wait here.")
    renew = _(
        "Have it renewed: touchpoint setup --renew makes the request, touchpoint setup --certificate FILE imports it"
    )
    fix = renew if each.setting == "mqtt.certificate" else _("Have the authority's new certificate, and put it there.")
    if now_ms < each.from_ms:
        what = _("{setting} is not valid yet.").format(setting=each.setting)
        return Finding("certificate", WRONG, what, means, _("Look at the clock first: timedatectl"))
    if now_ms >= each.until_ms:
        return Finding("certificate", WRONG, _("{setting} has expired.").format(setting=each.setting), means, fix)
    what = _("{setting} is valid for {days} more days.").format(setting=each.setting, days=days)
    if days < EXPIRES_DAYS:
        return Finding("certificate", WRONG, what, _("After that the broker cannot be reached."), fix)
    return Finding("certificate", FINE, what)


def clock(facts: Facts) -> Iterator[Finding]:
    """Judge whether the time is right: consents are only looked up by a clock that can be believed."""
    seen, means = facts.clock, _("No subject is named in events until the clock is right.")
    if seen.now_ms < BUILT_MS:
        what = _("The clock shows a year that is long gone.")
        yield Finding("clock", WRONG, what, means, "timedatectl set-ntp true")
    elif seen.trusted:
        yield Finding("clock", NOTE, _("The configuration says that the clock is right; nobody looks whether it is."))
    elif seen.synced is None:
        what = _("Whether the clock is synced could not be found out.")
        yield Finding("clock", UNKNOWN, what, "", "timedatectl timesync-status")
    elif not seen.synced:
        what = _("The clock is not synced.")
        fix = _("timedatectl set-ntp true; let UDP port 123 out, or name the store's own server in timesyncd.conf")
        yield Finding("clock", WRONG, what, means, fix)
    elif not seen.told:
        what = _("The clock is synced, but not by systemd-timesyncd, from which the services would learn it.")
        fix = _('apt install systemd-timesyncd; or in the configuration: [clock] source = "trusted"')
        yield Finding("clock", WRONG, what, means, fix)
    else:
        yield Finding("clock", FINE, _("The clock is synced."))
    if not seen.battery and not seen.trusted:
        what = _("This device has no clock that runs without power.")
        yield Finding("clock", NOTE, what, _("After a power cut without a network no subject is named."))


def time_zone(facts: Facts) -> Iterator[Finding]:
    """Judge where the days begin that touchpoints are counted by."""
    if facts.zone_set:
        yield Finding("time-zone", FINE, _("The store's time zone is set."))
    elif facts.zone in {None, "UTC", "Etc/UTC"}:
        what = _("The device's time zone is UTC, and the configuration names none for the store.")
        means = _("Days of the report begin at midnight in UTC, not in the store.")
        fix = _('In [gateway] of the configuration: time_zone = "Europe/Zurich" (or yours)')
        yield Finding("time-zone", WRONG, what, means, fix)
    else:
        yield Finding("time-zone", FINE, _("The device's time zone is {zone}.").format(zone=facts.zone))


def disk(facts: Facts) -> Iterator[Finding]:
    """Judge room, damage and wear."""
    seen = facts.disk
    if seen is None:
        yield Finding("disk", UNKNOWN, _("The disk could not be looked at."), "", "df -h")
        return
    if seen.read_only:
        what, means = _("The disk is mounted read-only."), _("Nothing can be recorded.")
        yield Finding("disk", WRONG, what, means, _("Look for errors of the card: dmesg; then restart, or replace it."))
    if seen.errors:
        what = _("The file system has recorded errors: {count}.").format(count=seen.errors)
        fix = _("Have it checked at the next start (fsck.mode=force), and have another card ready: touchpoint backup")
        yield Finding("disk", WRONG, what, _("What is recorded may be damaged soon."), fix)
    if seen.free < seen.needed:
        what = _("{free} MB are free at {path}; the gateway may grow by {needed} MB.")
        told = what.format(free=seen.free // 10**6, path=seen.path, needed=seen.needed // 10**6)
        means = _("Without a broker events go, the least worthy first, before the limit is reached.")
        yield Finding("disk", WRONG, told, means, _("Free some space, or lower gateway.limit_mb."))
    else:
        yield Finding("disk", FINE, _("{free} MB are free.").format(free=seen.free // 10**6))
    yield from _wear(seen.wear)


def _wear(wear: int | None) -> Iterator[Finding]:
    if wear is None:
        what = _("This disk does not say how worn it is, as SD cards do not.")
        yield Finding("disk-wear", NOTE, what, _("Cards fail without a warning: keep a backup."), "touchpoint backup")
    elif wear > WORN:
        what = _("At least {percent} % of the flash memory's life are used.").format(percent=10 * (wear - 1))
        yield Finding("disk-wear", WRONG, what, _("It may fail soon."), _("touchpoint backup; then replace it."))
    else:
        what = _("At most {percent} % of the flash memory's life are used.").format(percent=10 * wear)
        yield Finding("disk-wear", FINE, what)


def power(facts: Facts) -> Iterator[Finding]:
    """Judge what the firmware of a Raspberry Pi says of its supply and its temperature."""
    bits = facts.throttled
    if bits is None:
        if facts.raspberry:
            yield Finding(
                "power", UNKNOWN, _("The firmware does not say how the power is."), "", "vcgencmd get_throttled"
            )
        return
    ever = bits | bits >> SINCE_BOOT
    if ever & UNDERVOLTAGE:
        what = _("The voltage is too low.") if bits & UNDERVOLTAGE else _("The voltage was too low since the start.")
        means = _("Readers vanish, and cards are damaged.")
        fix = _("Take the power supply that is made for this Raspberry Pi, and a short cable.")
        yield Finding("power", WRONG, what, means, fix)
    if ever & HOT:
        what = _("The processor is or was too hot.")
        fix = _("Give it a heat sink, or more air.")
        yield Finding("power", WRONG, what, _("It is slowed down; scans answer later."), fix)
    elif ever & THROTTLED and not ever & UNDERVOLTAGE:
        yield Finding("power", NOTE, _("The processor is or was slowed down."))
    if not ever & (UNDERVOLTAGE | HOT | THROTTLED):
        yield Finding("power", FINE, _("The power supply is strong enough."))


def keys(facts: Facts) -> Iterator[Finding]:
    """Judge the key ring, without which nobody is named."""
    means = _("No event names a subject.")
    if facts.ring_sealed:
        yield Finding("keys", NOTE, _("The key ring is a credential of systemd, which only the service can read."))
        return
    if facts.ring_forbidden:
        yield Finding("keys", UNKNOWN, _("The key ring cannot be looked at by this user."), "", said(AS_ROOT))
        return
    if facts.ring is None:
        if not facts.needs:
            return  # without a configuration nobody knows where it would be
        what = _("There is no key ring that can be read.")
        fix = _("Have it derived at the trust service (touchpoint keys derive), and bring it here.")
        yield Finding("keys", WRONG, what, means, fix)
        return
    for wrong in facts.ring:
        yield Finding("keys", WRONG, wrong, "", _("See touchpoint keys --help"))
    if not facts.ring:
        yield Finding("keys", FINE, _("The key ring has a key for now, and for what comes."))


def halves(facts: Facts) -> Iterator[Finding]:
    """Judge whether the gateway runs, and what it says itself."""
    seen = facts.halves
    if seen is None:
        return
    for name, runs in (("capture", seen.capture), ("uplink", seen.uplink)):
        if runs is None:
            what = _("Whether the {name} half runs could not be found out.").format(name=name)
            yield Finding("running", UNKNOWN, what, "", f"systemctl status touchpoint-{name}")
        elif runs:
            yield Finding("running", FINE, _("The {name} half runs.").format(name=name))
        else:
            what = _("The {name} half does not run.").format(name=name)
            means = _("Nothing is read.") if name == "capture" else _("Nothing is sent; events wait.")
            yield Finding("running", WRONG, what, means, f"systemctl start touchpoint-{name}")
    for name, reason in seen.wrong.items():
        what = f"{name}: {said(reason)}"
        yield Finding("reported", WRONG, what, _("The gateway says so itself."), "touchpoint status")


CHECKS: tuple[Judgement, ...] = (
    configuration,
    clock,
    power,
    disk,
    permissions,
    usb,
    bluetooth,
    keys,
    certificates,
    broker,
    time_zone,
    halves,
)
