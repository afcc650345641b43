"""What the capture half does about the centre's word, as it stands in the uplink half's file."""

import asyncio
import json
import logging
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from gateway.capture import Capture
from gateway.centre import Centre
from gateway.clock import Clock
from gateway.core import pseudonym
from gateway.core.downlink import ConsentRecord, RegistryEntry
from gateway.core.event import CommandResult, ConsentApplied, EventType, Interaction
from gateway.core.jws import Issuer, Issuers, Signer, Use
from gateway.core.order import RestartAskedError
from gateway.core.registry import build
from gateway.core.sighting import ClockQuality, Identifier, Moment
from gateway.log import log
from gateway.store import audit, ledger
from gateway.store.backlog import Backlog
from gateway.store.central import Central
from gateway.store.database import open_writer, snapshot
from gateway.store.ledger import open_ledger
from gateway.store.outbox import Outbox
from gateway.store.progress import Followed, Progress, record
from gateway.store.recovery import set_aside
from gateway.store.schema import CAPTURE, UPLINK
from tests.core import salon
from tests.core.salon import ANNA, BEN, CLARA, RING, RULES
from tests.shop import Shop, Voice, until
from tests.simulators.centre import confirmation
from tests.simulators.centre_keys import CENTRE, GATEWAY, STRANGER
from tests.store.conftest import consent, opened, signed, tap

SINCE = datetime(2026, 3, 1, tzinfo=UTC)
A, B, C = (pseudonym.handle(RING, token) for token in (ANNA, BEN, CLARA))
COMMANDER = Issuers([Issuer(CENTRE.kid, CENTRE.key.public_key(), frozenset(Use))])


@dataclass
class CentreOf:
    """Writes in `uplink.db` what the uplink half would."""

    database: sqlite3.Connection
    signer: Signer = CENTRE
    positions: int = 0
    counter: int = 0

    def says(  # the parts of a record that tests vary
        self, record_id: str, *handles: str, state: str = "given", revision: int = 1, day: int = 0, **more: object
    ) -> None:
        """Store a consent record."""
        fields = consent(record_id, *handles, revision=revision).model_dump() | {
            "source": "central",
            "issuer_kid": CENTRE.kid,
            "state": state,
            "granted_at": SINCE + timedelta(days=day),
            "withdrawn_at": SINCE + timedelta(days=day) if state == "withdrawn" else None,
            **more,
        }
        said = ConsentRecord.model_validate(fields)
        self.positions += 1
        row = (record_id, self.positions, revision, state, said.since_ms, said.expires_ms)
        jws = self.signer.sign(said.model_dump_json().encode())
        self.database.execute(
            """INSERT INTO consent VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (record_id) DO UPDATE SET
               position = excluded.position, revision = excluded.revision, state = excluded.state,
               since_ms = excluded.since_ms, expires_ms = excluded.expires_ms, record = excluded.record""",
            (*row, jws),
        )
        self.database.executemany(
            "INSERT OR IGNORE INTO consent_handle VALUES (?, ?)", [(handle, record_id) for handle in handles]
        )

    def confirms(self, revision: int, confirmed: int = 1) -> None:
        """Say that the set is whole."""
        self.database.execute("DELETE FROM consent_set")
        at_ms = Clock("trusted").now().wall_ms
        row = (revision, at_ms, confirmed, confirmation(at_ms, revision))
        self.database.execute("INSERT INTO consent_set VALUES (?, 0, '', ?, ?, ?)", row)

    def drops(self, record_id: str) -> None:
        """Delete a record that is no longer in the set."""
        self.database.execute("DELETE FROM consent WHERE record_id = ?", (record_id,))
        self.database.execute("DELETE FROM consent_handle WHERE record_id = ?", (record_id,))

    def defines(self, touchpoint: str, revision: int, **more: object) -> None:
        """Store a touchpoint."""
        entry = RegistryEntry.model_validate(
            {"id": touchpoint, "kind": "display", "name": touchpoint, "identifiers": (), "revision": revision, **more}
        )
        self.stores(touchpoint, revision, entry.model_dump_json())

    def stores(self, name: str, revision: int, text: str | None) -> None:
        """Store a definition, or None for its removal."""
        self.positions += 1
        self.database.execute(
            "INSERT OR REPLACE INTO touchpoint (id, position, revision, definition) VALUES (?, ?, ?, ?)",
            (name, self.positions, revision, text),
        )

    def orders(self, command: str, status: str | None = None, reason: str | None = None, **more: object) -> None:
        """Store a command for capture."""
        self.counter += 1
        now = datetime.fromtimestamp(Clock("trusted").now().wall_ms / 1000, UTC)
        order = {
            "id": f"c-{self.counter}",
            "gateway": "gw-1",
            "counter": self.counter,
            "issued": now.isoformat(),
            "expires": (now + timedelta(minutes=5)).isoformat(),
            "command": command,
            **more,
        }
        jws = self.signer.sign(json.dumps(order, default=datetime.isoformat).encode())
        self.answers(f"c-{self.counter}", command, status, reason, jws)

    def answers(  # the parts of a row
        self, name: str, command: str, status: str | None, reason: str | None = None, jws: str | None = None
    ) -> None:
        """Store a command as the uplink half left it."""
        self.database.execute(
            "INSERT INTO command (id, command, jws, status, reason) VALUES (?, ?, ?, ?, ?)",
            (name, command, jws, status, reason),
        )


@dataclass
class Scene:
    """A capture half that follows a centre."""

    shop: Shop
    capture: Capture
    centre: Centre
    uplink: CentreOf
    handles: dict[str, Identifier] = field(default_factory=dict)

    async def append(self, *handles: str | None, purpose: str = "personalisation") -> None:
        """Append an event of each of these subjects."""
        drafts = [tap(handle) for handle in handles]
        await self.capture.writer.commit(lambda outbox: outbox.append(drafts))
        if purpose != "personalisation":
            await self.capture.writer.commit(
                lambda outbox: outbox.connection.execute("UPDATE outbox SET purpose = ?", (purpose,))
            )

    async def follow(self) -> None:
        """Apply all there is."""
        while await self.centre.follow():
            pass

    def kinds(self) -> list[EventType]:
        """Return the types of what waits."""
        return [event.kind for event in self.shop.events()]

    def applied(self) -> list[tuple[int, list[tuple[int, int]]]]:
        """Return revision and ranges of every `consent-applied`."""
        found = [event.data for event in self.shop.events() if isinstance(event.data, ConsentApplied)]
        return [(data.revision, [(each.first, each.through) for each in data.possibly_sent]) for data in found]

    def results(self) -> list[tuple[str, str, str, str | None]]:
        """Return every `command-result`."""
        found = [event.data for event in self.shop.events() if isinstance(event.data, CommandResult)]
        return [(data.command_id, data.command, data.status, data.reason) for data in found]

    def audit(self) -> list[tuple[str, str, dict[str, Any]]]:
        """Return who did what."""
        with closing(sqlite3.connect(self.shop.directory / CAPTURE.file)) as store, snapshot(store):
            assert list(audit.problems(store)) == []
            return [(each.who, each.what, json.loads(each.detail)) for each in audit.entries(store)]


def bordered(directory: Path) -> Outbox:
    """Open an outbox that knows how far the uplink half may have published."""
    outbox = opened(directory)

    def published() -> int:
        with closing(Followed(directory)) as followed:
            return followed.progress(outbox.session).published

    outbox.published = published
    return outbox


@asynccontextmanager
async def scene(directory: Path, uplink: CentreOf) -> AsyncIterator[Scene]:
    """Open a capture half with the ledger of both files, and what follows the centre."""
    shop = Shop(directory)
    central = partial(lambda known, text: known.verify(text, Use.CONSENT)[1], COMMANDER)
    own = GATEWAY.believed(Use.CONSENT)
    async with shop.open(bordered) as capture:
        with (
            closing(open_ledger(directory, lambda text: own.verify(text, Use.CONSENT)[1], central, 1 << 50)) as both,
            closing(Central(directory)) as reading,
        ):
            capture.path.subjects.ledger = both
            centre = Centre(capture, reading, COMMANDER, "gw-1", lambda known, version: build(version, known, RULES))
            await centre.begin()
            yield Scene(shop, capture, centre, uplink)


@pytest.fixture
def uplink(tmp_path: Path) -> Iterator[CentreOf]:
    """The uplink half's file, and who writes in it."""
    with closing(open_writer(tmp_path, UPLINK)) as database:
        yield CentreOf(database)


async def test_without_the_file_there_is_nothing_to_do(tmp_path: Path) -> None:
    """The uplink half may start later."""
    with closing(sqlite3.connect(":memory:")) as nowhere:
        async with scene(tmp_path, CentreOf(nowhere)) as here:
            await here.follow()
    assert here.kinds() == []


# --- consents


async def test_a_withdrawal_reaches_all_tokens_and_says_what_was_sent(tmp_path: Path, uplink: CentreOf) -> None:
    """Every row of either token becomes a gap; the others stay; what may have left is listed exactly."""
    uplink.says("r1", A, B)
    uplink.says("r2", C)
    uplink.confirms(4)
    async with scene(tmp_path, uplink) as here:
        await here.append(A, C, B, A, None, A)
        await here.follow()
        assert here.applied() == [(4, [])]
        record(uplink.database, "session-1", Progress(published=4, delivered=0))
        uplink.says("r1", A, B, state="withdrawn", revision=2, day=1)
        uplink.confirms(5)
        await here.follow()
        await here.follow()
        assert here.applied() == [(4, []), (5, [(1, 1), (3, 4)])]
        gap, kept = EventType.GAP, EventType.TAP
        assert here.kinds() == [gap, kept, gap, gap, kept, gap, *[EventType.CONSENT_APPLIED] * 2]
    detail = {"revision": 5, "withdrawn": 1, "rows": 4}
    assert here.audit()[-1] == ("gateway", "consent-applied", detail)
    assert here.shop.verified().numbers["withdrawn"] == 4


async def test_visits_and_presences_end_silently(tmp_path: Path, uplink: CentreOf) -> None:
    """Whoever has withdrawn has no visit and no presence any more, and no event says so."""
    uplink.says("r1", A)
    uplink.says("r2", C)
    uplink.confirms(1)
    async with scene(tmp_path, uplink) as here:
        path, clock = here.capture.path, here.shop.clock
        for ahead_s in (0, 2, 4):
            clock.ahead_s = ahead_s
            path.see(salon.customer_beacon(), clock.now())
        path.see(salon.present(ANNA), clock.now())
        assert path.handles() == {A, C}
        uplink.says("r1", A, state="withdrawn", revision=2, day=1)
        uplink.says("r2", C, state="withdrawn", revision=2, day=1)
        await here.follow()
        assert path.handles() == set()
        clock.ahead_s = 600
        assert path.expire(clock.now()) == ()


async def test_the_latest_word_of_a_subject_counts(tmp_path: Path, uplink: CentreOf) -> None:
    """Who withdrew once and consented anew keeps what waits, whichever record arrives first."""
    uplink.says("r2", A, day=2)
    uplink.says("r1", A, B, state="withdrawn", revision=2, day=1)
    uplink.confirms(1)
    async with scene(tmp_path, uplink) as here:
        await here.append(A, B)
        await here.follow()
        assert here.kinds() == [EventType.TAP, EventType.GAP, EventType.CONSENT_APPLIED]


async def test_a_withdrawal_of_one_purpose_leaves_the_others(tmp_path: Path, uplink: CentreOf) -> None:
    """What was told for feedback goes; what was told for personalisation stays, and so does the visit."""
    uplink.says("r1", A)
    uplink.says("r2", A, purposes=("feedback",), state="withdrawn", day=1)
    async with scene(tmp_path, uplink) as here:
        await here.append(A, purpose="feedback")
        await here.append(A)
        here.capture.path.see(salon.present(ANNA), here.shop.clock.now())
        await here.follow()
        assert here.kinds() == [EventType.GAP, EventType.TAP]
        assert here.capture.path.handles() == {A}


async def test_what_nobody_has_signed_withdraws_nothing(tmp_path: Path, uplink: CentreOf) -> None:
    """A network half that was taken over can withhold, and not destroy: it is counted and told."""
    uplink.says("r1", A)
    uplink.signer = STRANGER
    uplink.says("r2", A, B, state="withdrawn", day=1)
    uplink.confirms(1)
    async with scene(tmp_path, uplink) as here:
        await here.append(A, B)
        await here.follow()
        assert here.kinds() == [EventType.TAP, EventType.TAP, EventType.CONSENT_APPLIED]
        assert "1 messages" in str(here.capture.condition()["signatures"])
        await here.capture.save()
    assert here.shop.tallies()["down:bad-signature"] == 1


@pytest.mark.parametrize(
    ("here_revision", "here_withdrawn", "stays"),
    [(1, False, False), (2, False, False), (2, True, False), (3, False, True)],
)
async def test_a_tombstone_outranks_what_was_said_here(
    tmp_path: Path,
    uplink: CentreOf,
    here_revision: int,
    here_withdrawn: bool,  # noqa: FBT001  # parameters
    stays: bool,  # noqa: FBT001  # parameters
) -> None:
    """The higher revision wins, the withdrawal wins ties; what is outranked leaves the file."""
    uplink.says("r1", A, state="withdrawn", revision=2, day=1)
    mine = consent("r1", A, B, revision=here_revision, withdrawn=here_withdrawn)
    async with scene(tmp_path, uplink) as here:
        await here.capture.writer.commit(lambda outbox: ledger.put(outbox.connection, mine, signed(mine)))
        await here.follow()
        found = await here.capture.writer.commit(
            lambda outbox: [
                outbox.connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608  # of this test
                for table in ("consent", "consent_handle")
            ]
        )
    assert found == ([1, 2] if stays else [0, 0])


async def test_a_first_sync_is_one_report(tmp_path: Path, uplink: CentreOf) -> None:
    """Many pages, withdrawals among them: one `consent-applied`, when the set is confirmed."""
    with uplink.database:
        for number in range(1_200):
            uplink.says(f"r{number}", A if number == 700 else B, state="given" if number % 9 else "withdrawn")
    async with scene(tmp_path, uplink) as here:
        await here.append(A, B)
        await here.follow()
        assert here.kinds() == [EventType.TAP, EventType.GAP]
        uplink.confirms(7)
        await here.follow()
        assert here.applied() == [(7, [])]
        await here.follow()
        assert len(here.applied()) == 1


async def test_a_set_that_is_never_whole_does_not_keep_the_report(
    tmp_path: Path, uplink: CentreOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a while what may have been sent goes up with the revision that was in force last."""
    uplink.says("r1", A, state="withdrawn")
    record(uplink.database, "session-1", Progress(published=1, delivered=0))
    async with scene(tmp_path, uplink) as here:
        await here.append(A)
        await here.follow()
        assert here.applied() == []
        monkeypatch.setattr("gateway.centre.withdrawals.CONFIRM_SECONDS", 0.0)
        await here.follow()
        assert here.applied() == [(0, [(1, 1)])]


async def test_what_may_have_been_sent_survives_a_crash(tmp_path: Path, uplink: CentreOf) -> None:
    """Rows are gone before it is reported: what they were stands in the same commit."""
    uplink.says("r1", A, state="withdrawn")
    record(uplink.database, "session-1", Progress(published=2, delivered=0))
    async with scene(tmp_path, uplink) as here:
        await here.append(A, None, A)
        await here.follow()
        assert here.kinds() == [EventType.GAP, EventType.TAP, EventType.GAP]
    uplink.confirms(3)
    async with scene(tmp_path, uplink) as again:
        await again.follow()
        assert again.applied() == [(3, [(1, 1)])]
    async with scene(tmp_path, uplink) as again:
        await again.follow()
        assert len(again.applied()) == 1


async def test_who_is_no_longer_in_the_set_is_like_one_without_consent(tmp_path: Path, uplink: CentreOf) -> None:
    """Once the set is confirmed their rows are gaps, their visits over; the others stay."""
    for name, handle in (("r1", A), ("r2", B), ("r3", C)):
        uplink.says(name, handle)
    uplink.confirms(1)
    async with scene(tmp_path, uplink) as here:
        await here.append(A, B, A, C)
        here.capture.path.see(salon.present(ANNA), here.shop.clock.now())
        await here.follow()
        uplink.confirms(2, confirmed=0)
        uplink.drops("r1")
        await here.follow()
        assert EventType.GAP not in here.kinds()
        uplink.confirms(2)
        await here.follow()
        gap, kept = EventType.GAP, EventType.TAP
        assert here.kinds() == [gap, kept, gap, kept, *[EventType.CONSENT_APPLIED] * 2]
        assert here.capture.path.handles() == set()


async def test_another_file_is_read_from_its_beginning(tmp_path: Path, uplink: CentreOf) -> None:
    """After a damaged one was set aside, positions begin anew and nothing is overlooked."""
    for number in range(5):
        uplink.says(f"r{number}", B)
    uplink.confirms(1)
    async with scene(tmp_path, uplink) as here:
        await here.append(A)
        await here.follow()
        uplink.database.close()
        set_aside(tmp_path, UPLINK.file, 7)
        with closing(open_writer(tmp_path, UPLINK)) as database:
            other = CentreOf(database)
            other.says("r1", A, state="withdrawn")
            await here.follow()
        assert EventType.GAP in here.kinds()


# --- touchpoints


async def test_the_higher_revision_of_a_touchpoint_wins(
    tmp_path: Path, uplink: CentreOf, caplog: pytest.LogCaptureFixture
) -> None:
    """The path goes on with it, the log says what has changed, and the audit log keeps it."""
    uplink.defines("vitrine-9", 3, zone="salon", identifiers=("text:nine",))
    caplog.set_level(logging.INFO, "touchpoint")
    async with scene(tmp_path, uplink) as here:
        await here.follow()
        assert here.capture.path.registry.lookup(Identifier("text", "nine")) is not None
        uplink.defines("vitrine-9", 4, zone="entrance", name="New", identifiers=("text:nine",))
        uplink.defines("door", 1)
        await here.follow()
        assert here.capture.path.registry.touchpoints["vitrine-9"].zone == "entrance"
        uplink.defines("vitrine-9", 3)
        uplink.stores("door", 1, None)
        await here.follow()
        assert list(here.capture.path.registry.touchpoints) == ["vitrine-9"]
    lines = [line.message for line in caplog.records if line.message.startswith("registry:")]
    assert lines == [
        "registry: the centre has added vitrine-9",
        "registry: the centre has changed vitrine-9 (name, zone); added door",
        "registry: the centre has removed door",
    ]
    assert here.audit()[-1][1:] == ("registry-from-centre", {"door": ["removed"]})


@pytest.mark.parametrize("text", ["{", "[" * 5_000, '{"id": "x"}', None])
async def test_a_definition_that_makes_no_sense_is_left_out(
    tmp_path: Path, uplink: CentreOf, text: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    """The others are taken; the log says so and shows none of it."""
    if text is None:
        uplink.defines("other", 1)
        uplink.database.execute("UPDATE touchpoint SET id = 'mine'")
    else:
        uplink.stores("mine", 1, text)
    uplink.defines("door", 1)
    async with scene(tmp_path, uplink) as here:
        await here.follow()
        assert list(here.capture.path.registry.touchpoints) == ["door"]
    assert [line.message for line in caplog.records] == [
        "registry: a definition in uplink.db makes no sense and is left out"
    ]


# --- commands


async def test_an_epoch_is_activated_and_stays_so(tmp_path: Path, uplink: CentreOf) -> None:
    """Pseudonyms are of the new epoch at once, and after a restart too; result and audit log say who asked."""
    uplink.says("r1", A)
    uplink.confirms(1)
    uplink.orders("activate-epoch", epoch="2027Q1")
    async with scene(tmp_path, uplink) as here:
        await here.follow()
        assert here.results() == [("c-1", "activate-epoch", "done", None)]
        (draft,) = here.capture.path.see(salon.present(ANNA), here.shop.clock.now()).drafts
        tapped = Interaction.model_validate_json(draft.data)
        assert tapped.subject is not None
        assert tapped.subject.pseudonym.startswith("tp1.2027Q1.")
    detail = {"command": "activate-epoch", "id": "c-1", "status": "done"}
    assert (CENTRE.kid, "command", detail) in here.audit()
    async with scene(tmp_path, uplink) as again:
        await again.follow()
        assert again.capture.path.subjects.activated == "2027Q1"
        assert len(again.results()) == 1


PAST, FUTURE = datetime(2020, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        ({"gateway": "gw-2"}, "it is for another gateway"),
        ({"issued": PAST, "expires": PAST + timedelta(minutes=1)}, "it has expired"),
        ({"issued": FUTURE, "expires": FUTURE + timedelta(minutes=1)}, "it was issued in the future"),
        ({"epoch": "2031Q1"}, "the key ring does not hold that epoch"),
        ({"command": "report", "epoch": None}, "the capture half has no part in it"),
        ({"command": "identify", "epoch": None, "seconds": 3}, "that kind of reader cannot show where it is"),
        ({"command": "identify", "epoch": None, "seconds": 3, "reader": "none"}, "there is no such reader"),
    ],
)
async def test_what_cannot_be_done_is_refused_with_a_reason(
    tmp_path: Path, uplink: CentreOf, order: dict[str, Any], reason: str
) -> None:
    """It is signed, so that it is answered; nothing changes."""
    given = {name: value for name, value in {"epoch": "2027Q1", **order}.items() if value is not None}
    uplink.orders(str(given.pop("command", "activate-epoch")), **given)
    async with scene(tmp_path, uplink) as here:
        here.capture._sources["nfc"] = Voice(here.capture, "nfc")  # noqa: SLF001  # as `run` would
        await here.follow()
        assert [result[2:] for result in here.results()] == [("refused", reason)]
        assert here.capture.path.subjects.activated is None


async def test_an_epoch_that_is_over_or_without_a_ring_is_refused(tmp_path: Path, uplink: CentreOf) -> None:
    """A command can only activate what is there and not over."""
    uplink.orders("activate-epoch", epoch="2026Q4")
    async with scene(tmp_path, uplink) as here:
        here.shop.clock.ahead_s = 86_400 * 100
        uplink.orders("activate-epoch", epoch="2026Q4", issued=SINCE, expires=FUTURE)
        uplink.orders("activate-epoch", epoch="2026Q4", issued=SINCE, expires=FUTURE)
        await here.follow()
        here.capture.path.subjects.ring = None
        uplink.orders("activate-epoch", epoch="2026Q4", issued=SINCE, expires=FUTURE)
        await here.follow()
    reasons = [result[3] for result in here.results()]
    assert reasons == ["it has expired", *["that epoch is over"] * 2, "this gateway has no key ring"]


async def test_a_counter_is_used_once(tmp_path: Path, uplink: CentreOf) -> None:
    """The same command again, or an older one, is refused, after a restart too."""
    uplink.orders("set-log-level", level="info", counter=7)
    uplink.orders("set-log-level", level="info", counter=7)
    async with scene(tmp_path, uplink) as here:
        await here.follow()
    uplink.orders("set-log-level", level="info", counter=6)
    uplink.orders("set-log-level", level="info", counter=8)
    async with scene(tmp_path, uplink) as again:
        await again.follow()
    used = ("refused", "its counter was used before")
    assert [result[2:] for result in again.results()] == [("done", None), used, used, ("done", None)]


async def test_while_the_clock_is_not_synced_no_command_is_carried_out(
    tmp_path: Path, uplink: CentreOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it has expired cannot be known."""
    uplink.orders("set-log-level", level="debug")
    async with scene(tmp_path, uplink) as here:
        monkeypatch.setattr(here.shop.clock.__class__, "now", lambda _: Moment(1, 1, ClockQuality.UNSYNCED))
        await here.follow()
        assert "clock" in str(here.results()[0][3])


async def test_forged_commands_are_counted_and_never_answered(tmp_path: Path, uplink: CentreOf) -> None:
    """Nor is a signed message that is no command; the next one is carried out."""
    uplink.signer = STRANGER
    uplink.orders("set-log-level", level="debug")
    uplink.signer = CENTRE
    uplink.orders("reboot")
    uplink.answers("x", "restart", None, None, "no.jws.here")
    uplink.orders("set-log-level", level="info")
    async with scene(tmp_path, uplink) as here:
        await here.follow()
        assert here.results() == [("c-3", "set-log-level", "done", None)]
        assert here.capture.bad_signatures == 3


async def test_the_log_level_lasts_until_the_next_start(tmp_path: Path, uplink: CentreOf) -> None:
    """Only ours is changed."""
    before = log.level
    uplink.orders("set-log-level", level="error", status="done")
    uplink.orders("set-log-level", level="warning", status="failed", reason="no")
    try:
        async with scene(tmp_path, uplink) as here:
            await here.follow()
            assert log.level == logging.ERROR
            assert [result[2:] for result in here.results()] == [("done", None), ("failed", "the uplink half: no")]
    finally:
        log.setLevel(before)


async def test_a_restart_is_answered_first(tmp_path: Path, uplink: CentreOf) -> None:
    """The result is durable before the half ends, so that it restarts once."""
    uplink.orders("restart")
    async with scene(tmp_path, uplink) as here:
        with pytest.raises(RestartAskedError):
            await here.follow()
        assert here.results() == [("c-1", "restart", "done", None)]
    async with scene(tmp_path, uplink) as again:
        await again.follow()


async def test_the_half_ends_for_a_restart(tmp_path: Path, uplink: CentreOf) -> None:
    """Whoever started it starts it again."""
    uplink.orders("restart")
    async with scene(tmp_path, uplink) as here:
        here.capture.follow_centre = here.centre.follow
        with pytest.raises(RestartAskedError):
            await here.capture.run([])
        assert here.results() == [("c-1", "restart", "done", None)]


async def test_what_the_uplink_half_did_is_told_too(
    tmp_path: Path, uplink: CentreOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In order; one that it has not finished is waited for, and reported as failed in the end."""
    uplink.answers("a", "report", "done")
    uplink.answers("b", "replay", "refused", "expired")
    uplink.answers("c", "replay", None)
    uplink.answers("d", "report", "nonsense")
    uplink.answers("", "", "done")
    async with scene(tmp_path, uplink) as here:
        await here.follow()
        assert here.results() == [("a", "report", "done", None), ("b", "replay", "refused", "expired")]
        monkeypatch.setattr("gateway.centre.commands.ANSWER_SECONDS", 0.0)
        await here.follow()
        assert here.results()[2:] == [
            ("c", "replay", "failed", "the uplink half did not finish it"),
            ("d", "report", "failed", None),
        ]


# --- what is wrong


async def test_what_is_wrong_with_keys_and_consents_is_told(tmp_path: Path, uplink: CentreOf) -> None:
    """Whoever reads the file, the uplink half for its state message above all, finds it; a change rings."""
    async with scene(tmp_path, uplink) as here:
        here.capture.path.subjects.ledger = salon.FakeLedger()
        with closing(Backlog(tmp_path)) as backlog:
            told = backlog.condition
            working = asyncio.ensure_future(here.capture.run([]))
            await until(lambda: told() == {"keys": None, "ledger": None, "store": None})
            here.capture.path.subjects.ring = None
            here.capture.path.subjects.ledger.stale_from_ms = 0
            here.capture.bell.set()
            await until(lambda: told().get("keys") == "there is no key ring")
            assert "not confirmed" in str(told()["ledger"])
            await until(lambda: bool(here.shop.rings))
            working.cancel()
            with suppress(BaseException):
                await working
