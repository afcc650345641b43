"""What a configuration may say, table by table."""

from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.config import ConfigError, Settings

Load = Callable[..., Settings]
SCANNER = '[[reader]]\nname = "s"\nkind = "scanner"\ndevice = "/dev/scanner"\ntouchpoint = "counter"\n'


def problem_of(load: Load, extra: str, **tables: str) -> tuple[str, str, str | None]:
    """Return key, fault and hint of the only problem."""
    with pytest.raises(ConfigError) as caught:
        load(extra, **tables)
    (problem,) = caught.value.problems
    return problem.key, problem.wrong, problem.hint


def test_least_configuration(load: Load) -> None:
    """Two tables are enough; the rest has defaults."""
    settings = load("")
    assert settings.gateway.state == Path("/var/lib/touchpoint")
    assert settings.gateway.sockets == settings.gateway.state
    assert settings.gateway.topics.event == "touchpoint/v1/acme/zrh-1/gw-1/event"
    assert (settings.mqtt.port, settings.mqtt.delivery, settings.mqtt.batch) == (1883, "puback", 500)
    assert (settings.visit.seconds, settings.visit.debounce, settings.clock.source) == (30, 2, "system")
    assert (settings.readers, settings.bearers) == ((), ())


def test_settings_do_not_change(load: Load) -> None:
    """Settings are frozen."""
    with pytest.raises(ValueError, match="frozen"):
        load("").gateway.tenant = "other"  # type: ignore[misc]  # that is the point


def test_port_follows_ca(load: Load) -> None:
    """With an authority the port is that of MQTT over TLS, unless another is named."""
    assert load("", mqtt='host = "b"\nca = "/ca.pem"').mqtt.port == 8883
    assert load("", mqtt='host = "b"\nca = "/ca.pem"\nport = 443').mqtt.port == 443


def test_sockets_in_a_directory_of_their_own(load: Load) -> None:
    """The runtime directory holds the sockets, if there is one."""
    settings = load("", gateway='tenant = "acme"\nsite = "zrh-1"\nid = "gw-1"\nruntime = "/run/touchpoint"')
    assert settings.gateway.sockets == Path("/run/touchpoint")


def test_relative_paths_start_at_the_file(load: Load, tmp_path: Path) -> None:
    """A relative path means the same wherever the command is started."""
    gateway = 'tenant = "acme"\nsite = "zrh-1"\nid = "gw-1"\nstate = "state"\nruntime = "/run/t"'
    settings = load(SCANNER.replace("/dev/scanner", "day.jsonl") + '[pseudonym]\nkeys = "./keys.json"', gateway=gateway)
    assert settings.gateway.state == tmp_path / "state"
    assert settings.readers[0].device == str(tmp_path / "day.jsonl")
    assert settings.pseudonym.path == tmp_path / "keys.json"


@pytest.mark.parametrize("name", ["", "a/b", "+", "-a", "a" * 65, "ä", "a\\n"])
def test_names_fit_into_topics(load: Load, name: str) -> None:
    """Tenant, site and id are levels of a topic."""
    key, wrong, _ = problem_of(load, "", gateway=f'tenant = "{name}"\nsite = "zrh-1"\nid = "gw-1"')
    assert key == "gateway.tenant"
    assert "1 to 64 letters" in wrong


def test_socket_path_too_long(load: Load) -> None:
    """A socket path over the kernel's limit is found before the daemon fails on it."""
    gateway = 'tenant = "acme"\nsite = "zrh-1"\nid = "gw-1"\nstate = "/{}"'
    fits = gateway.format("x" * (107 - len("//control.sock")))
    assert load("", gateway=fits).gateway.runtime is None
    key, wrong, hint = problem_of(load, "", gateway=gateway.format("x" * (108 - len("//control.sock"))))
    assert (key, hint) == ("gateway.runtime", 'set a short one: runtime = "/run/touchpoint"')
    assert "108 bytes" in wrong


def test_days_begin_in_the_stores_time_zone(load: Load) -> None:
    """By name; without one, in the device's."""
    gateway = 'tenant = "acme"\nsite = "zrh-1"\nid = "gw-1"\ntime_zone = "{}"'
    assert str(load("", gateway=gateway.format("Europe/Zurich")).gateway.zone) == "Europe/Zurich"
    assert load("").gateway.zone is None
    for unknown in ("Europe/Zürich", "CEST", "", "/etc/passwd", "Europe"):
        assert problem_of(load, "", gateway=gateway.format(unknown))[0] == "gateway.time_zone"


@pytest.mark.parametrize(
    ("mqtt", "key"),
    [
        ('certificate = "/c.pem"', "mqtt.certificate"),
        ('key = "/k.pem"', "mqtt.key"),
        ('password_file = "/p"', "mqtt.password_file"),
        ('protocol = "3.1.1"', "mqtt.protocol"),
        ("port = 0", "mqtt.port"),
        ('port = "8883"', "mqtt.port"),
        ("batch = 1001", "mqtt.batch"),
        ("keepalive = true", "mqtt.keepalive"),
        ('ca = ""', "mqtt.ca"),
        ('delivery = "pubak"', "mqtt.delivery"),
    ],
)
def test_mqtt_faults(load: Load, mqtt: str, key: str) -> None:
    """What cannot work, or would be ignored in silence, is a problem of its own key."""
    assert problem_of(load, "", mqtt=f'host = "b"\n{mqtt}')[0] == key


@pytest.mark.parametrize("host", ["broker", "broker.acme.example.", "my_host", "10.0.0.7", "::1", "fe80::1%eth0"])
def test_a_broker_has_a_name_or_an_address(load: Load, host: str) -> None:
    """Names of the DNS and of local networks, and addresses of both kinds."""
    assert load("", mqtt=f'host = "{host}"').mqtt.host == host


@pytest.mark.parametrize("host", ["", "mqtt://broker", "broker:8883", "my broker", "-b", "b..c", "a" * 64, "a." * 127])
def test_what_is_no_host_is_refused(load: Load, host: str) -> None:
    """A URL, a port, or what no name can be: said before anybody waits for a broker."""
    key, fault, hint = problem_of(load, "", mqtt=f'host = "{host}"')
    assert (key, fault) == ("mqtt.host", "is no name or address of a host")
    assert hint is not None


def test_old_protocol_with_receipts(load: Load) -> None:
    """MQTT 3.1.1 hides refusals: it is allowed where receipts tell what arrived."""
    settings = load("", mqtt='host = "b"\nprotocol = "3.1.1"\ndelivery = "receipt"')
    assert settings.mqtt.protocol == "3.1.1"


def test_ring_in_a_file_or_a_credential(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bare name is a credential of systemd; outside of its service there is none."""
    assert load('[pseudonym]\nkeys = "/etc/ring.json"').pseudonym.path == Path("/etc/ring.json")
    settings = load('[pseudonym]\nkeys = "ring"').pseudonym
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    assert settings.path is None
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/run/credentials/touchpoint")
    assert settings.path == Path("/run/credentials/touchpoint/ring")


def test_purposes_complete_each_other(load: Load) -> None:
    """A type of event that is left out keeps its purpose."""
    purposes = load('[consent.purposes]\nresponse = "customer-care"').consent.purposes
    assert purposes["response"] == "customer-care"
    assert {purposes[kind] for kind in ("tap", "scan", "appeared", "disappeared")} == {"personalisation"}


@pytest.mark.parametrize(
    ("consent", "key"),
    [
        ("days = 0", "consent.days"),
        ('language = "English"', "consent.language"),
        ('jurisdiction = "Switzerland"', "consent.jurisdiction"),
        ('purposes = { gap = "x" }', "consent.purposes.gap"),
    ],
)
def test_consent_faults(load: Load, consent: str, key: str) -> None:
    """Bounds and codes of the consent table."""
    assert problem_of(load, f"[consent]\n{consent}")[0].startswith(key)


def test_readers(load: Load) -> None:
    """A scanner stands at a touchpoint, a BLE reader covers a zone; a simulated one is what it plays."""
    ble = '[[reader]]\nname = "b"\nkind = "ble"\nzone = "salon"\n'
    played = '[[reader]]\nname = "p"\nkind = "simulated"\nplays = "ble"\ndevice = "/day.jsonl"\nzone = "salon"\n'
    scanner, radio, simulated = load(SCANNER + ble + played).readers
    assert (scanner.channel, scanner.touchpoint, scanner.baud) == ("scanner", "counter", 115200)
    assert (radio.channel, radio.zone, radio.device) == ("ble", "salon", "")
    assert (simulated.channel, simulated.device) == ("ble", "/day.jsonl")


@pytest.mark.parametrize(
    "device", ["usb", "usb:054c", "usb:054c:06c3", "tty:USB0:pn532", "tty:/dev/serial/by-id/usb-1a_b-if00:pn532"]
)
def test_an_nfc_reader_is_found_by_usb_or_port(load: Load, device: str) -> None:
    """Where nfcpy finds a reader; by default the first on USB."""
    nfc = '[[reader]]\nname = "n{}"\nkind = "nfc"\ntouchpoint = "counter"\n'
    named, default = load(nfc.format(1) + f'device = "{device}"\n' + nfc.format(2)).readers
    assert (named.device, default.device) == (device, "usb")


@pytest.mark.parametrize("device", ["/dev/ttyUSB0", "tty:USB0", "tty:USB0;id:pn532", "tty:/dev/$(id):pn532", "usb0"])
def test_what_is_no_nfc_reader_is_told(load: Load, device: str) -> None:
    """A path that nfcpy could not open, or that would mean something to a shell, is told before the start."""
    nfc = f'[[reader]]\nname = "n"\nkind = "nfc"\ntouchpoint = "counter"\ndevice = "{device}"\n'
    assert problem_of(load, nfc)[:2] == ("reader.device", "is no NFC reader")


def test_a_scanner_under_dev_input_types(load: Load) -> None:
    """A device of the input subsystem is a keyboard, with a layout or without; a serial scanner has none."""
    typing = '[[reader]]\nname = "{}"\nkind = "scanner"\ndevice = "/dev/input/by-id/a-event-kbd"\ntouchpoint = "c"\n'
    found, given, serial = load(typing.format(1) + typing.format(2) + 'layout = "de"\n' + SCANNER).readers
    assert (found.types, given.types, serial.types) == (True, True, False)
    assert (found.layout, given.layout) == ("auto", "de")
    assert problem_of(load, SCANNER + 'layout = "de"')[:2] == (
        "reader.layout",
        "fits a scanner under /dev/input only",
    )


@pytest.mark.parametrize("adapter", ["eth0", "hci", "00:1A:7D:DA:71", "hci0 "])
def test_an_adapter_is_a_number_or_an_address(load: Load, adapter: str) -> None:
    """What can be no Bluetooth adapter is told before the start."""
    ble = f'[[reader]]\nname = "b"\nkind = "ble"\nzone = "salon"\nadapter = "{adapter}"\n'
    assert problem_of(load, ble)[0] == "reader.adapter"


@pytest.mark.parametrize("adapters", [("", ""), ("hci0", ""), ("hci0", "hci0"), ("00:1a:7d:da:71:00",) * 2])
def test_ble_readers_have_an_adapter_each(load: Load, adapters: tuple[str, str]) -> None:
    """An adapter scans for one reader."""
    ble = '[[reader]]\nname = "{}"\nkind = "ble"\nzone = "salon"\nadapter = "{}"\n'
    both = "".join(ble.format(f"b{number}", adapter) for number, adapter in enumerate(adapters))
    assert problem_of(load, both)[:2] == ("reader", "has BLE readers on the same Bluetooth adapter")
    apart = "".join(ble.format(f"b{number}", f"hci{number}") for number in range(2))
    assert [reader.adapter for reader in load(apart).readers] == ["hci0", "hci1"]


@pytest.mark.parametrize(
    ("reader", "key", "wrong"),
    [
        ('kind = "scanner"\ntouchpoint = "c"', "reader.device", "is missing"),
        ('kind = "scanner"\ndevice = "/d"', "reader.touchpoint", "is missing"),
        ('kind = "nfc"\ntouchpoint = "c"\nzone = "z"', "reader.zone", "does not fit a nfc reader"),
        ('kind = "ble"', "reader.zone", "is missing"),
        ('kind = "ble"\nzone = "z"\nexit_offset = -6', "reader.exit_offset", "is above enter_offset"),
        ('kind = "ble"\nzone = "z"\nsilence = 10', "reader.silence", "is not shorter than lost_after"),
        ('touchpoint = "c"', "reader.kind", "is missing"),
        ('kind = "camera"', "reader.kind", "must be 'scanner', 'nfc', 'ble' or 'simulated'"),
    ],
)
def test_reader_faults(load: Load, reader: str, key: str, wrong: str) -> None:
    """What a kind of reader needs, and what does not fit it."""
    assert problem_of(load, f'[[reader]]\nname = "r"\n{reader}')[:2] == (key, wrong)


@pytest.mark.parametrize(
    "bearer",
    [
        'kind = "link"\nprefix = "https://id.acme.example/m/"',
        'kind = "altbeacon"\nprefix = "01020304"',
        'kind = "link"\nprefix = "https://id.acme.example/m/"\ntoken_bits = 64\nlow_entropy = true',
        'kind = "nfc-uid"\nlow_entropy = true',
        'kind = "text"\nprefix = "member "\nlow_entropy = true',
    ],
)
def test_bearers(load: Load, bearer: str) -> None:
    """Rules whose tokens cannot be guessed, or that say that theirs can."""
    assert len(load(f"[[bearer]]\n{bearer}").bearers) == 1


@pytest.mark.parametrize(
    ("bearer", "bits"),
    [
        ('kind = "nfc-uid"', 56),
        ('kind = "ibeacon"', 32),
        ('kind = "ibeacon"\nprefix = "5f3a1f0e-8c64-4f0b-9a38-6d2c1b7e4a90/"', 32),
        ('kind = "eddystone-uid"\nprefix = "a1b2c3d4e5f60718293a/"', 48),
        ('kind = "eddystone-eid"', 64),
        ('kind = "text"', 0),
        ('kind = "altbeacon"\nprefix = "0102030405"', 120),
        ('kind = "link"\nprefix = "https://id.acme.example/m/"\ntoken_bits = 127', 127),
    ],
)
def test_tokens_that_can_be_guessed(load: Load, bearer: str, bits: int) -> None:
    """A rule with fewer than 128 random bits is refused unless it says so."""
    key, wrong, hint = problem_of(load, f"[[bearer]]\n{bearer}")
    assert key == "bearer"
    assert f"carry {bits} random bits" in wrong
    assert hint is not None
    assert "low_entropy = true" in hint
    assert load(f"[[bearer]]\n{bearer}\nlow_entropy = true").bearers[0].low_entropy


@pytest.mark.parametrize(
    "bearer",
    [
        'kind = "link"',
        'kind = "link"\nprefix = "https://id.acme.example"',
        'kind = "link"\nprefix = "HTTPS://id.acme.example/m/"',
        'kind = "link"\nprefix = "https://id.acme.example/m/#x"',
        'kind = "nfc-uid"\nprefix = "04A1"\nlow_entropy = true',
    ],
)
def test_prefixes_that_match_nothing_or_too_much(load: Load, bearer: str) -> None:
    """A prefix is canonical text, and that of a link names a whole host."""
    assert problem_of(load, f"[[bearer]]\n{bearer}")[0] == "bearer.prefix"


@pytest.mark.parametrize(
    "badge",
    [
        'kind = "ibeacon"\nprefix = "3d7c7b9c-2f0e-4b58-9a43-4d7f0c2a9e11/900/"',
        'kind = "nfc-uid"\nprefix = "04a1b2c3d4e5f6"',
        'kind = "link"\nprefix = "https://id.acme.example/m/staff-"',
    ],
)
def test_badges(load: Load, badge: str) -> None:
    """A fleet of badges, or a single one; nobody has to guess anything from them."""
    assert len(load(f"[[badge]]\n{badge}").badges) == 1


@pytest.mark.parametrize("prefix", ["", "HTTPS://id.acme.example/m/", "https://id.acme.example"])
def test_badges_that_match_nothing_or_everything(load: Load, prefix: str) -> None:
    """Else everybody would be one of the staff, or nobody."""
    assert problem_of(load, f'[[badge]]\nkind = "link"\nprefix = "{prefix}"')[0] == "badge.prefix"


def test_the_file_of_beacons_lies_beside_the_configuration_or_is_a_credential(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As every other secret; by default there is none."""
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/run/credentials/x")
    assert load("").ble.path is None
    assert load('[ble]\nbeacons = "/etc/touchpoint/beacons.json"').ble.path == Path("/etc/touchpoint/beacons.json")
    assert load('[ble]\nbeacons = "beacons"').ble.path == Path("/run/credentials/x/beacons")


@pytest.mark.parametrize("listen", ["socket", "off", "127.0.0.1:9464", "127.9.9.9:1", "[::1]:65535"])
def test_metrics_on_this_machine(load: Load, listen: str) -> None:
    """Metrics are answered at a socket, or at an address that no other machine reaches."""
    assert load(f'[metrics]\nlisten = "{listen}"\n').metrics.listen == listen


@pytest.mark.parametrize(
    "listen",
    [
        *("0.0.0.0:9464", "[::]:9464", "192.0.2.1:9464", ":9464", "9464", "localhost:9464", "127.0.0.1"),
        *("127.0.0.1:0", "127.0.0.1:65536", "127.0.0.1:09", "::1:9464", "[::1]", "[fe80::1]:9464", ""),
    ],
)
def test_metrics_for_others(load: Load, listen: str) -> None:
    """What others could reach, or what is no address, is refused."""
    key, fault, hint = problem_of(load, f'[metrics]\nlisten = "{listen}"\n')
    assert (key, fault) == ("metrics.listen", "is no address of this machine alone with a port")
    assert hint is not None
    assert "127.0.0.1:9464" in hint
