"""`touchpoint tags`, as staff type it: the real nfcpy and a simulated PN532, and messages that say what to do next."""

import asyncio
import csv
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path

import ndef
import pytest
from typer.testing import CliRunner, Result

from gateway.cli.app import app
from gateway.config import load
from gateway.control import serve
from gateway.daemon.capture import handlers, open_capture, source
from gateway.provision.tags.batch import Batch
from gateway.provision.tags.bench import Bench
from gateway.provision.tags.inventory import Entry
from gateway.provision.tags.writer import Job
from tests.shop import until
from tests.simulators.nfc_field import Ntag21x, Tag, TypeATag
from tests.simulators.ntag21x import WritableNtag21x
from tests.simulators.ntag424 import Ntag424
from tests.simulators.pn532 import Pn532
from tests.simulators.type4 import Type4

ROOT = Path(__file__).parents[2]
UID = bytes.fromhex("04a1b2c3d4e5f6")
LINK = "https://id.acme.example/t/vitrine-3"
REGISTRY = """id,kind,name,zone,phase,gtin,reference,serial,campaign,valid_from,valid_until,identifiers
vitrine-3,display,Vitrine 3,salon,before,,,,,,,
vitrine-4,display,Vitrine 4,salon,before,,,,,,,
farewell,feedback,How was it?,,after,,,,,,,#good #poor
"""
CONFIGURATION = """
[gateway]
tenant = "acme"
site = "zrh-1"
id = "gw-1"
state = "."
[mqtt]
host = "127.0.0.1"
[clock]
source = "trusted"
[links]
domain = "id.acme.example"
"""
LOOKS = 40
"""Commands of several looks at what lies on the reader."""
READER = """
[[reader]]
name = "{name}"
kind = "nfc"
device = "{device}"
touchpoint = "vitrine-3"
"""


@pytest.fixture
def chip(directory: Path) -> Iterator[Pn532]:
    with Pn532(directory / "ttyPN532") as chip:
        yield chip


@pytest.fixture
def store(directory: Path, chip: Pn532, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store with an NFC reader and touchpoints; no gateway runs."""
    reader = READER.format(name="bench", device=chip.device)
    (directory / "gateway.toml").write_text(CONFIGURATION + reader, encoding="utf-8")
    (directory / "registry.csv").write_text(REGISTRY, encoding="utf-8")
    monkeypatch.setenv("TOUCHPOINT_CONFIG", str(directory / "gateway.toml"))
    monkeypatch.chdir(directory)
    assert typed("touchpoints", "import", "registry.csv").exit_code == 0
    return directory


def typed(*words: str, says: str | None = None) -> Result:
    return CliRunner().invoke(app, words, input=says)


def done(*words: str) -> str:
    """Run a command that must succeed; return what it says."""
    result = typed("tags", *words)
    assert result.exit_code == 0, result.output
    return result.stdout


def refused(*words: str, says: str | None = None) -> str:
    """Run a command that must fail; return what it says. No UID is in it."""
    result = typed("tags", *words, says=says)
    assert result.exit_code == 1, result.output
    assert "Traceback" not in result.output
    assert UID.hex() not in result.output.lower()
    return result.stderr


def link_on(tag: Ntag21x) -> str | None:
    """Return the link in the raw memory, as ndeflib reads it."""
    length = tag.memory[17]
    records = list(ndef.message_decoder(bytes(tag.memory[18 : 18 + length])))
    return records[0].iri if records else None


class Signalling(WritableNtag21x):
    """A tag whose writes of some numbers each send a process a signal, before they are answered."""

    victim: subprocess.Popen[str]

    def __init__(self, uid: bytes, number: signal.Signals, *at: int) -> None:
        super().__init__(213, uid)
        self._signal, self._at = number, at

    def _write(self, page: int, octets: bytes) -> bytes | None:
        answer = super()._write(page, octets)
        if self.writes in self._at:
            self.victim.send_signal(self._signal)
        return answer


class Unplugging(WritableNtag21x):
    """A tag at whose command of a number, counted from 1, the reader is pulled out before it has the answer."""

    def __init__(self, reader: Pn532, uid: bytes = UID) -> None:
        super().__init__(213, uid)
        self._reader, self.at = reader, 0

    def command(self, data: bytes) -> bytes | None:
        answer = super().command(data)
        self.at -= 1
        if self.at == 0:
            self._reader.mute, self._reader.spoil = True, lambda _: b""
        return answer


@pytest.fixture
def pile(chip: Pn532, monkeypatch: pytest.MonkeyPatch) -> list[WritableNtag21x]:
    """Tags that a person lays on the reader, each until it is done, and takes away after each try."""
    tags: list[WritableNtag21x] = []
    real = Batch.one

    def one(batch: Batch, job: Job) -> Entry | None:
        chip.place(tags[0])
        entry = real(batch, job)
        chip.remove()
        if entry is not None:
            tags.pop(0)
        return entry

    monkeypatch.setattr(Batch, "one", one)
    return tags


def test_a_tag_is_written_read_verified_locked_and_listed(store: Path, chip: Pn532) -> None:
    """From a blank tag to one that nobody can write: each command says what it found, for people and for scripts."""
    tag = WritableNtag21x(213, UID)
    chip.place(tag)
    assert "anybody can write it" in done("read")
    assert done("write", "vitrine-3") == "vitrine-3: NTAG213, protected.\n"
    assert link_on(tag) == "https://id.acme.example/t/vitrine-3"
    assert "as it was written" in done("verify")
    seen = json.loads(done("read", "--json"))
    assert (seen["protection"], seen["touchpoint"], seen["inventory"]["state"]) == ("keyed", "vitrine-3", "protected")
    assert "vitrine-3" in done("write", "vitrine-3")  # again: it is only verified
    assert "That was not it" in refused("lock", says="no\n")
    assert done("lock", "--yes") == "vitrine-3: locked for good.\n"
    (listed,) = json.loads(done("inventory", "--json"))
    assert (listed["touchpoint"], listed["state"], listed["chip"]) == ("vitrine-3", "locked", "NTAG213")
    assert "locked for good" in refused("write", "vitrine-4", "--overwrite")
    for path in store.iterdir():
        content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
        assert UID not in content
        assert UID.hex().encode() not in content.lower()


@pytest.mark.usefixtures("store")
def test_an_erased_tag_can_be_used_for_something_else(chip: Pn532) -> None:
    """A tag that is in use is refused for another touchpoint, until it is erased."""
    tag = WritableNtag21x(215, UID)
    chip.place(tag)
    done("write", "farewell", "--answer", "good")
    assert link_on(tag) == "https://id.acme.example/t/farewell/good"
    assert "used for farewell already" in refused("write", "vitrine-4")
    assert "its tag is empty" in done("erase")
    assert (link_on(tag), tag.auth0) == (None, 0xFF)
    assert "vitrine-4" in done("write", "vitrine-4")


@pytest.mark.usefixtures("store")
def test_what_is_wrong_with_a_tag_is_named(chip: Pn532) -> None:
    """Each with what to do next."""
    strange = WritableNtag21x(213, UID)
    strange.protect(b"abcd", b"xy")
    full = WritableNtag21x(213, UID, b"\xd1\x01\x08U\x04a.example")
    for tag, said in (
        (TypeATag(bytes.fromhex("a1b2c3d4"), sak=0x08), "no NFC Forum tag"),
        (strange, "not this store's"),
        (full, "carries something that was not written here"),
        (WritableNtag21x(213, UID, frozen=7), "refused to be written (page 7, code 0)"),
        (WritableNtag21x(213, UID, stuck=7), "the tag is faulty"),
    ):
        chip.place(tag)
        assert said in refused("write", "vitrine-3")
    chip.place(WritableNtag21x(215, UID))
    assert "was not finished here" in refused("verify")
    assert "half done" in refused("inventory")


class OtherChip(WritableNtag21x):
    """A chip that says another version, as an NTAG210 does."""

    def command(self, data: bytes) -> bytes | None:
        return bytes.fromhex("0004040101000b03") if data == b"\x60" else super().command(data)


@pytest.mark.parametrize(
    ("tag", "options", "said"),
    [
        (OtherChip(213, UID), (), "none that can be written here. Take an NTAG213"),
        (WritableNtag21x(213, UID), ("--chip", "NTAG215"), "Take a tag from the right roll"),
        (Ntag424(UID), ("--lock", "--yes"), "Leave --lock out, or take an NTAG21x"),
        (WritableNtag21x(213, UID, frozen=0x2B), (), "protecting it failed: anybody could write over it. Try again"),
    ],
    ids=["other", "roll", "lock", "unprotected"],
)
@pytest.mark.usefixtures("store")
def test_a_tag_that_cannot_be_written_as_wanted(chip: Pn532, tag: Tag, options: tuple[str, ...], said: str) -> None:
    """It is another chip, of another roll, cannot be locked, or lets itself be written and not protected."""
    chip.place(tag)
    assert said in refused("write", "vitrine-3", *options)


@pytest.mark.usefixtures("store")
def test_a_tag_that_is_not_as_it_was_written(chip: Pn532) -> None:
    """Whether its protection is gone or its link is another one: what to do is said of each."""
    tag = WritableNtag21x(213, UID)
    chip.place(tag)
    done("write", "vitrine-3")
    tag.memory[4 * tag.config + 3] = 0xFF
    assert "anybody could write over it now. Write it again: touchpoint tags write vitrine-3" in refused("verify")
    assert "protected" in done("write", "vitrine-3")
    assert "as it was written" in done("verify")
    tag.memory[32] ^= 1
    assert "Take it away, and write a new one" in refused("verify")
    assert "Only a tag that was written here is locked" in refused("lock", "--yes")


@pytest.mark.usefixtures("store")
def test_a_strange_tag_is_erased_only_when_that_is_said(chip: Pn532) -> None:
    """What it carries may be somebody's."""
    tag = WritableNtag21x(213, UID, b"\xd1\x01\x0aU\x04a.example")
    chip.place(tag)
    assert "To erase it all the same: --overwrite" in refused("erase")
    assert "The tag is empty" in done("erase", "--overwrite")
    assert link_on(tag) is None


@pytest.mark.usefixtures("store")
def test_a_chip_without_a_password_is_left_open(chip: Pn532) -> None:
    """The command says so, and how to have it written by nobody else."""
    chip.place(Type4(UID))
    result = typed("tags", "write", "vitrine-3")
    assert result.stdout == "vitrine-3: TYPE4, written, and not protected.\n"
    assert "This chip knows no password" in result.stderr
    assert "Lock it for good: touchpoint tags lock" in result.stderr
    assert "locked for good" in done("lock", "--yes")


def test_a_store_without_a_domain(store: Path) -> None:
    """There would be no link to write."""
    text = (store / "gateway.toml").read_text(encoding="utf-8").replace('[links]\ndomain = "id.acme.example"\n', "")
    (store / "gateway.toml").write_text(text, encoding="utf-8")
    assert "set [links] domain" in refused("write", "vitrine-3")


def test_a_batch_is_written_and_taken_up_again(store: Path, pile: list[WritableNtag21x]) -> None:
    """One tag after the other, with the results in a CSV; what is finished is not asked for again."""
    tags = [WritableNtag21x(213, bytes.fromhex(f"04a1b2c3d4e5{number:02x}")) for number in range(3)]
    (store / "tags.csv").write_text("touchpoint;answer\nvitrine-3;\nfarewell;poor\n", encoding="utf-8-sig")
    pile += tags
    assert done("batch", "tags.csv").startswith("2 tags are done;")
    assert "--resume" in refused("batch", "tags.csv")
    assert done("batch", "tags.csv", "--resume").startswith("2 tags are done")
    (store / "tags.csv").write_text("touchpoint,answer\nvitrine-3,\nfarewell,poor\nvitrine-4,\n", encoding="utf-8")
    with (store / "tags.results.csv").open("ab") as results:
        results.write(b"vitrine-4,,https://id.ac")  # torn off by a power cut
    assert done("batch", "tags.csv", "--resume").startswith("3 tags are done")
    rows = list(csv.DictReader((store / "tags.results.csv").read_text(encoding="utf-8").splitlines()))
    finished = [row for row in rows if row["state"] == "protected"]
    assert [row["touchpoint"] for row in finished] == ["vitrine-3", "farewell", "vitrine-4"]
    assert [link_on(tag) for tag in tags] == [row["link"] for row in finished]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name\nx\n", "no column touchpoint"),
        ("touchpoint\n", "is empty"),
        ("touchpoint\nnobody\n", "line 2: nobody is no touchpoint, is retired, or has no link"),
        ("touchpoint\nvitrine-3\nvitrine-3\n", "line 3: vitrine-3 stands in line 2 already"),
        ("touchpoint\nfarewell\n", "say which answer, good, poor"),
        ("touchpoint,answer\nvitrine-3\n", "more or fewer fields"),
        ('touchpoint\n"vitrine-3\n', "no CSV"),
    ],
)
def test_a_list_that_is_wrong(store: Path, text: str, said: str) -> None:
    """The line and what is wrong with it, before a tag is asked for."""
    (store / "tags.csv").write_text(text, encoding="utf-8")
    assert said in refused("batch", "tags.csv")
    assert not (store / "tags.results.csv").exists()


def test_a_list_that_cannot_be_read(store: Path) -> None:
    """Not there, not in UTF-8, results that are something else."""
    assert "none.csv" in refused("batch", "none.csv")
    (store / "tags.csv").write_bytes(b"touchpoint\nvitrin\xe9\n")
    assert "save it as CSV UTF-8" in refused("batch", "tags.csv")
    (store / "tags.csv").write_text("touchpoint\nvitrine-3\n", encoding="utf-8")
    assert "no results of a batch" in refused("batch", "tags.csv", "--out", "registry.csv", "--resume")


def test_a_link_that_is_too_long(store: Path) -> None:
    """The chip that would hold it is named before a tag is touched."""
    answer = "x" * 150
    (store / "long.csv").write_text(REGISTRY.replace("#good", f"#{answer}"), encoding="utf-8")
    assert typed("touchpoints", "import", "long.csv").exit_code == 0
    (store / "tags.csv").write_text(f"touchpoint,answer\nfarewell,{answer}\n", encoding="utf-8")
    assert "Take an NTAG215" in refused("batch", "tags.csv", "--chip", "NTAG213")


def test_readers_that_are_not_there(store: Path, chip: Pn532) -> None:
    """None, two, one by another name, one that is unplugged."""
    words = ("write", "vitrine-3")
    assert "No NFC reader is called till: bench" in refused(*words, "--reader", "till")
    chip.unplug()
    assert "is not there: unplugged" in refused(*words)
    two = READER.format(name="bench", device=chip.device) + READER.format(name="till", device="usb")
    for readers, said in (("", "No NFC reader is configured"), (two, "say which with --reader, bench, till")):
        (store / "gateway.toml").write_text(CONFIGURATION + readers, encoding="utf-8")
        assert said in refused(*words)


async def test_the_running_gateway_lends_its_reader_and_reads_what_was_written(
    store: Path, chip: Pn532, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It leaves the reader to the command; what lies there after it is nobody's tap, until it is laid there anew."""
    monkeypatch.setattr("gateway.sources.nfc.AWAY_SECONDS", 0.1)
    settings = load(store / "gateway.toml")
    async with open_capture(settings) as half, serve(settings.gateway.sockets, handlers(half, settings), None):
        running = asyncio.ensure_future(half.run([source(settings.readers[0], half)]))
        try:
            await until(lambda: "bench" in half.readers and half.readers["bench"].up)
            tag = WritableNtag21x(213, UID)
            chip.place(tag)
            result = await asyncio.to_thread(typed, "tags", "write", "vitrine-4")
            assert result.exit_code == 0, result.output
            await until(lambda: half.readers["bench"].up)
            seen = chip.commands
            await until(lambda: chip.commands > seen + LOOKS)
            assert half.counts["acted_on"] == 0
            chip.remove()
            seen = chip.commands
            await until(lambda: chip.commands > seen + LOOKS)
            chip.place(tag)
            await until(lambda: half.counts["acted_on"] == 1)
            assert link_on(tag) == "https://id.acme.example/t/vitrine-4"
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running


@pytest.mark.usefixtures("store")
def test_ctrl_c_lets_go_of_the_reader(chip: Pn532) -> None:
    """Whoever waits for a tag and stops is told where to look, and the reader is free again."""
    words = (sys.executable, "-m", "gateway", "tags", "write", "vitrine-3")
    command = subprocess.Popen(words, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    try:
        seen, asked = chip.commands, False
        while not asked:
            asked = chip.commands > seen + 30 or command.poll() is not None
            threading.Event().wait(0.05)
        command.send_signal(signal.SIGINT)
        assert "touchpoint tags inventory" in command.communicate(timeout=30)[1]
        assert command.returncode == 130
    finally:
        command.kill()
        command.wait()
    chip.place(WritableNtag21x(213, UID))
    assert "anybody can write it" in done("read")


@pytest.mark.parametrize(
    ("at", "torn", "states"),
    [((3,), False, {"protected"}), ((3,), True, {"begun"}), ((3, 4), False, {"begun", "written", "protected"})],
    ids=["once", "torn", "impatient"],
)
@pytest.mark.usefixtures("store")
def test_ctrl_c_in_the_middle_of_a_write(chip: Pn532, at: tuple[int, ...], torn: bool, states: set[str]) -> None:  # noqa: FBT001 -- a parameter
    """The tag on the reader is finished, or listed if it is taken away or Ctrl-C comes twice; the reader is free."""
    tag = Signalling(UID, signal.SIGINT, *at)
    if torn:
        tag.tear(at[0])
    words = (sys.executable, "-m", "gateway", "tags", "write", "vitrine-3")
    with subprocess.Popen(words, cwd=ROOT, stderr=subprocess.PIPE, text=True) as command:
        tag.victim = command
        chip.place(tag)
        said = command.communicate(timeout=50)[1]
    assert (command.returncode, "Traceback" in said) == (130, False), said
    assert "touchpoint tags inventory" in said
    (listed,) = json.loads(typed("tags", "inventory", "--json").stdout)
    assert listed["state"] in states
    assert link_on(tag) in ({LINK} if states == {"protected"} else {None, LINK})
    tag.whole()
    chip.place(tag)
    assert "protected" in done("write", "vitrine-3")
    assert link_on(tag) == LINK


def test_ctrl_c_in_the_middle_of_a_batch(store: Path, chip: Pn532, pile: list[WritableNtag21x]) -> None:
    """The tag on the reader is finished and stands in the results; --resume asks for the others alone."""
    (store / "tags.csv").write_text("touchpoint\nvitrine-3\nvitrine-4\n", encoding="utf-8")
    tag = Signalling(UID, signal.SIGINT, 3)
    words = (sys.executable, "-m", "gateway", "tags", "batch", str(store / "tags.csv"))
    with subprocess.Popen(words, cwd=ROOT, stderr=subprocess.PIPE, text=True) as command:
        tag.victim = command
        chip.place(tag)
        said = command.communicate(timeout=50)[1]
    assert (command.returncode, "Traceback" in said) == (130, False), said
    assert "Stopped with 1 of 2 done. Go on with: touchpoint tags batch FILE.csv --resume" in said
    assert link_on(tag) == LINK
    pile.append(WritableNtag21x(213, UID[::-1]))
    assert done("batch", "tags.csv", "--resume").startswith("2 tags are done; 0 tries failed")
    assert pile == []
    states = [(each["touchpoint"], each["state"]) for each in json.loads(done("inventory", "--json"))]
    assert states == [("vitrine-3", "protected"), ("vitrine-4", "protected")]


@pytest.mark.usefixtures("store")
def test_a_command_that_is_killed_at_any_write_is_finished_by_the_next(chip: Pn532) -> None:
    """The tag holds the link or nothing, is listed as half done or written, and the same command finishes it."""
    words = (sys.executable, "-m", "gateway", "tags", "write", "vitrine-3", "--overwrite")
    seen: set[tuple[str, str | None]] = set()
    for at in count(1, 2):
        tag = Signalling(UID[:-1] + bytes([at]), signal.SIGKILL, at)
        tag.victim = subprocess.Popen(words, cwd=ROOT, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, text=True)
        chip.place(tag)
        ended = tag.victim.wait(30)
        chip.remove()
        if ended == 0:  # it had fewer writes to do
            break
        listed = json.loads(typed("tags", "inventory", "--json").stdout)
        seen.update((each["state"], link_on(tag)) for each in listed if each["state"] != "protected")
        chip.place(tag)
        assert "protected" in done("write", "vitrine-3", "--overwrite")
        chip.remove()
    assert {("begun", None), ("written", LINK)} <= seen <= {("begun", None), ("begun", LINK), ("written", LINK)}
    assert typed("tags", "inventory").exit_code == 0


@pytest.fixture
def hand(chip: Pn532, monkeypatch: pytest.MonkeyPatch) -> list[WritableNtag21x]:
    """Tags that a person lays on the reader, one after each failed try; a reader that was pulled out is plugged in."""
    tags: list[WritableNtag21x] = []
    lose, wait_until_gone = Bench._lose, Bench.wait_until_gone  # noqa: SLF001 -- where a person hears of it

    def plug_in(bench: Bench) -> None:
        lose(bench)
        chip.unplug()
        chip.mute, chip.spoil = False, bytes
        chip.plug()

    def lay(bench: Bench) -> None:
        chip.remove()
        wait_until_gone(bench)
        tags[0].whole()
        chip.place(tags.pop(0))

    monkeypatch.setattr(Bench, "_lose", plug_in)
    monkeypatch.setattr(Bench, "wait_until_gone", lay)
    return tags


@pytest.mark.parametrize(
    ("words", "said", "state"),
    [
        (("read",), "It carries the link of vitrine-3", "protected"),
        (("verify",), "as it was written", "protected"),
        (("erase",), "its tag is empty", "erased"),
        (("lock", "--yes"), "locked for good", "locked"),
    ],
    ids=["read", "verify", "erase", "lock"],
)
@pytest.mark.usefixtures("store")
def test_a_reader_that_is_lost_and_comes_back(
    chip: Pn532, hand: list[WritableNtag21x], words: tuple[str, ...], said: str, state: str
) -> None:
    """Wherever it was pulled out, the command says so, and does its work once the same tag lies there again."""
    lost = 0
    for at in count(1, 3):
        tag = Unplugging(chip, UID[:-1] + bytes([at]))
        chip.place(tag)
        done("write", "vitrine-3")
        tag.at = at
        hand[:] = [tag]
        result = typed("tags", *words)
        assert (result.exit_code, said in result.stdout) == (0, True), (at, result.output)
        lost += "put the SAME tag back" in result.stderr
        if tag.at > 0:  # it was given fewer commands
            break
        assert "The reader does not answer: plug it in again" in result.stderr
    assert lost > 1
    assert {each["state"] for each in json.loads(done("inventory", "--json"))} == {state}


@pytest.mark.usefixtures("store")
def test_another_tag_is_not_erased_instead(chip: Pn532, hand: list[WritableNtag21x]) -> None:
    """While a tag that moved away is waited for, others are refused, and stay as they are."""
    tag, other = WritableNtag21x(213, UID), WritableNtag21x(213, UID[::-1])
    for each, touchpoint in ((other, "vitrine-4"), (tag, "vitrine-3")):
        chip.place(each)
        done("write", touchpoint)
    tag.tear(2)
    before = bytes(other.memory)
    hand += [other, tag]
    chip.place(tag)
    result = typed("tags", "erase")
    assert result.exit_code == 0, result.output
    assert "This is another tag than the one that moved away" in result.stderr
    assert (bytes(other.memory), link_on(tag)) == (before, None)
