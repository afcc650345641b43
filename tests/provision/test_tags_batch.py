"""A batch of 200 tags with 60 faults, through the real nfcpy: every good tag is right, every bad one named.

The hand lays what it is told to on a simulated PN532, and takes it away after each try.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import closing, suppress
from itertools import count
from pathlib import Path

import ndef
import pytest

from gateway.provision.tags import bench as bench_module
from gateway.provision.tags.batch import Batch, Result, Results
from gateway.provision.tags.bench import Bench, StoppedError
from gateway.provision.tags.chips import opened
from gateway.provision.tags.fault import Fault, TagError
from gateway.provision.tags.inventory import Inventory, State, inventory
from gateway.provision.tags.message import ROOM, uri
from gateway.provision.tags.secret import TagSecret
from gateway.provision.tags.writer import Job, Writer
from gateway.sources.nfc_frontend import Frontend
from gateway.sources.nfc_message import message
from tests.simulators.nfc_field import Tag, TypeATag
from tests.simulators.ntag21x import WritableNtag21x
from tests.simulators.pn532 import Pn532

TAGS = 200
STOPPED_AT = 120
SECRET = TagSecret(bytes(range(32)))
NUMBERS = count(0x04A1B2C3D40001)


def job(number: int) -> Job:
    """Return a job; every tenth has a link that an NTAG213 cannot hold."""
    path = f"{number:03}{'x' * 150 if number % 10 == 0 else ''}"
    return Job(f"vitrine-{number}", None, f"https://id.acme.example/t/vitrine-{path}?k=1&s=q2%2BxQ7_ab-cdEf")


JOBS = [job(number) for number in range(TAGS)]


def uid() -> bytes:
    return next(NUMBERS).to_bytes(7, "big")


def good(number: int) -> WritableNtag21x:
    """Return a delivered tag that has room for the link."""
    return WritableNtag21x(215 if number % 10 == 0 else 213, uid())


def link_on(tag: WritableNtag21x) -> str | None:
    """Return the link in the raw memory, as ndeflib reads it."""
    length = tag.memory[17]
    records = list(ndef.message_decoder(bytes(tag.memory[18 : 18 + length])))
    return records[0].iri if records else None


class Unplugged(WritableNtag21x):
    """A tag at whose fifth write the reader is pulled out."""

    reader: Pn532 | None = None

    def command(self, data: bytes) -> bytes | None:
        answer = super().command(data)
        if self.reader is not None and self.writes == 5:
            self.reader.mute, self.reader = True, None
        return answer


class OtherChip(WritableNtag21x):
    """A chip that says another version, as an NTAG210 does."""

    def command(self, data: bytes) -> bytes | None:
        return bytes.fromhex("0004040101000b03") if data == b"\x60" else super().command(data)


class Hand:
    """Lays tags on the reader: first what is bad for a job, then a good one, until that is done."""

    def __init__(self, reader: Pn532, bad: dict[int, list[Tag]]) -> None:
        self.reader, self.bad = reader, bad
        self.good = {number: good(number) for number in range(TAGS)}
        self.asked: list[Job] = []
        self.results: list[Result] = []
        self.stop_at: int | None = None

    def ask(self, wanted: Job, _number: int) -> None:
        number = JOBS.index(wanted)
        if number == self.stop_at:
            raise StoppedError
        self.asked.append(wanted)
        waiting = self.bad.get(number)
        self.lay(waiting[0] if waiting else self.good[number])

    def lay(self, tag: Tag) -> None:
        if isinstance(tag, WritableNtag21x) and tag.torn:
            tag.whole()
        self.reader.place(tag)

    def hear(self, result: Result) -> None:
        self.results.append(result)
        self.reader.remove()
        waiting = self.bad.get(JOBS.index(result.job))
        if waiting and not (result.fault is Fault.READER and untouched(waiting[0])):
            waiting.pop(0)
        if self.reader.mute:
            self.reader.unplug()
            self.reader.mute = False
            self.reader.plug()


def untouched(tag: Tag) -> bool:
    """Tell whether the fault of a tag is still to come: on a machine that is very busy the chip answers too late."""
    return not isinstance(tag, Unplugged) and not (isinstance(tag, WritableNtag21x) and tag.torn)


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pn532]:
    monkeypatch.setattr(bench_module, "POLL_SECONDS", 0.002)
    monkeypatch.setattr(bench_module, "REOPEN_SECONDS", 0.05)
    with Pn532(tmp_path / "ttyPN532") as reader:
        yield reader


@pytest.fixture
def listed(tmp_path: Path) -> Iterator[Inventory]:
    with inventory(tmp_path) as listed:
        yield listed


def run(hand: Hand, listed: Inventory, path: Path) -> None:
    """Write what is left of the batch."""
    clock = count(1_800_000_000_000)
    writer = Writer(SECRET, listed, lambda: next(clock), lambda tag: opened(tag, SECRET))
    with closing(Results(path)) as results, closing(Bench(hand.reader.device)) as bench:
        left = [each for each in JOBS if (each.touchpoint, "") not in results.finished]
        Batch(bench, writer, results.add, hand.ask, hand.hear).run(left)


def writes_of_a_tag(hand: Hand, listed: Inventory) -> int:
    """Return how many writes finish a tag."""
    tag = WritableNtag21x(213, uid())
    hand.reader.place(tag)
    writer = Writer(SECRET, listed, lambda: 1, lambda found: opened(found, SECRET))
    with closing(Bench(hand.reader.device)) as bench:
        bench.meet(lambda found: writer.write(found, JOBS[1]))
    return tag.writes


def torn(at: int) -> WritableNtag21x:
    tag = WritableNtag21x(213, uid())
    tag.tear(at)
    return tag


def faults(hand: Hand, writes: int) -> dict[str, list[tuple[int, Tag]]]:
    """Spread 60 faults over the batch, each before the good tag of its job."""
    locked, strange = [good(1) for _ in range(5)], [good(1) for _ in range(5)]
    for tag in locked:
        tag.memory[10:12] = b"\xf0\xff"
    for tag in strange:
        tag.protect(b"abcd", b"xy", auth0=4)
    unplugged = [Unplugged(213, uid()) for _ in range(4)]
    for tag in unplugged:
        tag.reader = hand.reader
    plain = iter([number for number in range(TAGS) if number % 10])
    small = iter([number for number in range(TAGS) if not number % 10])
    made: dict[str, list[tuple[int, Tag]]] = {
        "wrong-chip": [(next(plain), OtherChip(213, uid())) for _ in range(5)],
        "no-nfc-forum-tag": [(next(plain), TypeATag(uid(), sak=0x08)) for _ in range(5)],
        "too-small": [(next(small), WritableNtag21x(213, uid())) for _ in range(5)],
        "read-only": [(next(plain), tag) for tag in locked],
        "password-unknown": [(next(plain), tag) for tag in strange],
        "torn": [(next(plain), torn(at)) for at in range(1, writes + 1)],
        "reader-lost": [(next(plain), tag) for tag in unplugged],
    }
    rest = 60 - sum(len(each) for each in made.values())
    made["swapped"] = [(next(plain), torn(1 + number % writes)) for number in range(rest)]
    return made


def test_two_hundred_tags_with_sixty_faults(reader: Pn532, listed: Inventory, tmp_path: Path) -> None:
    """Every good tag carries its link, protected; every fault is named; a resumed batch does only what is left."""
    hand = Hand(reader, {})
    plan = faults(hand, writes_of_a_tag(hand, listed))
    hand.bad = {number: [tag] for kind in plan.values() for number, tag in kind}
    assert len(hand.bad) == sum(len(kind) for kind in plan.values()) == 60
    for number, tag in [*plan["torn"], *plan["reader-lost"]]:  # the same tag is put back
        assert isinstance(tag, WritableNtag21x)
        hand.good[number] = tag
    hand.stop_at = STOPPED_AT
    with pytest.raises(StoppedError):
        run(hand, listed, tmp_path / "results.csv")
    hand.stop_at = None
    first, hand.asked = set(hand.asked), []
    run(hand, listed, tmp_path / "results.csv")
    assert first == set(JOBS[:STOPPED_AT])
    assert set(hand.asked) == set(JOBS[STOPPED_AT:])
    check_tags(hand, listed)
    check_faults(hand, listed, plan)
    with closing(Results(tmp_path / "results.csv")) as results:
        assert len(results.finished) == TAGS


def check_tags(hand: Hand, listed: Inventory) -> None:
    """Each tag holds its link, as ndeflib and the gateway's NFC source read it, and has its own password."""
    for number, tag in hand.good.items():
        assert link_on(tag) == JOBS[number].link
        assert tag.password + tag.pack == SECRET.password(tag.uid)
        assert tag.auth0 == 2
        entry = listed.find(SECRET.name(tag.uid))
        assert entry is not None
        assert (entry.touchpoint, entry.state) == (JOBS[number].touchpoint, State.PROTECTED)
    left = dict(hand.good)
    while left:
        with suppress(OSError), closing(Frontend(hand.reader.device)) as frontend:  # nfcpy waits 0.1 s for the chip
            check_read(hand.reader, frontend, left)


def check_read(reader: Pn532, frontend: Frontend, left: dict[int, WritableNtag21x]) -> None:
    """Read tags as the gateway's NFC source does, until none is left. Raises OSError on a machine that is very busy."""
    for number, tag in list(left.items()):
        reader.place(tag)
        read = message(frontend.find(lambda _: True, lambda: False))
        assert read in {None, uri(JOBS[number].link)}
        if read is not None:
            del left[number]


def check_faults(hand: Hand, listed: Inventory, plan: dict[str, list[tuple[int, Tag]]]) -> None:
    """Each bad tag is named at its job; what was swapped is listed as lost, and can be written anew."""
    named = Counter((result.job.touchpoint, result.fault) for result in hand.results if result.fault is not None)
    for kind, tags in plan.items():
        torn = kind in {"torn", "swapped"}
        for number, _ in tags:
            said = [Fault.MOVED, Fault.READER] if torn else [Fault(kind)]
            assert any(named[JOBS[number].touchpoint, fault] for fault in said), (kind, number)
    lost = [result for result in hand.results if "counts as lost, and can be written anew" in result.message]
    assert {result.job for result in lost} >= {JOBS[number] for number, _ in plan["swapped"]}
    for number, tag in plan["swapped"]:
        entry = listed.find(SECRET.name(tag.uid))
        assert entry is not None
        assert (entry.touchpoint, entry.state) == (JOBS[number].touchpoint, State.LOST)
        assert isinstance(tag, WritableNtag21x)
        assert link_on(tag) in {None, JOBS[number].link}
    assert ROOM["NTAG213"] < len(uri(JOBS[0].link)) < ROOM["NTAG215"]


@pytest.mark.parametrize("write", [1, 9, 17])
def test_a_power_cut_leaves_what_was_begun_on_the_list(reader: Pn532, listed: Inventory, write: int) -> None:
    """What the inventory says of a tag that is half done is begun or written, and the same tag is finished then."""
    tag = WritableNtag21x(213, uid())
    tag.tear(write)
    reader.place(tag)
    writer = Writer(SECRET, listed, lambda: 1, lambda found: opened(found, SECRET))
    with closing(Bench(reader.device)) as bench:
        with pytest.raises(TagError, match="SAME tag back"):
            bench.meet(lambda found: writer.write(found, JOBS[1]))
        entry = listed.find(SECRET.name(tag.uid))
        assert entry is not None
        assert entry.state in {State.BEGUN, State.WRITTEN}
        tag.whole()
        reader.place(tag)
        assert bench.meet(lambda found: writer.write(found, JOBS[1])).state is State.PROTECTED
    assert link_on(tag) == JOBS[1].link
