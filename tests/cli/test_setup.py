"""`touchpoint setup`: a gateway of a bare device, its certificate, and the staff's answers."""

import json
import threading
import tomllib
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import NameOID
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from gateway import enrolment, keys
from gateway.cli import answers as answers_module
from gateway.cli import setup
from gateway.cli.app import app
from gateway.clock import Clock
from gateway.config import load, password, tls_problems
from gateway.core.pseudonym import derive
from gateway.doctor.readers import Candidate, candidates
from tests.simulators.scanner import ScannerSimulator

SECRET = "Zk3vX9c1QmS7"
NOW = datetime.fromtimestamp(Clock().now().wall_ms / 1000, UTC)
REGISTRY = """id,kind,name,zone,phase,gtin,reference,serial,campaign,valid_from,valid_until,identifiers
page-16,catalogue,Page 16,,before,,,,,,,link:https://id.acme.example/t/page-16
"""
ANSWERS = """
tenant = "acme"
site = "zrh-1"
id = "gw-1"
host = "127.0.0.1"
port = 9
ca = "ca.pem"
certificate = true
time_zone = "Europe/Zurich"
state = "state"
ring = "{home}/usb/keys.json"
registry = "{home}/usb/registry.csv"
[[reader]]
name = "counter"
kind = "simulated"
plays = "scanner"
device = "recording"
touchpoint = "counter"
"""


class Authority:
    """Signs requests, as a brand's authority does."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Acme authority")])
        self.certificate = self._issue(self.name, self.key.public_key(), 30)

    def issue(self, pem: bytes, days: int = 90) -> bytes:
        """Issue a certificate for a request."""
        asked = x509.load_pem_x509_csr(pem)
        assert asked.is_signature_valid
        public = asked.public_key()
        assert isinstance(public, ec.EllipticCurvePublicKey)
        return self._issue(asked.subject, public, days)

    def _issue(self, name: x509.Name, public: ec.EllipticCurvePublicKey, days: int) -> bytes:
        made = x509.CertificateBuilder().subject_name(name).issuer_name(self.name).public_key(public)
        made = made.serial_number(x509.random_serial_number()).not_valid_before(NOW - timedelta(days=200))
        return made.not_valid_after(NOW + timedelta(days=days)).sign(self.key, SHA256()).public_bytes(Encoding.PEM)


@pytest.fixture
def authority() -> Authority:
    """The brand's authority."""
    return Authority()


@pytest.fixture
def home(directory: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bare device, with what was brought to it on a stick."""
    (directory / "usb").mkdir()
    ring = derive(bytes(range(32)), "acme", "zrh-1", [("now", Clock().now().wall_ms - 1000, None)])
    keys.write_secret(directory / "usb" / "keys.json", ring.to_json())
    (directory / "usb" / "registry.csv").write_text(REGISTRY, encoding="utf-8")
    (directory / "usb" / "answers.toml").write_text(ANSWERS.format(home=directory), encoding="utf-8")
    (directory / "ca.pem").write_bytes(authority.certificate)
    monkeypatch.setenv("TOUCHPOINT_CONFIG", str(directory / "gateway.toml"))
    return directory


def run(*arguments: object, typed: str = "") -> Result:
    """Run the command."""
    return CliRunner().invoke(app, ["setup", *map(str, arguments)], input=typed)


def test_a_file_of_answers_makes_a_gateway(home: Path, authority: Authority) -> None:
    """Configuration, ring, registry and request are there, nothing was asked; the certificate makes it complete."""
    result = run("--answers", home / "usb" / "answers.toml")
    assert "gateway.csr" in result.stdout, result.output
    assert "1 touchpoint imported." in result.stdout
    settings = load(home / "gateway.toml")
    assert (settings.gateway.time_zone, settings.readers[0].name) == ("Europe/Zurich", "counter")
    assert (home / "keys.json").read_text() == (home / "usb" / "keys.json").read_text()
    assert (home / "gateway.key").stat().st_mode & 0o77 == 0
    asked = x509.load_pem_x509_csr((home / "gateway.csr").read_bytes())
    assert asked.subject.rfc4514_string() == "O=acme,OU=zrh-1,CN=gw-1"
    (home / "usb" / "issued.pem").write_bytes(authority.issue((home / "gateway.csr").read_bytes()))
    installed = run("--certificate", home / "usb" / "issued.pem")
    assert installed.exit_code == 0, installed.output
    assert tls_problems(settings) == []


def test_a_certificate_is_renewed_without_a_gap(home: Path, authority: Authority) -> None:
    """The pair in use stays until the new certificate is imported, and then the new key is in its place."""
    run("--answers", home / "usb" / "answers.toml")
    (home / "issued.pem").write_bytes(authority.issue((home / "gateway.csr").read_bytes()))
    run("--certificate", home / "issued.pem")
    before = (home / "gateway.key").read_bytes()
    assert run("--renew").exit_code == 0
    assert (home / "gateway.key").read_bytes() == before
    assert tls_problems(load(home / "gateway.toml")) == []
    (home / "issued.pem").write_bytes(authority.issue((home / "gateway.csr").read_bytes()))
    assert run("--certificate", home / "issued.pem").exit_code == 0
    assert (home / "gateway.key").read_bytes() != before
    assert not (home / "gateway.key.next").exists()
    assert tls_problems(load(home / "gateway.toml")) == []


@pytest.mark.parametrize("lasts", range(4))
def test_a_renewal_that_is_cut_off_leaves_a_pair_and_is_finished_later(
    home: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch, lasts: int
) -> None:
    """Whichever file the power cut leaves unwritten: the uplink can connect, and the next command finishes it."""
    run("--answers", home / "usb" / "answers.toml")
    (home / "issued.pem").write_bytes(authority.issue((home / "gateway.csr").read_bytes()))
    run("--certificate", home / "issued.pem")
    run("--renew")
    (home / "issued.pem").write_bytes(authority.issue((home / "gateway.csr").read_bytes()))
    done: list[str] = []

    def cut(name: str, work: Callable[..., object]) -> Callable[..., object]:
        def until_then(path: Path, *text: str) -> object:
            if len(done) == lasts:
                if name == "destroy":
                    path.write_bytes(b"\0" * 10)
                raise KeyboardInterrupt
            done.append(name)
            return work(path, *text)

        return until_then

    with monkeypatch.context() as patched:
        for name in ("replace_secret", "destroy"):
            patched.setattr(enrolment, name, cut(name, getattr(enrolment, name)))
        run("--certificate", home / "issued.pem")
    assert done == ["replace_secret", "replace_secret", "destroy"][:lasts]
    settings = load(home / "gateway.toml")
    assert tls_problems(settings) == []
    assert run("--certificate", home / "issued.pem").exit_code == 0
    assert not (home / "gateway.key.next").exists()
    assert tls_problems(settings) == []
    used = load_pem_private_key((home / "gateway.key").read_bytes(), None)
    assert isinstance(used, ec.EllipticCurvePrivateKey)
    issued = x509.load_pem_x509_certificate((home / "issued.pem").read_bytes())
    assert used.public_key() == issued.public_key()


def test_a_pair_of_another_kind_is_renewed_too(home: Path, authority: Authority) -> None:
    """An RSA key that was issued elsewhere is in use, or was moved away: the new key takes its place."""
    run("--answers", home / "usb" / "answers.toml")
    (home / "gateway.pem").write_bytes(authority.issue((home / "gateway.csr").read_bytes()))
    made = rsa.generate_private_key(65537, 2048)
    pem = made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for there in (True, False):
        (home / "gateway.key").write_bytes(pem) if there else (home / "gateway.key").unlink()
        assert run("--renew").exit_code == 0
        (home / "issued.pem").write_bytes(authority.issue((home / "gateway.csr").read_bytes()))
        result = run("--certificate", home / "issued.pem")
        assert result.exit_code == 0, result.output
        assert tls_problems(load(home / "gateway.toml")) == []


def test_a_certificate_that_does_not_fit_is_refused(home: Path, authority: Authority) -> None:
    """One that has expired, is for another key, or is none: what is in use stays."""
    run("--answers", home / "usb" / "answers.toml")
    csr = (home / "gateway.csr").read_bytes()
    for issued, words in (
        (authority.issue(csr, days=-10), "not valid now"),
        (authority.certificate, "for another key"),
        (b"nothing", "no certificate"),
    ):
        (home / "issued.pem").write_bytes(issued)
        result = run("--certificate", home / "issued.pem")
        assert result.exit_code == 1
        assert words in result.stderr
    assert not (home / "gateway.pem").exists()


def test_answers_are_judged_before_anything_is_written(home: Path) -> None:
    """An answer that the gateway could not use ends it with status 78, one that answers nothing with 2."""
    answers = home / "usb" / "answers.toml"
    answers.write_text(ANSWERS.format(home=home).replace("zrh-1", "Zürich!"), encoding="utf-8")
    result = run("--answers", answers)
    assert result.exit_code == 78
    assert "gateway.site" in result.stderr
    for wrong in ('tenant = "acme"\n', 'brand = "acme"\n', "tenant = 3\n", "reader = 1\n", "tenant = "):
        answers.write_text(wrong, encoding="utf-8")
        assert run("--answers", answers).exit_code == 2
    assert not (home / "gateway.toml").exists()


def test_tables_that_no_question_asks_for_go_into_the_configuration(home: Path) -> None:
    """A fleet's file says everything; a table that the configuration does not know ends it with status 78."""
    answers = home / "usb" / "answers.toml"
    more = '[mqtt]\nkeepalive = 10\n[visit]\ndebounce = 0\n[[bearer]]\nkind = "link"\nprefix = "{}"\n'
    answers.write_text(ANSWERS.format(home=home) + "[visits]\ndebounce = 0\n", encoding="utf-8")
    assert run("--answers", answers).exit_code == 78
    answers.write_text(ANSWERS.format(home=home) + more.format("https://id.acme.example/m/"), encoding="utf-8")
    run("--answers", answers)
    settings = load(home / "gateway.toml")
    assert (settings.mqtt.host, settings.mqtt.keepalive, settings.visit.debounce) == ("127.0.0.1", 10, 0)
    assert [bearer.kind for bearer in settings.bearers] == ["link"]


@pytest.fixture
def package(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package is installed: its services are there, in directories of the test, and a systemctl that says so."""
    systemctl = home / "bin" / "systemctl"
    systemctl.parent.mkdir()
    systemctl.write_text(f'#!/bin/sh\necho "$@" >> {home}/asked\nexit $(cat {home}/status)\n', encoding="utf-8")
    systemctl.chmod(0o755)
    (home / "status").write_text("0", encoding="ascii")
    monkeypatch.setenv("PATH", str(systemctl.parent), prepend=":")
    monkeypatch.setattr(setup, "as_service", lambda: True)
    own = {"state": str(home / "state"), "runtime": str(home / "run"), "private": str(home / "private")}
    for directory in own.values():
        Path(directory).mkdir()
    monkeypatch.setattr(answers_module, "SERVED", own)


@pytest.mark.usefixtures("package")
def test_under_the_package_it_is_set_up_for_the_services_and_started(home: Path) -> None:
    """Directories and group are the units' own, and the registry is imported only if the gateway runs."""
    answers = home / "usb" / "answers.toml"
    text = ANSWERS.format(home=home).replace('state = "state"\n', "")
    answers.write_text(text, encoding="utf-8")
    (home / "status").write_text("3", encoding="ascii")
    result = run("--answers", answers)
    assert result.exit_code == 1
    assert "touchpoint.target did not start" in result.stderr
    assert "touchpoint touchpoints import" in result.stderr
    assert "imported" not in result.stdout
    assert "The capture half does not run." in result.stdout
    settings = load(home / "gateway.toml")
    assert (settings.gateway.runtime, settings.gateway.private) == (home / "run", home / "private")
    assert (home / "asked").read_text().splitlines()[0] == "restart touchpoint.target"


def test_another_sites_ring_is_refused(home: Path) -> None:
    """A ring of elsewhere is not brought in."""
    answers = home / "usb" / "answers.toml"
    answers.write_text(ANSWERS.format(home=home).replace("zrh-1", "gva-1"), encoding="utf-8")
    result = run("--answers", answers)
    assert result.exit_code == 1
    assert "acme/zrh-1" in result.stderr
    assert not (home / "keys.json").exists()


@pytest.mark.parametrize("wrong", ["ring", "registry", "ca"])
def test_nothing_is_written_if_a_file_that_is_to_be_brought_in_is_of_no_use(home: Path, wrong: str) -> None:
    """Missing, or not in UTF-8 as Excel saves it: the message names it, and the corrected answers are taken."""
    answers = home / "usb" / "answers.toml"
    file = {"ring": home / "usb" / "keys.json", "registry": home / "usb" / "registry.csv", "ca": home / "ca.pem"}[wrong]
    content = file.read_bytes()
    file.write_bytes("für\n".encode("latin-1")) if wrong == "registry" else file.unlink()
    refused = run("--answers", answers)
    assert refused.exit_code == 1
    assert file.name in refused.stderr
    assert not (home / "gateway.toml").exists()
    file.write_bytes(content)
    assert "1 touchpoint imported." in run("--answers", answers).stdout


def test_a_configuration_is_not_written_over(home: Path) -> None:
    """A gateway that is set up stays as it is, unless asked otherwise."""
    (home / "gateway.toml").write_text("mine", encoding="utf-8")
    assert run("--answers", home / "usb" / "answers.toml").exit_code == 1
    assert (home / "gateway.toml").read_text() == "mine"


def test_without_a_person_nothing_is_asked(home: Path) -> None:
    """In a script without answers it ends at once."""
    del home
    result = run()
    assert result.exit_code == 2
    assert "--answers" in result.stderr


@pytest.mark.usefixtures("package")
def test_a_person_is_asked_and_offered_what_is_plugged_in(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Readers are offered by name; the answers make the configuration."""
    given: list[Path] = []
    monkeypatch.setattr(setup, "give", lambda _, path: given.append(path))
    monkeypatch.setenv("TOUCHPOINT_CONFIG", "gateway.toml")
    monkeypatch.chdir(home)
    found = [Candidate("scanner", "/dev/serial/by-id/usb-Acme_1", "usb-Acme_1"), Candidate("ble", "hci0", "Bluetooth")]
    monkeypatch.setattr(setup, "somebody_there", lambda: True)
    monkeypatch.setattr("gateway.doctor.readers.candidates", lambda: found)
    said = ["acme", "zrh-1", "", "127.0.0.1", "", "gw-1", SECRET, "", "", "", "y", "till", "counter"]
    said += ["y", "", "salon", "n"]
    result = run(typed="\n".join(said) + "\n")
    assert "usb-Acme_1" in result.stdout
    assert SECRET not in result.output
    assert home / "mqtt.password" in given
    assert password(load(home / "gateway.toml")) == SECRET
    assert (home / "mqtt.password").stat().st_mode & 0o77 == 0
    document = tomllib.loads((home / "gateway.toml").read_text(encoding="utf-8"))
    who = {"tenant": "acme", "site": "zrh-1", "id": "gw-1", "time_zone": "Europe/Zurich"}
    assert document["gateway"] == {**who, **answers_module.SERVED}
    assert document["reader"] == [
        {"name": "till", "kind": "scanner", "device": "/dev/serial/by-id/usb-Acme_1", "touchpoint": "counter"},
        {"name": "ble-2", "kind": "ble", "adapter": "hci0", "zone": "salon"},
    ]


def test_an_answer_of_no_use_is_asked_for_again(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is wrong is said at once, and what was answered before is not lost."""
    (home / "no.pem").write_text("nothing", encoding="utf-8")
    other = derive(bytes(range(32)), "acme", "gva-1", [("now", 0, None)])
    keys.write_secret(home / "other.json", other.to_json())
    found = [Candidate("scanner", "/dev/serial/by-id/usb-Acme_1", "usb-Acme_1")]
    monkeypatch.setattr(setup, "somebody_there", lambda: True)
    monkeypatch.setattr("gateway.doctor.readers.candidates", lambda: found)
    said: list[object] = ["Acme Watches", "acme", "zrh 1", "zrh-1", "", "mqtt://b", "127.0.0.1"]
    said += [home / "missing.pem", home / "no.pem", home / "ca.pem", "n", "", "Zürich", "Europe/Zurich"]
    said += [home / "ca.pem", home / "other.json", home / "usb" / "keys.json", home / "ca.pem", ""]
    said += ["y", "a b", "counter", "y", "till", "counter", "n"]
    result = run(typed="\n".join(map(str, said)) + "\n")
    for wrong in ("gateway.tenant", "gateway.site", "mqtt.host", "missing.pem", "no.pem", "gateway.time_zone"):
        assert wrong in result.stderr
    assert "acme/gva-1" in result.stderr
    assert "reader.name" in result.stderr
    settings = load(home / "gateway.toml")
    assert (settings.gateway.tenant, settings.gateway.site, settings.mqtt.host) == ("acme", "zrh-1", "127.0.0.1")
    assert [reader.name for reader in settings.readers] == ["till"]
    assert keys.read_ring(home / "keys.json").site == "zrh-1"


@pytest.mark.usefixtures("package")
def test_a_test_tap_says_what_the_reader_reads(
    home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A code is scanned at the reader that was found: the registry that was brought names it; then the doctor looks."""
    with ScannerSimulator(home / "serial" / "usb-Acme_1") as scanner:
        monkeypatch.setattr(setup, "somebody_there", lambda: True)
        found = [Candidate("scanner", str(scanner.path), "usb-Acme_1")]
        monkeypatch.setattr("gateway.doctor.readers.candidates", lambda: found)
        over = threading.Event()

        def keep_scanning() -> None:
            while not over.wait(1.0):  # what comes at once after the port was opened is passed over
                with suppress(TimeoutError):
                    scanner.scan("https://id.acme.example/t/page-16")

        scanning = threading.Thread(target=keep_scanning)
        scanning.start()
        answers = ["acme", "zrh-1", "", "127.0.0.1", "", "", "", "", "", "y", "till", "page-16", "y"]
        try:
            result = run(typed="\n".join(answers) + "\n")
        finally:
            over.set()
            scanning.join()
    tried = capfd.readouterr()
    assert "Hold a tag or code to till now." in tried.err
    assert "till read" in tried.out
    assert "page-16" not in tried.err
    assert "needs a person" in result.stdout or "need a person" in result.stdout


def test_candidates_are_found_by_their_own_paths(directory: Path) -> None:
    """Serial ports, keyboards, NFC readers on USB and adapters, from the kernel's files."""
    for name in ("dev/serial/by-id/usb-A", "dev/input/by-id/usb-B-event-kbd", "dev/input/by-id/usb-B-event-mouse"):
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).touch()
    usb = directory / "sys/bus/usb/devices/1-1"
    usb.mkdir(parents=True)
    (usb / "idVendor").write_text("072f\n", encoding="ascii")
    (usb / "idProduct").write_text("2200\n", encoding="ascii")
    (directory / "sys/class/bluetooth/hci0").mkdir(parents=True)
    assert candidates(directory) == [
        Candidate("scanner", "/dev/serial/by-id/usb-A", "usb-A"),
        Candidate("scanner", "/dev/input/by-id/usb-B-event-kbd", "usb-B-event-kbd"),
        Candidate("nfc", "usb:072f:2200", "ACS ACR122U"),
        Candidate("ble", "hci0", "Bluetooth hci0"),
    ]


texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=20)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from(["tenant", "site", "id", "host", "port", "reader", "x"]), texts | st.integers()))
def test_arbitrary_answers_are_taken_or_refused(document: dict[str, Any]) -> None:
    """Whatever is answered, there are answers or a ValueError that says what is wrong."""
    with suppress(ValueError):
        assert answers_module.answered(document).tenant == document["tenant"]


@given(texts, texts, st.dictionaries(st.sampled_from(["name", "device"]), texts))
def test_every_answer_can_be_written_and_read(tenant: str, host: str, reader: dict[str, str]) -> None:
    """Quotes, line ends and control characters come through TOML as they were."""
    made = answers_module.Answers(tenant=tenant, site="s", id="i", host=host, readers=(reader,))
    document = tomllib.loads(answers_module.configuration(made))
    assert (document["gateway"]["tenant"], document["mqtt"]["host"]) == (tenant, host)
    assert document["reader"] == [reader]
    assert json.dumps(document)
