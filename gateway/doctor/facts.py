"""What the doctor knows of a machine. None stands for what could not be found out."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class User:
    """Whom a half runs as."""

    name: str
    uid: int
    groups: frozenset[int]


@dataclass(frozen=True, slots=True)
class Node:
    """Owner and permissions of a file, directory or device (stat(2)); `mode` are the nine bits."""

    mode: int
    uid: int
    gid: int
    group: str


@dataclass(frozen=True, slots=True)
class Need:
    """Something that a half must be able to use: `bits` of 4 (read), 2 (write), 1 (search) at a path."""

    name: str
    """What it is to the gateway: a setting, or a reader."""
    path: str
    bits: int
    user: User
    node: Node | None
    there: bool | None
    """None: it may be there, and we may not look."""
    secret: bool = False
    device: bool = False
    within: tuple[tuple[str, Node], ...] = ()
    """The directories in which it lies, the outermost first, as far as they can be looked at."""
    hidden_from: str | None = None
    """The service whose root directory does not have it."""


@dataclass(frozen=True, slots=True)
class UsbReader:
    """An NFC reader on USB that nfcpy can drive, by vendor and product; and the kernel's driver that holds it."""

    product: str
    driver: str | None
    id: str = ""
    """Vendor and product, as 054c:06c3."""


@dataclass(frozen=True, slots=True)
class Switch:
    """A radio switch of the kernel (rfkill)."""

    name: str
    soft: bool
    hard: bool


@dataclass(frozen=True, slots=True)
class Bluetooth:
    """Bluetooth as the configured readers need it; `wanted` are adapters by name, "" for any."""

    wanted: tuple[str, ...] = ()
    switches: tuple[Switch, ...] = ()
    adapters: tuple[str, ...] = ()
    powered: Mapping[str, bool] | None = None
    """By adapter, as BlueZ says over D-Bus; None when it does not answer."""
    bluez: tuple[int, int] | None = None
    cache_in_memory: bool | None = None


@dataclass(frozen=True, slots=True)
class Disk:
    """The file system of the state directory; sizes in octets, `wear` in tenths of the flash's life that are used."""

    path: str
    free: int
    needed: int
    """What the gateway may still grow by."""
    read_only: bool = False
    errors: int | None = None
    wear: int | None = None


@dataclass(frozen=True, slots=True)
class Certificate:
    """From when until when a certificate is valid (Unix milliseconds), and the setting that names it."""

    setting: str
    from_ms: int
    until_ms: int


@dataclass(frozen=True, slots=True)
class Broker:
    """What a connection to the broker came to, without logging in: that would take the session from the gateway."""

    host: str
    port: int
    encrypted: bool
    failed: str | None = None
    """One of name, refused, timeout, certificate, tls, network; None when it stood."""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Clock:
    """The wall clock (Unix milliseconds) and where its time comes from."""

    now_ms: int
    synced: bool | None
    trusted: bool
    battery: bool
    """Whether there is a clock that runs without power."""
    told: bool = True
    """Whether the services, which may not ask the kernel, learn that it is synced."""


@dataclass(frozen=True, slots=True)
class Halves:
    """Which halves run, and what they say is wrong with them."""

    capture: bool | None
    uplink: bool | None
    wrong: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that was found out."""

    clock: Clock
    configuration: tuple[str, ...] = ()
    """What is wrong with it, ready to be read."""
    set_up: bool = True
    """Whether there is a configuration at all."""
    forbidden: bool = False
    """This user may not read the configuration."""
    warnings: tuple[str, ...] = ()
    needs: tuple[Need, ...] = ()
    usb: tuple[UsbReader, ...] = ()
    libusb: bool = True
    usb_wanted: bool = False
    bluetooth: Bluetooth = Bluetooth()
    disk: Disk | None = None
    certificates: tuple[Certificate, ...] = ()
    broker: Broker | None = None
    throttled: int | None = None
    """What a Raspberry Pi's firmware says of its power (get_throttled); None on another machine."""
    raspberry: bool = False
    zone_set: bool = True
    zone: str | None = None
    """The device's time zone."""
    halves: Halves | None = None
    ring: tuple[str, ...] | None = None
    """What is wrong with the key ring; None when there is none, or it cannot be read."""
    ring_sealed: bool = False
    """The key ring is a credential, which the service alone can read."""
    ring_forbidden: bool = False
    """This user may not read it."""
