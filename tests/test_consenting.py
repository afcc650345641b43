"""Consent at the counter: what is recorded, what the centre hears, what an erasure leaves."""

import asyncio
import json
import sqlite3
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Mapping
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gateway.capture import Capture
from gateway.control import RequestError
from gateway.core.downlink import ConsentRecord
from gateway.core.event import ConsentApplied, ConsentChange, Event, EventType
from gateway.core.jws import Use
from gateway.core.purpose import DPV
from gateway.core.receipt import verify
from gateway.core.sighting import ClockQuality, Identifier, Moment, Scan, Sighting
from gateway.customers import WITHDRAWING, forget_ended, resume
from gateway.desk import Desk
from gateway.store import audit, customer
from gateway.store.backlog import Backlog
from gateway.store.database import open_writer, transaction
from gateway.store.outbox import Outbox
from gateway.store.schema import UPLINK
from tests.iso27560.validate import faults
from tests.shop import until
from tests.simulators.centre import confirmation
from tests.simulators.centre_keys import CENTRE, STRANGER
from tests.test_desk import CONFIGURATION, TOKEN, act, desk_in, subject_now

OTHER = "https://id.acme.example/m/yC0mBqK7w1m0cVd3o9lS2Q"
KEY = urlsafe_b64encode(CENTRE.key.public_key().public_bytes_raw()).rstrip(b"=").decode()
WITH_CENTRE = f"""{CONFIGURATION}
[consent]
controller = "Acme SA"
purposes = {{ tap = "personalisation", scan = "personalisation", response = "service-usage-analytics" }}
[[issuer]]
kid = "centre-1"
key = "{KEY}"
"""


@pytest.fixture
async def counter(directory: Path) -> AsyncIterator[Desk]:
    """The counter of a store whose centre has a say in consents."""
    async with desk_in(directory, WITH_CENTRE) as desk:
        yield desk


def handle(desk: Desk, token: str) -> str:
    found = desk.capture.path.subjects.handle(Identifier("link", token))
    assert found is not None
    return found


def state(desk: Desk) -> Path:
    return desk.settings.gateway.state


def say(desk: Desk, *tokens: str, signer: Any = CENTRE, **changes: object) -> ConsentRecord:  # noqa: ANN401  # a signer
    """Have the centre say that the bearer of these tokens consents, and that this is the whole set."""
    now = datetime.now(UTC) - timedelta(hours=1)  # noqa: TID251  # the gateway's clock is trusted here
    record = ConsentRecord(
        record_id="rec-1",
        handles=tuple(handle(desk, token) for token in tokens),
        controller="Acme SA",
        purposes=(f"{DPV}Personalisation",),
        legal_basis="consent",
        granted_at=now,
        expires_at=now + timedelta(days=30),
        notice_version="2026-01",
        language="fr",
        jurisdiction="CH",
        source="central",
        state="given",
        revision=7,
        issuer_kid="centre-1",
        tenant="acme",
        site="zrh-1",
    ).model_copy(update=changes)
    row = (record.record_id, 1, record.revision, record.state, record.since_ms, record.expires_ms)
    with closing(open_writer(state(desk), UPLINK)) as store, transaction(store):
        store.execute(
            "INSERT INTO consent (record_id, position, revision, state, since_ms, expires_ms, record) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            (*row, signer.sign(record.model_dump_json().encode())),
        )
        store.executemany(
            "INSERT INTO consent_handle (handle, record_id) VALUES (?, ?)",
            [(each, record.record_id) for each in record.handles],
        )
        store.execute("DELETE FROM consent_set")
        store.execute(
            "INSERT INTO consent_set (revision, count, digest, at_ms, confirmed, record) VALUES (41, 1, 'x', ?, 1, ?)",
            (desk.capture.clock.now().wall_ms, confirmation(desk.capture.clock.now().wall_ms, 41)),
        )
    return record


def events(desk: Desk) -> list[Event]:
    with closing(Backlog(state(desk))) as backlog:
        return [Event.model_validate_json(row.event) for row in backlog.rows(0, 1_000, 1 << 30)]


def kinds(desk: Desk) -> list[EventType]:
    return [event.kind for event in events(desk)]


async def entries(desk: Desk) -> list[audit.Entry]:
    return await desk.capture.writer.commit(lambda outbox: list(audit.entries(outbox.connection)))


def signed(desk: Desk, event: Event) -> ConsentRecord:
    """Return the record that an event carries; this gateway has signed it."""
    assert isinstance(event.data, ConsentChange)
    payload = desk.capture.signer.believed(Use.CONSENT).verify(event.data.record, Use.CONSENT)[1]
    return ConsentRecord.model_validate_json(payload)


async def at_the_reader(
    desk: Desk, name: str, *tokens: str, **request: object
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Ask, and hold tokens to the scanner, each as soon as one is waited for; return the answer and what was told."""
    told: list[dict[str, Any]] = []

    async def tell(answer: Mapping[str, Any]) -> None:
        told.append(dict(answer))

    asking = asyncio.ensure_future(desk.handlers()[name](request, tell))
    for token in tokens:
        await until(lambda token=token: desk.capture._lend(Sighting("scanner", Scan(token))))  # type: ignore[misc]  # noqa: SLF001
    return await asking, told


async def test_a_grant_is_one_commit(counter: Desk) -> None:
    """The record, the event that tells the centre, the entry of the audit log: with IRIs, terms and the reader."""
    answer, told = await at_the_reader(counter, "consent-grant", TOKEN, who="anna", notice="2026-03", language="de")
    assert told == [{"present": "scanner", "number": 1, "of": 1}]
    assert answer["purposes"] == ["personalisation", "service-usage-analytics"]
    assert verify(answer["receipt"], counter.capture.signer.believed(Use.CONSENT)) == "acme.zrh-1.gw-1"
    (event,) = events(counter)
    record = signed(counter, event)
    assert isinstance(event.data, ConsentChange)
    assert (event.kind, event.data.reader, event.data.revision) == (EventType.CONSENT_GRANTED, "scanner", 1)
    assert record.purposes == (f"{DPV}Personalisation", f"{DPV}ServiceUsageAnalytics")
    assert (record.notice_version, record.language, record.controller) == ("2026-03", "de", "Acme SA")
    assert record.terms is not None
    (entry,) = await entries(counter)
    assert (entry.who, entry.what) == ("anna", "consent-granted")
    assert json.loads(entry.detail) == {
        "language": "de",
        "notice": "2026-03",
        "purposes": ["personalisation", "service-usage-analytics"],
        "reader": "scanner",
        "state": "given",
        "tokens": 1,
    }


async def test_several_tokens_come_under_one_consent(counter: Desk) -> None:
    """One after another; the same one twice is told, once, and not counted."""
    answer, told = await at_the_reader(counter, "consent-grant", TOKEN, TOKEN, TOKEN, OTHER, tokens=2)
    assert told == [
        {"present": "scanner", "number": 1, "of": 2},
        {"present": "scanner", "number": 2, "of": 2},
        {"again": "scanner"},
    ]
    assert answer["tokens"] == 2
    assert signed(counter, events(counter)[0]).handles == (handle(counter, TOKEN), handle(counter, OTHER))
    assert (await act(counter, "consent-withdraw", token=OTHER))["withdrawn"] == 1


async def test_a_second_token_that_never_comes_leaves_nothing(counter: Desk) -> None:
    """Neither a record nor an event: the message says so."""
    with pytest.raises(RequestError, match="nothing else was presented at scanner, and nothing is recorded"):
        await at_the_reader(counter, "consent-grant", TOKEN, tokens=2, seconds=0.05)
    assert events(counter) == []
    assert (await act(counter, "consent-show", token=TOKEN))["records"] == []


async def test_a_record_of_the_centre_is_renewed_in_its_own_name(counter: Desk) -> None:
    """The next revision of the same record, with all its tokens: so the centre never sends the old one again."""
    say(counter, TOKEN, OTHER)
    answer = await act(counter, "consent-grant", token=TOKEN, purposes=["personalisation"])
    assert (answer["record_id"], answer["revision"], answer["state"]) == ("rec-1", 8, "renewed")
    record = signed(counter, events(counter)[0])
    assert set(record.handles) == {handle(counter, TOKEN), handle(counter, OTHER)}
    assert (record.source, record.issuer_kid) == ("store", "acme.zrh-1.gw-1")


async def test_a_withdrawal_ends_what_the_centre_has_recorded(counter: Desk) -> None:
    """For every token of the customer, at once; the centre hears of the tombstone and of what may have been sent."""
    say(counter, TOKEN, OTHER)
    assert await subject_now(counter) is not None
    answer, _ = await at_the_reader(counter, "consent-withdraw", OTHER)
    assert answer["withdrawn"] == 1
    assert await subject_now(counter) is None
    assert kinds(counter) == [
        EventType.GAP, EventType.CONSENT_WITHDRAWN, EventType.CONSENT_APPLIED, EventType.SCAN,
    ]  # fmt: skip
    tombstone, applied = signed(counter, events(counter)[1]), events(counter)[2].data
    assert (tombstone.record_id, tombstone.revision, tombstone.state) == ("rec-1", 8, "withdrawn")
    assert isinstance(applied, ConsentApplied)
    assert answer["receipts"][0].startswith("Consentement retiré le ")  # the centre's record says: fr
    again = await act(counter, "consent-withdraw", token=TOKEN)
    assert again == {"withdrawn": 0, "possibly_sent": 0, "receipts": []}
    assert kinds(counter).count(EventType.CONSENT_APPLIED) == 1


async def test_a_forged_record_is_neither_renewed_nor_shown(counter: Desk) -> None:
    """It stands in the way, and whoever asks is told."""
    say(counter, TOKEN, signer=STRANGER)
    answer = await act(counter, "consent-grant", token=TOKEN)
    assert (answer["state"], answer["unverified"]) == ("given", 1)
    assert [each["state"] for each in (await act(counter, "consent-show", token=TOKEN))["records"]] == ["given"]
    assert await subject_now(counter) is None


async def test_a_damaged_file_of_the_centre_keeps_nobody_from_withdrawing(counter: Desk) -> None:
    """What was said here ends at once; what may have been sent is found out when the file is mended."""
    await act(counter, "consent-grant", token=TOKEN)
    (state(counter) / "uplink.db").write_bytes(b"no database" * 1_000)
    answer = await act(counter, "consent-withdraw", token=TOKEN)
    assert (answer["withdrawn"], answer["possibly_sent"]) == (1, None)
    assert kinds(counter) == [EventType.CONSENT_GRANTED, EventType.CONSENT_WITHDRAWN]
    (state(counter) / "uplink.db").unlink()
    await resume(counter.capture)
    assert kinds(counter)[-1] is EventType.CONSENT_APPLIED


async def test_another_customers_record_cannot_be_slipped_in(counter: Desk) -> None:
    """What counts is the signed text: a row of the network half that says otherwise counts for nothing."""
    say(counter, OTHER)
    with closing(open_writer(state(counter), UPLINK)) as store, transaction(store):
        store.execute("INSERT INTO consent_handle (handle, record_id) VALUES (?, 'rec-1')", (handle(counter, TOKEN),))
    assert (await act(counter, "consent-access", token=TOKEN))["records"] == []
    assert (await act(counter, "consent-withdraw", token=TOKEN))["withdrawn"] == 0
    assert len((await act(counter, "consent-show", token=OTHER))["records"]) == 1


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"purposes": ["secret purpose"]}, "that is no purpose of this gateway; .* personalisation, service-usage"),
        ({"purposes": ["marketing"]}, "that is no purpose of this gateway"),
        ({"purposes": [""]}, "that is no purpose of this gateway"),
        ({"language": "no language"}, "--language takes a language tag"),
        ({"language": ""}, "--language takes a language tag"),
        ({"notice": ""}, "--notice takes 1 to 128 characters"),
        ({"notice": "x" * 129, "language": "!"}, "--notice takes.*--language takes|--language takes.*--notice takes"),
        ({"days": 0}, "--days takes a whole number from 1 to 3653"),
        ({"days": 10**30}, "--days takes a whole number"),
        ({"days": True}, "--days takes a whole number"),
        ({"days": "7"}, "--days takes a whole number"),
        ({"tokens": 33}, "--tokens takes a whole number from 1 to 32"),
    ],
)
async def test_what_cannot_be_recorded_is_refused_before_anybody_presents_anything(
    counter: Desk, request_: dict[str, object], message: str
) -> None:
    """With what the option takes, in words of ours; nothing is recorded, and nothing quoted."""
    asked: list[object] = []

    async def tell(answer: Mapping[str, Any]) -> None:
        asked.append(answer)

    with pytest.raises(RequestError, match=message) as refused:
        await counter.handlers()["consent-grant"]({**request_, "seconds": 0.01}, tell)
    assert asked == []
    for word in ("secret", "no language", "pydantic", "x" * 20):
        assert word not in str(refused.value)
    assert events(counter) == []
    assert await entries(counter) == []


async def test_too_many_tokens_are_refused(counter: Desk) -> None:
    """Those of a test are counted, and those that a record would have to name."""
    with pytest.raises(RequestError, match="1 to 32 tokens"):
        await act(counter, "consent-grant", token=[])
    many = tuple(f"h1.{number:022}" for number in range(32))
    say(counter, TOKEN, handles=(handle(counter, TOKEN), *many[1:]))
    with pytest.raises(RequestError, match="32 tokens at most, and nothing is recorded"):
        await act(counter, "consent-grant", token=[TOKEN, OTHER])
    assert events(counter) == []


async def test_without_a_synced_clock_consent_is_not_recorded_and_can_be_withdrawn(
    counter: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When it was given could not be proven; a withdrawal holds whenever it is said, not before what it ends."""
    granted = await act(counter, "consent-grant", token=TOKEN)
    monkeypatch.setattr(type(counter.capture.clock), "now", lambda _: Moment(1, 5, ClockQuality.UNSYNCED))
    with pytest.raises(RequestError, match="clock is not synced"):
        await act(counter, "consent-grant", token=TOKEN)
    assert (await act(counter, "consent-withdraw", token=TOKEN))["withdrawn"] == 1
    (shown,) = (await act(counter, "consent-show", token=TOKEN))["records"]
    assert (shown["state"], shown["withdrawn_at"]) == ("withdrawn", granted["granted_at"])


async def test_an_export_is_a_record_of_the_specification(counter: Desk) -> None:
    """Given here or at the centre: by a schema that was written apart. That it was asked for is in the audit log."""
    say(counter, OTHER)
    await act(counter, "consent-grant", token=[TOKEN, OTHER])
    await act(counter, "consent-withdraw", token=TOKEN)
    await act(counter, "consent-grant", token=TOKEN)
    records = (await act(counter, "consent-export", token=TOKEN, who="anna"))["records"]
    assert {each["record_id"] == "rec-1" for each in records} == {True, False}
    assert [fault for each in records for fault in faults(each)] == []
    last = (await entries(counter))[-1]
    assert (last.who, last.what, json.loads(last.detail)) == ("anna", "consent-exported", {"reader": None})


async def test_access_tells_all_that_is_held(counter: Desk) -> None:
    """Records, events that wait, the open visit, and each name under which events leave."""
    say(counter, TOKEN, OTHER)
    name = await subject_now(counter)
    await act(counter, "consent-grant", token=TOKEN)
    await act(counter, "consent-grant", token="https://id.acme.example/m/AAAAAAAAAAAAAAAAAAAAAA")  # noqa: S106
    told = await act(counter, "consent-access", token=TOKEN)
    assert told["records"][0]["record_id"] == "rec-1"
    assert [each["type"].split(".")[1] for each in told["events"]] == ["scan", "consent-granted"]
    assert (told["visits"], told["presences"]) == (["scanner"], [])
    assert told["handles"] == sorted([handle(counter, TOKEN), handle(counter, OTHER)])
    assert name in [each["pseudonym"] for each in told["pseudonyms"]]
    assert TOKEN not in json.dumps(told)
    other = await act(counter, "consent-access", token="https://id.acme.example/m/BBBBBBBBBBBBBBBBBBBBBB")  # noqa: S106
    assert [other[part] for part in ("records", "events", "visits", "presences")] == [[], [], [], []]


async def test_the_audit_log_names_no_customer(counter: Desk) -> None:
    """Neither token, handle nor record: who asked, what, when."""
    answer = await act(counter, "consent-grant", token=TOKEN)
    for name in ("consent-export", "consent-access", "consent-withdraw", "erase"):
        await act(counter, name, token=TOKEN, who="anna")
    written = await entries(counter)
    assert [each.what for each in written] == [
        "consent-granted", "consent-exported", "consent-accessed", "consent-withdrawn", "erased",
    ]  # fmt: skip
    for secret in (TOKEN, handle(counter, TOKEN), answer["record_id"]):
        assert secret not in "".join(each.detail for each in written)


async def test_an_erasure_leaves_a_bare_tombstone_and_proves_the_rest(counter: Desk) -> None:
    """Grants that wait and events become gaps; no file holds a name under which the customer's events leave."""
    say(counter, OTHER)  # somebody else's
    await act(counter, "consent-grant", token=TOKEN)
    names = {str(await subject_now(counter)) for _ in range(2)}
    assert "None" not in names
    answer, _ = await at_the_reader(counter, "erase", TOKEN)
    assert {key: answer[key] for key in ("withdrawn", "removed", "possibly_sent", "waiting", "central")} == {
        "withdrawn": 1, "removed": 0, "possibly_sent": 0, "waiting": 1, "central": 0,
    }  # fmt: skip
    assert [each["what"] for each in answer["kept"]] == ["tombstone"]
    assert answer["proof"]["holds"]
    assert answer["proof"]["found"] == answer["proof"]["unread"] == []
    assert kinds(counter) == [
        EventType.GAP, EventType.GAP, EventType.GAP, EventType.CONSENT_WITHDRAWN, EventType.CONSENT_APPLIED,
    ]  # fmt: skip
    (left,) = (await act(counter, "consent-show", token=TOKEN))["records"]
    assert (left["state"], left["purposes"], left["notice_version"]) == ("withdrawn", [], "-")
    assert await subject_now(counter) is None
    files = b"".join(path.read_bytes() for path in state(counter).iterdir() if path.is_file())
    for gone in (*names, TOKEN):
        assert gone.encode() not in files
    assert (await act(counter, "consent-grant", token=TOKEN))["state"] == "given"


async def test_the_proof_finds_what_is_there(counter: Desk) -> None:
    """A token that somebody wrote into the state directory, in whatever spelling, and a file that cannot be read."""
    (state(counter) / "notes.txt").write_text(TOKEN.encode().hex(), encoding="ascii")
    proof = (await act(counter, "erase", token=TOKEN))["proof"]
    assert not proof["holds"]
    assert {Path(each["file"]).name for each in proof["found"]} == {"notes.txt"}
    assert TOKEN not in json.dumps(proof)


async def test_a_tombstone_goes_when_it_is_needed_no_longer(counter: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the consent that it ended would be over by itself; that of a plain withdrawal stays as evidence."""
    await act(counter, "consent-grant", token=TOKEN, days=1)
    await act(counter, "erase", token=TOKEN)
    await act(counter, "consent-grant", token=OTHER, days=1)
    await act(counter, "consent-withdraw", token=OTHER)
    assert await forget_ended(counter.capture) == 0
    now = counter.capture.clock.now()
    later = replace(now, wall_ms=now.wall_ms + 2 * 86_400_000)
    monkeypatch.setattr(type(counter.capture.clock), "now", lambda _: later)
    assert await forget_ended(counter.capture) == 1
    assert (await act(counter, "consent-show", token=TOKEN))["records"] == []
    assert len((await act(counter, "consent-show", token=OTHER))["records"]) == 1


async def test_a_withdrawal_that_a_crash_cut_short_is_carried_through(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the next start: what waits becomes a gap and the centre is told, once."""
    async with desk_in(directory, CONFIGURATION) as desk:
        await act(desk, "consent-grant", token=TOKEN)
        assert await subject_now(desk) is not None

        async def crash(*_: object) -> None:
            raise sqlite3.OperationalError

        with monkeypatch.context() as patched:
            patched.setattr(Capture, "withdraw", crash)
            with pytest.raises(sqlite3.OperationalError):
                await act(desk, "consent-withdraw", token=TOKEN)
        assert EventType.SCAN in kinds(desk)
    for _ in range(2):
        async with desk_in(directory, CONFIGURATION) as desk:
            assert kinds(desk) == [
                EventType.CONSENT_GRANTED, EventType.GAP, EventType.CONSENT_WITHDRAWN, EventType.CONSENT_APPLIED,
            ]  # fmt: skip
            marks = await desk.capture.writer.commit(_marks)
            assert not any(mark.startswith(WITHDRAWING) for mark in marks)


def _marks(outbox: Outbox) -> list[str]:
    return [name for (name,) in outbox.connection.execute("SELECT name FROM mark")]


@pytest.mark.parametrize("name", ["consent-grant", "consent-withdraw", "erase"])
async def test_whoever_leaves_in_the_middle_leaves_nothing_half_done(
    counter: Desk, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Once the token was presented, all of it is done, at whatever point the asker hangs up."""
    if name != "consent-grant":
        await act(counter, "consent-grant", token=TOKEN)
    begun, real = asyncio.Event(), counter.capture.writer.commit

    async def slow(*arguments: Any, **options: Any) -> object:  # noqa: ANN401  # a stand-in
        begun.set()
        await asyncio.sleep(0)
        return await real(*arguments, **options)

    monkeypatch.setattr(type(counter.capture.writer), "commit", lambda _, *args, **options: slow(*args, **options))
    asking = asyncio.ensure_future(act(counter, name, token=TOKEN))
    await begun.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    ends = EventType.CONSENT_GRANTED if name == "consent-grant" else EventType.CONSENT_APPLIED
    assert kinds(counter)[-1] is ends


async def test_whoever_leaves_before_presenting_leaves_nothing(counter: Desk) -> None:
    """And the reader goes back to its work."""
    asking = asyncio.ensure_future(act(counter, "consent-grant"))
    await until(lambda: "scanner" in counter.capture._borrowed)  # noqa: SLF001  # what the source looks at
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert not counter.capture._lend(Sighting("scanner", Scan(TOKEN)))  # noqa: SLF001
    assert events(counter) == []


async def test_a_chain_of_records_is_one_customer_and_has_an_end(
    counter: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From token to record to token; no further than a customer can reach."""
    third = "https://id.acme.example/m/CCCCCCCCCCCCCCCCCCCCCC"
    await act(counter, "consent-grant", token=[TOKEN, OTHER], purposes=["personalisation"])
    await act(counter, "consent-grant", token=[OTHER, third], purposes=["service-usage-analytics"])
    assert len((await act(counter, "consent-show", token=TOKEN))["records"]) == 2
    monkeypatch.setattr(customer, "MOST", 1)
    assert len((await act(counter, "consent-show", token=TOKEN))["records"]) == 1
    monkeypatch.undo()
    assert (await act(counter, "consent-withdraw", token=third))["withdrawn"] == 2
