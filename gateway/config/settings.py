"""The settings: frozen models of the configuration's tables.

They are also its documentation: `config/gateway.toml` is generated from them (see `gateway.config.sample`).
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationInfo,
    field_validator,
    model_validator,
)

from gateway.config.problem import wrong
from gateway.config.rules import ENOUGH_BITS, bearer_bits, is_host, is_name, loopback, prefix_fault, socket_fault
from gateway.config.secret import secret_path
from gateway.core.contract import Topics
from gateway.core.event import Channel
from gateway.core.purpose import IRI
from gateway.sentence import sentence

PLAIN, TLS = 1883, 8883
"""The registered ports of MQTT (IANA: mqtt, secure-mqtt)."""


def _name(value: str) -> str:
    if not is_name(value):
        raise ValueError(sentence("must be 1 to 64 letters, digits, '.', '_' or '-', the first a letter or digit"))
    return value


def _beside(value: object, info: ValidationInfo) -> object:
    """Take a relative path from the directory of the configuration file."""
    if not isinstance(value, str):
        return value
    if not value or "\0" in value:
        raise ValueError(sentence("must be a path"))
    return (info.context or {}).get("directory", Path()) / value


def _file_or_credential(value: str, info: ValidationInfo) -> str:
    return str(_beside(value, info)) if "/" in value or not value else value


def _nfc_device(value: str) -> str:
    """Accept what nfcpy can open. Its PN532 driver hands the port to a shell, so its characters are counted out."""
    if not _NFC_DEVICE.fullmatch(value):
        raise wrong(
            sentence("is no NFC reader"),
            sentence('for example "usb", "tty:USB0:pn532" or "tty:/dev/serial/by-id/usb-...:pn532"'),
        )
    return value


def _host(value: str) -> str:
    if not is_host(value):
        raise wrong(
            sentence("is no name or address of a host"),
            sentence('neither mqtt:// nor a port stands in it, for example host = "broker.acme.example"'),
        )
    return value


def _listen(value: str) -> str:
    """Accept what no other machine can reach."""
    if value not in {"socket", "off"} and loopback(value) is None:
        raise wrong(
            sentence("is no address of this machine alone with a port"),
            sentence('for example "127.0.0.1:9464"; or "socket"'),
        )
    return value


_NFC_DEVICE: Final = re.compile(
    r"usb|usb:[0-9a-f]{4}(:[0-9a-f]{4})?|tty:([A-Za-z0-9]+|/[A-Za-z0-9_./:+@-]+):(pn532|arygon)|udp:[A-Za-z0-9.-]+:[0-9]+"
)
"""USB by vendor and product, a serial port with its driver, nfcpy's driver for tests."""

KEYBOARDS: Final = "/dev/input/"


def is_keyboard(device: str) -> bool:
    """Tell whether a device's path is one of the kernel's input devices."""
    return device.startswith(KEYBOARDS)


Name = Annotated[str, AfterValidator(_name)]
File = Annotated[Path, BeforeValidator(_beside)]
FileOrCredential = Annotated[str, AfterValidator(_file_or_credential)]
Label = Annotated[str, Field(min_length=1, max_length=128)]
Domain = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$")]
Parameter = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.~-]{1,32}$")]
"""Of a link: characters that are never percent-encoded (RFC 3986, 2.3)."""


class _Table(BaseModel):
    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        hide_input_in_errors=True,
        allow_inf_nan=False,
        validate_default=True,
        use_attribute_docstrings=True,
    )


class GatewaySettings(_Table):
    """Who this gateway is, and where it keeps its files."""

    tenant: Name = Field(examples=["acme"])
    """The brand, as in the topics."""
    site: Name = Field(examples=["zrh-1"])
    """The store, as in the topics."""
    id: Name = Field(examples=["gw-1"])
    """This gateway; unique within the tenant."""
    state: File = Path("/var/lib/touchpoint")
    """Directory of the databases. A relative path starts at this file."""
    runtime: File | None = Field(default=None, examples=["/run/touchpoint"])
    """Directory of the sockets; default: the same as state."""
    private: File | None = Field(default=None, examples=["/var/lib/touchpoint-capture"])
    """Directory of what the capture half keeps from the uplink half: its own key; default: the same as state."""
    time_zone: str | None = Field(default=None, examples=["Europe/Zurich"])
    """The store's time zone, in which the days begin that touchpoints report about; default: the device's."""
    limit_mb: Annotated[int, Field(ge=16)] = 512
    """How far the outbox may grow, in megabytes."""
    group: Label | None = Field(default=None, examples=["touchpoint"])
    """Members of this Unix group may use the commands that ask the running gateway."""

    @field_validator("runtime")
    @classmethod
    def _short_enough(cls, runtime: Path | None, info: ValidationInfo) -> Path | None:
        sockets = runtime or info.data.get("state")
        if sockets and (fault := socket_fault(sockets)):
            raise wrong(fault, sentence('set a short one: runtime = "/run/touchpoint"'))
        return runtime

    @field_validator("time_zone")
    @classmethod
    def _known(cls, time_zone: str | None) -> str | None:
        try:
            ZoneInfo("UTC" if time_zone is None else time_zone)
        except (ValueError, OSError, ZoneInfoNotFoundError):
            raise wrong(
                sentence("is no time zone known here"), sentence('for example "Europe/Zurich"; Debian: package tzdata')
            ) from None
        return time_zone

    @property
    def zone(self) -> ZoneInfo | None:
        """The store's time zone; None is the device's."""
        return None if self.time_zone is None else ZoneInfo(self.time_zone)

    @property
    def sockets(self) -> Path:
        """The directory of the sockets."""
        return self.runtime or self.state

    @property
    def topics(self) -> Topics:
        """The topics of this gateway."""
        return Topics(self.tenant, self.site, self.id)


class MqttSettings(_Table):
    """The broker to which events go."""

    host: Annotated[str, AfterValidator(_host)] = Field(examples=["broker.acme.example"])
    """Name or address of the broker."""
    ca: File | None = Field(default=None, examples=["/etc/touchpoint/ca.pem"])
    """Certificates of the authorities that may have signed the broker's. Without it the connection is not encrypted."""
    port: Annotated[int, Field(ge=1, le=65535)] = Field(
        default_factory=lambda settings: PLAIN if settings.get("ca") is None else TLS, examples=[TLS]
    )
    """Default: 8883 with ca, else 1883."""
    certificate: File | None = Field(default=None, examples=["/etc/touchpoint/gateway.pem"])
    """This gateway's certificate, for mutual TLS."""
    key: File | None = Field(default=None, examples=["/etc/touchpoint/gateway.key"])
    """The private key of the certificate."""
    username: Label | None = Field(default=None, examples=["gw-1"])
    """For brokers that ask for a name and a password."""
    password_file: FileOrCredential | None = Field(default=None, examples=["/etc/touchpoint/mqtt.password"])
    """A file that holds the password, or the name of a systemd credential."""
    client_id: Label | None = Field(default=None, examples=["acme-zrh-1-gw-1"])
    """Default: the id of the gateway."""
    keepalive: Annotated[int, Field(ge=5, le=65535)] = 15
    """Seconds after which a silent connection is tried; half as many again, and it counts as dead."""
    delivery: Literal["puback", "receipt"] = "puback"
    """An event is delivered when the broker has it (puback), or when the centre says it is stored (receipt)."""
    batch: Annotated[int, Field(ge=1, le=1000)] = 500
    """So many waiting events may travel in one message; 1 switches batching off."""
    batch_bytes: Annotated[int, Field(ge=4096, le=1_048_576)] = 65_536
    """So long may a message with several events be."""
    protocol: Literal["5", "3.1.1"] = "5"
    """MQTT 3.1.1 only for brokers that cannot do 5, and only with delivery = "receipt"."""

    @field_validator("certificate")
    @classmethod
    def _certificate_with_ca(cls, certificate: Path | None, info: ValidationInfo) -> Path | None:
        if certificate is not None and info.data.get("ca", certificate) is None:
            raise wrong(sentence("is of no use without ca"), sentence("name the authority of the broker: mqtt.ca"))
        return certificate

    @field_validator("key")
    @classmethod
    def _key_with_certificate(cls, key: Path | None, info: ValidationInfo) -> Path | None:
        if key is not None and info.data.get("certificate", key) is None:
            raise wrong(sentence("is of no use without its certificate"), sentence("name it with mqtt.certificate"))
        return key

    @field_validator("password_file")
    @classmethod
    def _password_with_name(cls, file: str | None, info: ValidationInfo) -> str | None:
        if file is not None and info.data.get("username", file) is None:
            raise wrong(sentence("is of no use without a name"), sentence("say who logs in with mqtt.username"))
        return file

    @field_validator("protocol")
    @classmethod
    def _refusals_show(cls, protocol: str, info: ValidationInfo) -> str:
        if protocol == "3.1.1" and info.data.get("delivery") == "puback":
            what = sentence("a PUBACK of MQTT 3.1.1 cannot refuse, so a refused event would count as delivered")
            raise wrong(what, sentence('set delivery = "receipt", or protocol = "5"'))
        return protocol


class PseudonymSettings(_Table):
    """The keys under which customers' tokens become pseudonyms."""

    keys: FileOrCredential = "/etc/touchpoint/keys.json"
    """The key ring of this site (touchpoint keys derive): a file, or the name of a systemd credential."""

    @property
    def path(self) -> Path | None:
        """Where the ring lies; None for a credential in a process that systemd gave none."""
        return secret_path(self.keys)


class LinksSettings(_Table):
    """The brand's links in tags and codes."""

    domain: Domain | None = Field(default=None, examples=["id.acme.example"])
    """The domain under which they are written, in lower case."""
    other_domains: Annotated[tuple[Domain, ...], Field(strict=False)] = Field(
        default=(), examples=[("www.acme.example",)]
    )
    """Further domains of the brand: with a domain, touchpoints have links of these alone."""

    signing_keys: FileOrCredential | None = Field(default=None, examples=["/etc/touchpoint/links.json"])
    """The keys that sign them (touchpoint codes key): a file, or the name of a systemd credential. With keys, a
    link under the domain that names a touchpoint counts only with its signature."""

    unsigned: bool = False
    """Links without a signature count too: for tags and codes from before there were keys."""

    @property
    def path(self) -> Path | None:
        """Where the keys lie; None if there are none, or for a credential in a process that systemd gave none."""
        return None if self.signing_keys is None else secret_path(self.signing_keys)


class SunSettings(_Table):
    """Tags that sign their link each time they are read: NTAG 424 DNA with Secure Dynamic Messaging."""

    keys: FileOrCredential | None = Field(default=None, examples=["/etc/touchpoint/sun.json"])
    """The keys of this store's tags (touchpoint keys tags): a file, or the name of a systemd credential. Of a tag whose
    key is not there nothing is said."""
    picc_data: Parameter = "picc_data"
    """The parameter of a link into which tags write UID and counter, encrypted."""
    file_data: Parameter = "enc"
    """The one for encrypted file data."""
    uid: Parameter = "uid"
    """The one for the UID in plain text, if it is not encrypted."""
    counter: Parameter = "ctr"
    """The one for the counter in plain text."""
    mac: Parameter = "cmac"
    """The one for the signature."""
    covers: Literal["nothing", "file-data", "link"] = "nothing"
    """What the signature covers besides UID and counter: the link's text from SDMMACInputOffset on. With "link", the
    link from its host on, a tag also proves what its link says."""

    @field_validator("mac")
    @classmethod
    def _apart(cls, mac: str, info: ValidationInfo) -> str:
        names = [info.data.get(name, name) for name in ("picc_data", "file_data", "uid", "counter")]
        if len({mac, *names}) <= len(names):
            raise wrong(
                sentence("and the parameters before it have a name in common"), sentence("give each a name of its own")
            )
        return mac

    @property
    def path(self) -> Path | None:
        """Where the keys lie; None if there are none, or for a credential in a process that systemd gave none."""
        return None if self.keys is None else secret_path(self.keys)


class BleSettings(_Table):
    """The store's own beacons."""

    beacons: FileOrCredential | None = Field(default=None, examples=["/etc/touchpoint/beacons.json"])
    """The identity keys of beacons that send Eddystone-EID (firmware-notes/ble.md): a file, or the name of a systemd
    credential. The registry names each as beacon:NAME."""

    @property
    def path(self) -> Path | None:
        """Where the keys lie; None if there are none, or for a credential in a process that systemd gave none."""
        return None if self.beacons is None else secret_path(self.beacons)


class ClockSettings(_Table):
    """Whether the wall clock can be believed."""

    source: Literal["system", "trusted"] = "system"
    """system: ask the kernel whether the clock is synced. trusted: it is right, on a machine with a real-time clock."""


class VisitSettings(_Table):
    """How readings belong together."""

    seconds: Annotated[float, Field(gt=0, le=3600)] = 30.0
    """So long after a token was presented, readings at the same reader belong to its bearer."""
    debounce: Annotated[float, Field(ge=0, le=60)] = 2.0
    """The same tag or code read again within so many seconds is one reading."""


Named = Literal["tap", "scan", "response", "appeared", "disappeared"]
"""Event types that can name a subject."""
PURPOSES: Final[Mapping[Named, str]] = dict.fromkeys(
    ("tap", "scan", "response", "appeared", "disappeared"), "personalisation"
)


Signed = Literal["consent", "command", "cue"]
"""What the centre signs."""


DAYS: Final = 3653
"""The longest that a consent given in the store can hold."""


class ConsentSettings(_Table):
    """What customers consent to, and for how long."""

    controller: Label | None = Field(default=None, examples=["Acme SA, Geneva"])
    """Who is responsible for the data; default: the tenant."""
    address: Annotated[str, Field(min_length=1, max_length=256)] | None = Field(
        default=None, examples=["Acme SA, Rue du Rhone 1, 1204 Geneva"]
    )
    """Where the controller is reached by post; stands in records of consent and on receipts."""
    contact: Label | None = Field(default=None, examples=["privacy@acme.example"])
    """How customers reach whoever looks after their data."""
    notice: Label = "1"
    """Version of the privacy notice that staff hand out now."""
    notice_link: Annotated[str, Field(pattern=r"^https://[^\s/@]+(/\S*)?$", max_length=2048)] | None = Field(
        default=None, examples=["https://acme.example/privacy"]
    )
    """Where the notice can be read."""
    language: Annotated[str, Field(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$")] = "en"
    """Language of the notice (BCP 47)."""
    jurisdiction: Annotated[str, Field(pattern=r"^[A-Z]{2}(-[A-Z0-9]{1,3})?$")] = "CH"
    """Country, or part of one, whose law applies (ISO 3166)."""
    days: Annotated[int, Field(ge=1, le=DAYS)] = 365
    """How long a consent given in the store holds."""
    personal_data: Annotated[tuple[Label, ...], Field(strict=False, min_length=1, max_length=32)] = (
        "what was tapped, scanned or answered, where and when",
        "a pseudonym of the token",
    )
    """What is collected (ISO/IEC TS 27560, PII information)."""
    storage: Label = "the gateway in this store until delivered, then the controller's systems"
    """Where it is kept."""
    retention: Annotated[str, Field(pattern=r"^P[0-9]{1,4}[YMWD]([0-9]{1,4}[MD]){0,2}$", max_length=32)] = "P1Y"
    """How long it is kept: years, months, weeks, days (ISO 8601)."""
    recipients: Annotated[tuple[Label, ...], Field(strict=False, max_length=32)] = ()
    """Third parties that receive it."""
    withdrawal: Annotated[str, Field(min_length=1, max_length=256)] = sentence(
        "Present the same card, phone or code at the counter and say so; it holds at once."
    )
    """How consent is withdrawn."""
    stale_hours: Annotated[int, Field(ge=1, le=72)] = 24
    """With an issuer of consents: so long after the centre's last word on the consent set no customer is named."""
    device_key: FileOrCredential | None = Field(default=None, examples=["/etc/touchpoint/device.key"])
    """The key that signs consents given in this store: a file, or the name of a systemd credential. Default: device.key
    in the directory gateway.private, made at the first start."""
    purposes: dict[Named, Label] = Field(default_factory=lambda: dict(PURPOSES))
    """The purpose that each type of event needs consent for, a term of the W3C Data Privacy Vocabulary; what is left
    out keeps its default."""

    @field_validator("purposes")
    @classmethod
    def _all_of_them(cls, purposes: dict[Named, str]) -> dict[Named, str]:
        if unknown := sorted(set(purposes.values()) - set(IRI)):
            raise wrong(
                sentence("{unknown!r} is no purpose of the Data Privacy Vocabulary").format(unknown=unknown[0]),
                sentence("take one of: {names}").format(names=", ".join(IRI)),
            )
        return {**PURPOSES, **purposes}


class IssuerSettings(_Table):
    """Somebody at the centre whose signature counts."""

    kid: Label = Field(examples=["centre-2026"])
    """How signed messages name the key."""
    key: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{43}$")] = Field(
        examples=["2sPWeHcbuangPGk2MIWR9usYgYoDbPnAf3TbyzxQK_4"]
    )
    """The public key, Ed25519: `x` of its JWK (RFC 8037), base64url."""
    may: Annotated[tuple[Signed, ...], Field(strict=False, min_length=1)] = ("consent", "command", "cue")
    """What it may sign."""


class AuditSettings(_Table):
    """The audit log: who did what and when, without identities."""

    days: Annotated[int, Field(ge=365, le=3653)] = 400
    """How long entries are kept. Some laws ask for a year at least."""


class MetricsSettings(_Table):
    """Figures for Prometheus: what was counted and how the parts fare. No identity is among them."""

    listen: Annotated[str, AfterValidator(_listen)] = Field(default="socket", examples=["127.0.0.1:9464"])
    """Where GET /metrics is answered. socket: at metrics.sock in the directory of the sockets. An address of this
    machine alone, with a port. off: nowhere."""


class ReaderSettings(_Table):
    """A device that reads."""

    name: Name = Field(examples=["counter-scanner"])
    """How it is called in events and in `touchpoint status`; unique."""
    kind: Literal["scanner", "nfc", "ble", "simulated"] = Field(examples=["scanner"])
    """What it is; `simulated` plays recorded sightings."""
    plays: Channel = Field(default="scanner", examples=["scanner"])
    """What a simulated reader stands for; it plays those lines of the recording that carry its name."""
    device: str = Field(default="", examples=["/dev/serial/by-id/usb-Acme_Scanner_0001-if00"])
    """Of a scanner its path, by-id so that it stays the same after a restart: a serial port, or a keyboard under
    /dev/input ("/dev/input/by-id/usb-...-event-kbd"). Of a simulated reader the recording. Of an NFC reader "usb" (the
    default) or "usb:054c:06c3", "tty:USB0:pn532", "tty:/dev/serial/by-id/...:pn532"."""
    layout: Literal["auto", "us", "de", "fr"] = "auto"
    """The country that a scanner under /dev/input is set to. auto: the one that its codes show; links, GTINs and codes
    with an AIM identifier show it."""
    baud: Annotated[int, Field(ge=300, le=4_000_000)] = 115_200
    """Speed of a serial scanner."""
    touchpoint: Name | None = Field(default=None, examples=["counter"])
    """The touchpoint at which a scanner or NFC reader stands."""
    zone: Label | None = Field(default=None, examples=["salon"])
    """The zone that a BLE reader covers."""
    adapter: Annotated[str, Field(pattern=r"^(hci[0-9]{1,2}|[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}|)$")] = Field(
        default="", examples=["hci0"]
    )
    """The Bluetooth adapter of a BLE reader: hci0, or its own address, which stays the same under any number. Default:
    whichever there is; with several BLE readers each names its own."""
    enter_offset: Annotated[float, Field(ge=-60, le=40)] = -7.0
    """Who comes into the zone of a BLE reader: a beacon heard at this level or above, in dB from its strength at 1 m;
    about 2 m. For an arm's length: 4."""
    exit_offset: Annotated[float, Field(ge=-60, le=40)] = -15.0
    """Who leaves it: a beacon heard below this level; about 5 m. For an arm's length: -4. Readers of the same zone take
    this, and the five that follow, from the first of them."""
    window: Annotated[float, Field(ge=0, le=60)] = 5.0
    """The level is the median of so many seconds. For an arm's length: 2."""
    hold_enter: Annotated[float, Field(ge=0, le=60)] = 1.0
    """So long must a beacon be near to have come, in seconds."""
    hold_exit: Annotated[float, Field(ge=0, le=600)] = 8.0
    """So long must it be far to have left, in seconds."""
    lost_after: Annotated[float, Field(ge=5, le=3600)] = 10.0
    """So long may it be unheard, in seconds, or ten of its own intervals if that is longer; then it has left."""
    silence: Annotated[float, Field(ge=2, le=60)] = 6.0
    """A BLE reader that hears nobody at all for so many seconds starts its scan again. Shorter than lost_after,
    so that nobody seems to leave meanwhile."""

    @property
    def types(self) -> bool:
        """Whether it is a scanner that types, as a keyboard."""
        return self.kind == "scanner" and is_keyboard(self.device)

    @property
    def channel(self) -> Channel:
        """What its sightings are, simulated or not."""
        return self.plays if self.kind == "simulated" else self.kind

    @field_validator("device")
    @classmethod
    def _where_it_is(cls, device: str, info: ValidationInfo) -> str:
        if info.data.get("kind") == "nfc":
            return _nfc_device(device or "usb")
        if info.data.get("kind") not in {"scanner", "simulated"}:
            return device
        if not device:
            raise wrong(sentence("is missing"), sentence('for example device = "/dev/serial/by-id/usb-..."'))
        return str(_beside(device, info))

    @field_validator("layout")
    @classmethod
    def _of_a_keyboard(cls, layout: str, info: ValidationInfo) -> str:
        typing = info.data.get("kind") == "scanner" and is_keyboard(info.data.get("device", KEYBOARDS))
        if layout != "auto" and not typing:
            raise wrong(
                sentence("fits a scanner under /dev/input only"),
                sentence("a serial scanner sends characters, without a layout"),
            )
        return layout

    @field_validator("exit_offset")
    @classmethod
    def _farther(cls, exit_offset: float, info: ValidationInfo) -> float:
        if exit_offset > info.data.get("enter_offset", exit_offset):
            raise wrong(sentence("is above enter_offset"), sentence("a beacon leaves at a lower level than it came at"))
        return exit_offset

    @field_validator("silence")
    @classmethod
    def _before_anybody_is_lost(cls, silence: float, info: ValidationInfo) -> float:
        if silence >= info.data.get("lost_after", silence + 1):
            raise wrong(
                sentence("is not shorter than lost_after"),
                sentence("a scan that has died would look like everybody leaving"),
            )
        return silence

    @field_validator("touchpoint", "zone")
    @classmethod
    def _place(cls, value: str | None, info: ValidationInfo) -> str | None:
        kind = info.data.get("kind", "simulated")
        if kind == "simulated":  # it may play what was read at a touchpoint, in a zone, or both
            return value
        needed = (info.field_name == "zone") == (kind == "ble")
        if needed and value is None:
            raise wrong(sentence("is missing"), sentence("say where the {kind} reader stands").format(kind=kind))
        if not needed and value is not None:
            raise wrong(
                sentence("does not fit a {kind} reader").format(kind=kind),
                sentence("a ble reader covers a zone, the others stand at a touchpoint"),
            )
        return value


class BearerSettings(_Table):
    """A rule for what counts as a customer's token: an identifier of this kind that goes on after this prefix."""

    kind: Literal["link", "ibeacon", "altbeacon", "eddystone-uid", "eddystone-eid", "nfc-uid", "sun", "text"] = Field(
        examples=["link"]
    )
    """Kind of the identifier."""
    prefix: Annotated[str, Field(max_length=1024)] = Field(default="", examples=["https://id.acme.example/m/"])
    """How its value begins, in canonical text: scheme and host in lower case, hexadecimal in lower case."""
    token_bits: Annotated[int, Field(ge=1)] = ENOUGH_BITS
    """How many bits of a link's token are random."""
    low_entropy: bool = False
    """Accept tokens with fewer than 128 random bits: whoever steals the card can find such tokens by trying."""

    @field_validator("prefix")
    @classmethod
    def _canonical(cls, prefix: str, info: ValidationInfo) -> str:
        if fault := prefix_fault(info.data.get("kind"), prefix):
            raise wrong(*fault)
        return prefix

    @model_validator(mode="after")
    def _random_enough(self) -> Self:
        bits = bearer_bits(self.kind, self.prefix, self.token_bits)
        if bits < ENOUGH_BITS and not self.low_entropy:
            what = sentence("tokens of this rule carry {bits} random bits at most, fewer than {enough}").format(
                bits=bits, enough=ENOUGH_BITS
            )
            raise wrong(what, sentence("use longer tokens, or accept that they can be guessed with low_entropy = true"))
        return self


class BadgeSettings(_Table):
    """A rule for what staff carry, which is counted and forgotten: an identifier that is this, or begins so."""

    kind: Literal["link", "ibeacon", "altbeacon", "eddystone-uid", "eddystone-eid", "nfc-uid", "text"] = Field(
        examples=["ibeacon"]
    )
    """Kind of the identifier."""
    prefix: Annotated[str, Field(min_length=1, max_length=1024)] = Field(
        examples=["3d7c7b9c-2f0e-4b58-9a43-4d7f0c2a9e11/900/"]
    )
    """The whole value or how it begins, in canonical text. It may be of the customers' namespace: badges go first."""

    @field_validator("prefix")
    @classmethod
    def _canonical(cls, prefix: str, info: ValidationInfo) -> str:
        if fault := prefix_fault(info.data.get("kind"), prefix):
            raise wrong(*fault)
        return prefix


class Settings(_Table):
    """The whole configuration."""

    gateway: GatewaySettings
    mqtt: MqttSettings
    pseudonym: PseudonymSettings = PseudonymSettings()
    links: LinksSettings = LinksSettings()
    sun: SunSettings = SunSettings()
    ble: BleSettings = BleSettings()
    clock: ClockSettings = ClockSettings()
    visit: VisitSettings = VisitSettings()
    consent: ConsentSettings = ConsentSettings()
    audit: AuditSettings = AuditSettings()
    metrics: MetricsSettings = MetricsSettings()
    readers: Annotated[tuple[ReaderSettings, ...], Field(strict=False)] = Field(default=(), alias="reader")
    bearers: Annotated[tuple[BearerSettings, ...], Field(strict=False)] = Field(default=(), alias="bearer")
    badges: Annotated[tuple[BadgeSettings, ...], Field(strict=False)] = Field(default=(), alias="badge")
    issuers: Annotated[tuple[IssuerSettings, ...], Field(strict=False)] = Field(default=(), alias="issuer")

    @field_validator("readers")
    @classmethod
    def _adapters_apart(cls, readers: tuple[ReaderSettings, ...]) -> tuple[ReaderSettings, ...]:
        adapters = [reader.adapter.upper() for reader in readers if reader.kind == "ble"]
        if len(adapters) > 1 and ("" in adapters or len(set(adapters)) < len(adapters)):
            raise wrong(
                sentence("has BLE readers on the same Bluetooth adapter"),
                sentence("name an adapter of its own for each of them"),
            )
        return readers

    _file: Path = PrivateAttr(default=Path())

    def model_post_init(self, context: Any, /) -> None:  # noqa: ANN401  # pydantic's signature
        """Remember the file, for what is said about it later."""
        self._file = (context or {}).get("file", Path())

    @property
    def file(self) -> Path:
        """The file that it was read from."""
        return self._file
