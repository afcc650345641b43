"""What staff ask of the capture half, over its socket and its own files."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gateway.capture import Capture
from gateway.config import load
from gateway.control import RequestError
from gateway.core.event import Event, EventType
from gateway.core.path import Fate
from gateway.core.pseudonym import derive
from gateway.core.sighting import Identifier, Scan, Sighting, Tag
from gateway.daemon.capture import desk, open_capture
from gateway.daemon.trust import ledger as ledger_of
from gateway.daemon.uplink import open_progress
from gateway.desk import Desk
from gateway.sources.source import SourceStatus
from gateway.store.backlog import Backlog
from gateway.store.progress import Progress, record
from gateway.store.touchpoints import load as load_touchpoints
from tests.shop import until

HEADER = "id,kind,name,zone,phase,gtin,reference,serial,campaign,valid_from,valid_until,identifiers"
TOKEN = "https://id.acme.example/m/Zk3vX9c1QmS7tB0dLw2RfA"
CONFIGURATION = """
[gateway]
tenant = "acme"
site = "zrh-1"
id = "gw-1"
state = "."
[mqtt]
host = "127.0.0.1"
[pseudonym]
keys = "./keys.json"
[clock]
source = "trusted"
[[reader]]
name = "scanner"
kind = "scanner"
device = "/none"
touchpoint = "counter"
[links]
domain = "id.acme.example"
[[bearer]]
kind = "link"
prefix = "https://id.acme.example/m/"
"""
TWO_MORE = """
[[reader]]
name = "nfc"
kind = "nfc"
touchpoint = "counter"
[[reader]]
name = "salon"
kind = "ble"
zone = "salon"
"""


async def silent(answer: Mapping[str, Any]) -> None:
    del answer


@asynccontextmanager
async def desk_in(directory: Path, configuration: str) -> AsyncIterator[Desk]:
    """Open the desk of a capture half with keys and one working reader; no source runs."""
    (directory / "gateway.toml").write_text(configuration, encoding="utf-8")
    (directory / "keys.json").write_text(
        derive(bytes(32), "acme", "zrh-1", [("2026Q4", 0, None)]).to_json(), encoding="utf-8"
    )
    settings = load(directory / "gateway.toml")
    async with open_capture(settings) as half:
        half.show(SourceStatus("scanner", up=True))
        yield desk(half, settings)


@pytest.fixture
async def open_desk(directory: Path) -> AsyncIterator[Desk]:
    """The desk of a store with one scanner."""
    async with desk_in(directory, CONFIGURATION) as counter:
        yield counter


async def act(counter: Desk, name: str, **request: object) -> dict[str, Any]:
    return await counter.handlers()[name](request, silent)


async def test_a_grant_is_renewed_and_a_grant_after_a_withdrawal_is_a_new_record(open_desk: Desk) -> None:
    """The same purposes again: the next revision. After a withdrawal: another record, and the tombstone stays."""
    first = await act(open_desk, "consent-grant", token=TOKEN)
    again = await act(open_desk, "consent-grant", token=TOKEN, notice="2", language="de")
    assert (again["record_id"], again["revision"], again["state"]) == (first["record_id"], 2, "renewed")
    assert (again["notice_version"], again["language"]) == ("2", "de")
    assert (await act(open_desk, "consent-withdraw", token=TOKEN))["withdrawn"] == 1
    assert (await act(open_desk, "consent-withdraw", token=TOKEN))["withdrawn"] == 0
    third = await act(open_desk, "consent-grant", token=TOKEN)
    assert third["record_id"] != first["record_id"]
    shown = (await act(open_desk, "consent-show", token=TOKEN))["records"]
    assert sorted(record["state"] for record in shown) == ["given", "withdrawn"]
    assert "handles" not in shown[0]


async def test_what_is_no_token_is_refused(open_desk: Desk) -> None:
    """Neither a touchpoint nor any text is a customer; nothing of it is repeated in the message."""
    with pytest.raises(RequestError, match="not a customer's token") as refused:
        await act(open_desk, "consent-grant", token="https://elsewhere.example/secret-text")  # noqa: S106
    assert "secret-text" not in str(refused.value)


async def test_without_keys_no_consent_is_recorded(open_desk: Desk) -> None:
    """A handle cannot be made, and the message says what to do."""
    open_desk.capture.path.subjects.ring = None
    with pytest.raises(RequestError, match="touchpoint keys"):
        await act(open_desk, "consent-grant", token=TOKEN)


async def test_the_token_is_presented_at_a_reader(open_desk: Desk) -> None:
    """The next sighting of the borrowed reader is the token; the reader is then given back."""
    granting = asyncio.ensure_future(act(open_desk, "consent-grant"))
    while "scanner" not in open_desk.capture._borrowed:  # noqa: SLF001, ASYNC110  # what the source looks at
        await asyncio.sleep(0)
    with pytest.raises(RequestError, match="lent to another command"):
        await act(open_desk, "consent-show")
    assert open_desk.capture._lend(Sighting("scanner", Scan(TOKEN)))  # noqa: SLF001
    assert (await granting)["state"] == "given"
    assert not open_desk.capture._lend(Sighting("scanner", Scan(TOKEN)))  # noqa: SLF001


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"reader": "salon"}, "no reader salon; a token can be presented at: scanner"),
        ({"seconds": 0.01}, "nothing was presented at scanner"),
    ],
)
async def test_a_presentation_that_cannot_be(open_desk: Desk, request_: dict[str, object], message: str) -> None:
    """Each with what to do next."""
    with pytest.raises(RequestError, match=message):
        await act(open_desk, "consent-grant", **request_)


async def test_a_reader_that_is_down_cannot_be_borrowed(open_desk: Desk) -> None:
    """The message says why it is down."""
    open_desk.capture.show(SourceStatus("scanner", up=False, reason="unplugged"))
    with pytest.raises(RequestError, match="scanner is not working: unplugged"):
        await act(open_desk, "consent-grant")


async def test_with_two_readers_one_must_be_named(directory: Path) -> None:
    """The message lists them; a BLE reader is none of them, since nobody presents a token to it."""
    async with desk_in(directory, CONFIGURATION + TWO_MORE) as counter:
        with pytest.raises(RequestError, match="say at which reader, with --reader: scanner, nfc"):
            await act(counter, "consent-show")
        with pytest.raises(RequestError, match="no reader salon; a token can be presented at: scanner, nfc"):
            await act(counter, "consent-show", reader="salon")
        with pytest.raises(RequestError, match="nothing was presented at scanner"):
            await act(counter, "consent-show", reader="scanner", seconds=0.01)


async def test_a_tag_is_a_token_too(open_desk: Desk) -> None:
    """What a reader reads is looked at as on the path of a sighting: an NDEF link names the same customer as a scan."""
    link = TOKEN.removeprefix("https://").encode()
    tag = Tag(b"\x04\x05", b"\xd1\x01" + bytes([len(link) + 1]) + b"U\x04" + link)
    granted = await act(open_desk, "consent-grant", token=TOKEN)
    showing = asyncio.ensure_future(act(open_desk, "consent-show"))
    await until(lambda: open_desk.capture._lend(Sighting("scanner", tag)))  # noqa: SLF001  # what the source does
    assert [record["record_id"] for record in (await showing)["records"]] == [granted["record_id"]]


async def test_consent_lasts_as_long_as_was_said(open_desk: Desk) -> None:
    """`--days` counts from now, and the next event after that names nobody."""
    record = await act(open_desk, "consent-grant", token=TOKEN, days=1)
    given, until_ = (datetime.fromisoformat(record[name]) for name in ("granted_at", "expires_at"))
    assert until_ - given == timedelta(days=1)
    assert await subject_now(open_desk) is not None
    with closing(ledger_of(open_desk.settings)) as ledger:
        (consent,) = ledger.records(handle(open_desk))
    assert (consent.since_ms, consent.expires_ms) == (given.timestamp() * 1000, until_.timestamp() * 1000)


async def test_a_withdrawal_takes_back_all_that_can_be(open_desk: Desk) -> None:
    """What waits becomes a gap, what may have been sent is counted, the visit ends, the very next sighting obeys."""
    state, half = open_desk.settings.gateway.state, open_desk.capture
    await act(open_desk, "consent-grant", token=TOKEN)
    names = [await subject_now(open_desk) for _ in range(3)]
    with closing(Backlog(state)) as backlog, closing(open_progress(state, backlog, 0)) as uplink:
        record(uplink, half.writer.outbox.session, Progress(published=3, delivered=2))
    withdrawn = await act(open_desk, "consent-withdraw", token=TOKEN)
    assert (withdrawn["withdrawn"], withdrawn["possibly_sent"]) == (1, 1)
    assert half.path.visits.tokens() == {}
    assert await subject_now(open_desk) is None
    assert [event.kind for event in events(state)] == [
        EventType.GAP, EventType.GAP, EventType.CONSENT_WITHDRAWN, EventType.CONSENT_APPLIED, EventType.SCAN,
    ]  # fmt: skip
    (applied,) = [event.data for event in events(state) if event.kind is EventType.CONSENT_APPLIED]
    assert applied.model_dump()["possibly_sent"] == ({"from": 3, "through": 3},)
    written = b"".join(path.read_bytes() for path in state.iterdir() if path.is_file())
    assert names[0] is not None
    for gone in (names[0], TOKEN, TOKEN.rpartition("/")[2]):
        assert gone.encode() not in written


async def test_a_withdrawal_holds_even_if_the_rest_of_it_fails(
    open_desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tombstone is committed before anything else is done."""

    async def fail(*_: object) -> None:
        raise sqlite3.OperationalError

    await act(open_desk, "consent-grant", token=TOKEN)
    monkeypatch.setattr(Capture, "withdraw", fail)
    with pytest.raises(sqlite3.OperationalError):
        await act(open_desk, "consent-withdraw", token=TOKEN)
    assert [record["state"] for record in (await act(open_desk, "consent-show", token=TOKEN))["records"]] == [
        "withdrawn"
    ]
    assert await subject_now(open_desk) is None


async def test_no_file_holds_the_token(open_desk: Desk) -> None:
    """Granted, shown and used: only its handle is written down."""
    await act(open_desk, "consent-grant", token=TOKEN)
    await subject_now(open_desk)
    files = [path for path in open_desk.settings.gateway.state.iterdir() if path.is_file()]
    written = b"".join(path.read_bytes() for path in files)
    assert handle(open_desk).encode() in written
    assert TOKEN.encode() not in written
    assert TOKEN.rpartition("/")[2].encode() not in written


async def test_a_registry_counts_for_the_very_next_sighting(open_desk: Desk) -> None:
    """Without a restart; and it is there after one."""
    new = Sighting("scanner", Scan("new"))
    half = open_desk.capture
    assert half.path.see(new, half.clock.now()).reason == "unknown"
    csv = f"{HEADER}\nvitrine-9,display,Vitrine 9,,,,,,,,,text:new\n"
    assert await act(open_desk, "registry-import", csv=csv) == {
        "added": 1, "changed": 0, "removed": 0, "unchanged": 0, "version": 1,
    }  # fmt: skip
    assert half.path.see(new, half.clock.now()).fate is Fate.ACTED_ON
    assert (await half.writer.commit(lambda outbox: load_touchpoints(outbox.connection)))[1][0].id == "vitrine-9"


async def test_a_registry_with_errors_changes_nothing(open_desk: Desk) -> None:
    """All of them are named, by line and column."""
    await act(open_desk, "registry-import", csv=f"{HEADER}\na,display,A,,,,,,,,,text:a\n")
    with pytest.raises(RequestError, match=r"line 2.*\n.*line 3"):
        await act(open_desk, "registry-import", csv=f"{HEADER}\nb,nonsense,B,,,,,,,,,\nc,display,,,,1,,,,,,\n")
    with pytest.raises(RequestError, match=r"line 2.*customer's token"):
        await act(open_desk, "registry-import", csv=f"{HEADER}\nc,display,C,,,,,,,,,link:{TOKEN}\n")
    assert set(open_desk.capture.path.registry.touchpoints) == {"a"}


async def test_a_part_of_the_registry_is_added_to_the_rest(open_desk: Desk) -> None:
    """What stands in it is added or changed, the rest stays; an identifier of the rest is refused, with its owner."""
    await act(open_desk, "registry-import", csv=f"{HEADER}\na,display,A,,,,,,,,,text:a\nb,display,B,,,,,,,,,text:b\n")
    part = f"{HEADER}\nc,display,C,,,,,,,,,\nb,display,Better,,,,,,,,,text:b\n"
    assert await act(open_desk, "registry-import", csv=part, add=True) == {
        "added": 1, "changed": 1, "removed": 0, "unchanged": 0, "version": 2,
    }  # fmt: skip
    known = open_desk.capture.path.registry.touchpoints
    assert [(each.name, each.identifiers) for each in known.values()] == [
        ("A", ("text:a",)),
        ("Better", ("text:b",)),
        ("C", ("link:https://id.acme.example/t/c",)),
    ]
    with pytest.raises(RequestError, match="c: text:a belongs to a already"):
        await act(open_desk, "registry-import", csv=f"{HEADER}\nc,display,C,,,,,,,,,text:a\n", add=True)


async def test_the_status_says_how_it_fares(open_desk: Desk) -> None:
    """Readers, numbers, clock and key; the durable counters are up to date afterwards."""
    open_desk.capture.dropped("overlong")
    open_desk.capture.show(SourceStatus("scanner", up=False, reason="unplugged"))
    assert await act(open_desk, "status") == {
        "readers": {"scanner": {"up": False, "reason": "unplugged", "lent": False}},
        "counts": {"sightings": 1, "dropped:overlong": 1},
        "clock": "synced",
        "training": 0,
        "key": True,
        "last": [],
        "health": open_desk.capture.condition(),
    }
    with closing(Backlog(open_desk.settings.gateway.state)) as backlog:
        assert backlog.tallies() == {"sightings": 1, "dropped:overlong": 1}


async def subject_now(counter: Desk) -> str | None:
    """Present the token on the path, and return the pseudonym of the event that it makes."""
    half = counter.capture
    half.path.debounce.expire(1 << 62)
    outcome = await half.commit(half.path.see(Sighting("scanner", Scan(TOKEN)), half.clock.now()))
    subject = json.loads(outcome.drafts[0].data)["subject"]
    return None if subject is None else str(subject["pseudonym"])


def handle(counter: Desk) -> str:
    found = counter.capture.path.subjects.handle(Identifier("link", TOKEN))
    assert found is not None
    return found


def events(state: Path) -> list[Event]:
    with closing(Backlog(state)) as backlog:
        return [Event.model_validate_json(row.event) for row in backlog.rows(0, 1_000, 1 << 30)]
