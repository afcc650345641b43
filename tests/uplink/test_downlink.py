"""The way down: what is signed and ours is taken, anything else is refused, counted and changes nothing."""

import json
import logging
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.core.jws import Issuers, Use
from gateway.core.order import RestartAskedError
from gateway.core.sighting import ClockQuality
from gateway.log import log
from gateway.store import said
from gateway.store.progress import components
from gateway.uplink.consents import FETCH_SECONDS, SETTLE_SECONDS, UNLIKE_SECONDS
from gateway.uplink.downlink import Downlink
from gateway.uplink.mqtt import Message
from gateway.uplink.refusals import SAY_SECONDS
from tests.simulators.broker import FakeBroker
from tests.simulators.centre import Centre, text
from tests.simulators.centre_keys import CENTRE, STRANGER
from tests.uplink.conftest import TOPICS, Bench, forwarding, made_downlink, sequences, until

ANNA, BEN = "h1." + "A" * 22, "h1." + "B" * 22
FIVE_MINUTES_MS = 300_000


@pytest.fixture
def centre() -> Centre:
    return Centre(TOPICS)


@pytest.fixture
def now_ms(bench: Bench) -> int:
    return bench.clock.now().wall_ms


@pytest.fixture(autouse=True)
def level() -> Iterator[None]:
    """Put the level of the log back."""
    before = log.level
    yield
    log.setLevel(before)


def refusals(bench: Bench) -> dict[str, int]:
    """Return what was refused, and how often."""
    return {name.removeprefix("down:"): count for name, count in said.tallies(bench.database).items()}


def stored(bench: Bench) -> dict[str, tuple[int, str]]:
    """Return revision and state of each consent."""
    rows = bench.database.execute("SELECT record_id, revision, state FROM consent")
    return {record_id: (revision, state) for record_id, revision, state in rows}


def complete(downlink: Downlink) -> bool:
    """Ask again whether the set is complete."""
    return downlink.consents.complete


def commands(bench: Bench) -> list[tuple[str, str | None, str | None]]:
    """Return what was ordered, what became of it here, and why."""
    return bench.database.execute("SELECT command, status, reason FROM command ORDER BY position").fetchall()


def test_the_set_counts_once_it_comes_to_what_the_centre_says(
    downlink: Downlink, bench: Bench, centre: Centre, now_ms: int
) -> None:
    """Records alone confirm nothing, nor does the state while one is missing; `health` says how it stands."""
    downlink.connected()
    assert not downlink.consents.complete
    first, second = (centre.grant(name, ANNA, at_ms=now_ms) for name in ("r1", "r2"))
    downlink.take([first])
    downlink.take([centre.state(now_ms)])
    assert not downlink.consents.complete
    assert (
        components(bench.database)["consent"].reason
        == "the consent set is not complete: 1 of 2 records; no customer is named"
    )
    bench.clock.advance(SETTLE_SECONDS)
    downlink.take([second])
    assert complete(downlink)
    assert components(bench.database)["consent"].ok
    assert stored(bench) == {"r1": (1, "given"), "r2": (1, "given")}


def test_what_is_no_longer_in_the_set_is_dropped(downlink: Downlink, bench: Bench, centre: Centre, now_ms: int) -> None:
    """Not when its topic falls silent, but when the centre says what the set is without it."""
    for name in ("r1", "r2"):
        centre.grant(name, ANNA, at_ms=now_ms)
    downlink.take(list(centre.retained(now_ms)))
    assert set(stored(bench)) == {"r1", "r2"}
    downlink.take([Message(f"{TOPICS.consent_filter[:-1]}r1", b"", retain=True)])
    assert set(stored(bench)) == {"r1", "r2"}
    centre.drop("r1")
    downlink.take([centre.state(now_ms + 1)])
    assert downlink.consents.complete, "what belongs to it may be on its way"
    bench.clock.advance(UNLIKE_SECONDS)
    downlink.take([])
    assert downlink.consents.fetch
    assert not complete(downlink)
    downlink.connected()
    bench.clock.advance(SETTLE_SECONDS)
    downlink.take(list(centre.retained(now_ms + 1)))
    assert complete(downlink)
    assert set(stored(bench)) == {"r2"}
    assert bench.database.execute("SELECT count(*) FROM consent_handle").fetchone() == (1,)


def test_a_change_counts_at_once(downlink: Downlink, bench: Bench, centre: Centre, now_ms: int) -> None:
    """A record on top of a confirmed set is written as it comes; the state that follows it fits."""
    centre.grant("r1", ANNA, at_ms=now_ms)
    downlink.take(list(centre.retained(now_ms)))
    rings = len(bench.rings)
    downlink.take([centre.withdraw("r1", now_ms)])
    assert stored(bench) == {"r1": (2, "withdrawn")}
    assert len(bench.rings) > rings
    downlink.take([centre.state(now_ms + 5)])
    assert downlink.consents.complete
    assert not downlink.consents.fetch


def test_after_a_connect_nothing_is_written_again(
    downlink: Downlink, bench: Bench, centre: Centre, now_ms: int
) -> None:
    """The same records come with every connect: they are compared, and the set stays confirmed meanwhile."""
    centre.grant("r1", ANNA, at_ms=now_ms)
    downlink.take(list(centre.retained(now_ms)))
    before = bench.database.execute("SELECT * FROM consent").fetchall()
    changes = bench.database.total_changes
    downlink.connected()
    standing = downlink.consents.known.in_force()
    assert standing is not None
    assert standing.confirmed
    downlink.take([centre.message(centre.records["r1"])])
    assert bench.database.execute("SELECT * FROM consent").fetchall() == before
    assert bench.database.total_changes - changes <= 2, "the ids that have come are kept in memory"


@pytest.mark.parametrize("order", ["given first", "withdrawn first"])
def test_a_withdrawal_wins_ties(downlink: Downlink, bench: Bench, centre: Centre, now_ms: int, order: str) -> None:
    """Of two records of the same revision the withdrawal stands, whichever comes first, and however close together."""
    given = centre.grant("r1", ANNA, at_ms=now_ms, revision=2)
    centre.grant("r1", ANNA, at_ms=now_ms, revision=1)
    gone = centre.withdraw("r1", now_ms)
    downlink.take([given, gone] if order == "given first" else [gone, given])
    assert stored(bench) == {"r1": (2, "withdrawn")}


def test_an_older_revision_changes_nothing(downlink: Downlink, bench: Bench, centre: Centre, now_ms: int) -> None:
    """What was said later stands, even if what was said before comes again."""
    old = centre.grant("r1", ANNA, at_ms=now_ms)
    downlink.take([centre.grant("r1", ANNA, BEN, at_ms=now_ms, revision=3)])
    downlink.take([old])
    assert stored(bench) == {"r1": (3, "given")}
    assert refusals(bench) == {"consent:stale": 1}


def test_the_centre_may_change_its_key(bench: Bench, centre: Centre, now_ms: int) -> None:
    """The same record signed with the new key takes the place of what nobody believes any more, and only then."""
    centre.grant("r1", ANNA, at_ms=now_ms)
    made_downlink(bench, CENTRE.believed(*Use)).take(list(centre.retained(now_ms)))
    heir = Centre(TOPICS, STRANGER)
    heir.put(centre.records["r1"])
    after = made_downlink(bench, STRANGER.believed(*Use))
    after.connected()
    after.take(list(heir.retained(now_ms)))
    assert after.consents.complete
    (record,) = bench.database.execute("SELECT record FROM consent").fetchone()
    assert STRANGER.believed(Use.CONSENT).verify(record, Use.CONSENT)
    assert refusals(bench) == {}


def test_a_set_that_does_not_become_whole_is_fetched_again(
    downlink: Downlink, bench: Bench, centre: Centre, now_ms: int
) -> None:
    """A broker that has let go of some of it may have them later."""
    downlink.connected()
    centre.grant("r1", ANNA, at_ms=now_ms)
    downlink.take([centre.state(now_ms)])
    bench.clock.advance(UNLIKE_SECONDS)
    downlink.take([])
    assert not downlink.consents.fetch, "it is being fetched"
    bench.clock.advance(FETCH_SECONDS)
    downlink.take([])
    assert downlink.consents.fetch


def test_where_no_centre_has_a_say_any_more_nothing_is_wrong(
    downlink: Downlink, bench: Bench, centre: Centre, now_ms: int
) -> None:
    """The complaint about its set goes with the centre."""
    downlink.take([centre.grant("r1", ANNA, at_ms=now_ms)])
    assert not components(bench.database)["consent"].ok
    made_downlink(bench, Issuers()).connected()
    assert components(bench.database)["consent"].ok


def other(centre: Centre, now_ms: int) -> dict[str, Message]:
    """Return records that must not be taken."""
    stranger = Centre(TOPICS, STRANGER)
    elsewhere = centre.grant("r1", ANNA, at_ms=now_ms, site="gva-1")
    future = centre.grant("r1", ANNA, at_ms=now_ms + FIVE_MINUTES_MS + 1)
    gone = centre.withdraw("r1", now_ms)
    good = centre.grant("r1", ANNA, at_ms=now_ms)
    signed = CENTRE.sign(b"[" * 20_000 + b"]" * 20_000)
    twice = CENTRE.sign(good_payload(centre).replace(b'"revision":1', b'"revision":9,"revision":1'))
    topic = good.topic
    return {
        "by a stranger": stranger.grant("r1", ANNA, at_ms=now_ms),
        "of another site": elsewhere,
        "from the future": future,
        "granted in the future": gone,
        "not the record of its topic": Message(f"{TOPICS.consent_filter[:-1]}r2", good.payload),
        "huge": Message(topic, b"a" * 1_000_000),
        "no text": Message(topic, b"\xff\x00"),
        "nested": Message(topic, signed.encode()),
        "a key twice": Message(topic, twice.encode()),
        "another model": Message(topic, CENTRE.sign(b'{"consent":"given"}').encode()),
        "unsigned": Message(topic, good_payload(centre)),
    }


def good_payload(centre: Centre) -> bytes:
    return centre.records["r1"].model_dump_json().encode()


@pytest.mark.parametrize("which", list(other(Centre(TOPICS), 1_795_000_000_000)))
def test_whatever_else_claims_to_be_a_consent_is_refused(
    downlink: Downlink, bench: Bench, centre: Centre, now_ms: int, which: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It is counted by its reason, said in one readable line that quotes nothing of it, and nothing changes."""
    message = other(centre, now_ms)[which]
    with caplog.at_level("WARNING", "touchpoint"):
        downlink.take([message, message])
    assert stored(bench) == {}
    ((what, count),) = refusals(bench).items()
    assert (what.partition(":")[0], count) == ("consent", 2)
    (line,) = caplog.messages
    assert line.startswith("a consent from the centre was refused: ")
    assert ANNA not in line


def test_refusals_are_said_now_and_then(downlink: Downlink, bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """A flood of them is one line a minute, with how many there were."""
    with caplog.at_level("WARNING", "touchpoint"):
        for _ in range(3):
            downlink.take([Message(TOPICS.command, b"nonsense")] * 10)
        bench.clock.advance(SAY_SECONDS)
        downlink.take([Message(TOPICS.command, b"nonsense")])
    assert [line.rpartition(": ")[2] for line in caplog.messages] == [
        "it is no JWS in compact form", "it is no JWS in compact form, 30 times",
    ]  # fmt: skip
    assert sum(refusals(bench).values()) == 31


def test_a_state_must_be_the_newest(downlink: Downlink, bench: Bench, centre: Centre, now_ms: int) -> None:
    """An old one, one of another site and one from the future say nothing about the set."""
    centre.grant("r1", ANNA, at_ms=now_ms)
    old = centre.state(now_ms - 1_000)
    downlink.take(list(centre.retained(now_ms)))
    future = centre.state(now_ms + FIVE_MINUTES_MS + 1)
    downlink.take([old, centre.state(now_ms, site="gva-1"), future, Centre(TOPICS, STRANGER).state(now_ms)])
    assert downlink.consents.complete
    standing = downlink.consents.known.in_force()
    assert standing is not None
    assert standing.at_ms == now_ms
    assert sum(refusals(bench).values()) == 4


@pytest.mark.parametrize("kind", ["consent", "state", "cue", "command"])
def test_without_a_synced_clock_nothing_dated_is_judged(
    downlink: Downlink, bench: Bench, centre: Centre, now_ms: int, kind: str
) -> None:
    """In 1970 everything is from the future: it is refused, and the set is fetched again when the clock is synced."""
    bench.clock.lose_sync(ClockQuality.UNSYNCED)
    message = {
        "consent": centre.grant("r1", ANNA, at_ms=now_ms),
        "state": centre.state(now_ms),
        "cue": cue(now_ms),
        "command": centre.command("report", now_ms),
    }[kind]
    downlink.take([message])
    assert stored(bench) == {}
    assert downlink.consents.known.in_force() is None
    assert not downlink.orders.report_now
    assert sum(refusals(bench).values()) == 1
    assert downlink.consents.fetch == (kind in {"consent", "state"})


def test_only_what_somebody_may_sign_is_subscribed_to(bench: Bench) -> None:
    """Without a centre that signs consents the store's own word is all there is, and complete."""
    nobody = made_downlink(bench, Issuers())
    assert nobody.subscriptions() == [TOPICS.registry_filter]
    assert nobody.consents.complete
    everybody = made_downlink(bench, CENTRE.believed(*Use))
    assert everybody.subscriptions()[0] == TOPICS.consent_filter
    assert TOPICS.command in everybody.subscriptions()


# --- touchpoints, cues


def definition(revision: int, name: str = "Vitrine") -> Message:
    entry = {"id": "vitrine-3", "kind": "display", "name": name, "identifiers": ["text:v3"], "revision": revision}
    return Message(f"{TOPICS.registry_filter[:-1]}vitrine-3", json.dumps(entry).encode(), retain=True)


def test_definitions_are_kept_by_revision(downlink: Downlink, bench: Bench) -> None:
    """The higher revision stands; an empty payload removes; the same again is nothing new."""
    downlink.take([definition(2), definition(1, "Old"), definition(2)])
    positions = "SELECT position, revision, definition IS NULL FROM touchpoint"
    assert bench.database.execute(positions).fetchall() == [(1, 2, 0)]
    removed = Message(f"{TOPICS.registry_filter[:-1]}vitrine-3", b"", retain=True)
    downlink.take([removed, removed, Message(f"{TOPICS.registry_filter[:-1]}unknown", b"")])
    assert bench.database.execute(positions).fetchall() == [(2, 2, 1)]


def test_a_definition_is_of_its_topic(downlink: Downlink, bench: Bench) -> None:
    """And it is what the contract says."""
    downlink.take([Message(f"{TOPICS.registry_filter[:-1]}another", definition(1).payload)])
    downlink.take([Message(definition(1).topic, b'{"id":"vitrine-3"}')])
    assert bench.database.execute("SELECT count(*) FROM touchpoint").fetchone() == (0,)
    assert sum(refusals(bench).values()) == 2


def cue(now_ms: int, touchpoint: str = "vitrine-3", seconds: int = 60, **changes: str) -> Message:
    body = {"id": "c1", "touchpoint": "vitrine-3", "issued": text(now_ms), "expires": text(now_ms + seconds * 1000)}
    signed = CENTRE.sign(json.dumps(body | {"title": "Welcome", "body": "Look here"} | changes).encode())
    return Message(f"{TOPICS.cue_filter[:-1]}{touchpoint}", signed.encode())


def test_a_cue_is_kept_until_it_ends(downlink: Downlink, bench: Bench, now_ms: int) -> None:
    """The newest of each touchpoint; none that has expired, is for another touchpoint, or that nobody signed."""
    downlink.take([cue(now_ms), cue(now_ms, seconds=-1), cue(now_ms, "another"), Message(cue(now_ms).topic, b"x.y.z")])
    assert bench.database.execute("SELECT touchpoint, id FROM cue").fetchall() == [("vitrine-3", "c1")]
    assert sum(refusals(bench).values()) == 3
    bench.clock.advance(61)
    downlink.take([cue(now_ms + 61_000, id="c2")])
    assert bench.database.execute("SELECT touchpoint, id FROM cue").fetchall() == [("vitrine-3", "c2")]


# --- commands


def test_commands_of_this_half_are_done_here(downlink: Downlink, bench: Bench, centre: Centre, now_ms: int) -> None:
    """Each is answered, and its counter is on the disk."""
    downlink.take([centre.command("report", now_ms), centre.command("sync-consent", now_ms)])
    assert (downlink.orders.report_now, downlink.consents.fetch) == (True, True)
    downlink.take([centre.command("set-log-level", now_ms, level="debug")])
    assert log.level == logging.DEBUG
    assert commands(bench) == [(name, "done", None) for name in ("report", "sync-consent", "set-log-level")]
    assert said.counted(bench.database) == 3


def test_commands_of_capture_are_left_to_it(downlink: Downlink, bench: Bench, centre: Centre, now_ms: int) -> None:
    """As they were signed: it verifies them itself."""
    message = centre.command("activate-epoch", now_ms, epoch="2027Q1")
    downlink.take([message])
    assert commands(bench) == [("activate-epoch", None, None)]
    assert bench.database.execute("SELECT jws FROM command").fetchone() == (message.payload.decode(),)


def test_a_restart_is_on_the_disk_before_it_happens(
    downlink: Downlink, bench: Bench, centre: Centre, now_ms: int
) -> None:
    """So that it happens once, and both halves do it."""
    message = centre.command("restart", now_ms)
    with pytest.raises(RestartAskedError):
        downlink.take([message])
    assert commands(bench) == [("restart", "done", None)]
    downlink.take([message])
    assert refusals(bench) == {"command:replayed": 1}


def test_a_command_is_taken_once_and_never_retained(
    downlink: Downlink, bench: Bench, centre: Centre, now_ms: int
) -> None:
    """Not again, not from before, not kept by the broker, not for another gateway; only new ones are answered."""
    first = centre.command("report", now_ms)
    downlink.take([centre.command("report", now_ms), first])
    downlink.take([Message(first.topic, centre.command("report", now_ms).payload, retain=True)])
    downlink.take([centre.command("report", now_ms, gateway="gw-2")])
    assert [status for _, status, _ in commands(bench)] == ["done"]
    late = centre.command("report", now_ms - 120_000)
    early = centre.command("report", now_ms + FIVE_MINUTES_MS + 1)
    downlink.take([late, early, late, early])
    assert commands(bench)[1:] == [
        ("report", "refused", "it has expired"),
        ("report", "refused", "it was issued in the future"),
    ]
    assert sum(refusals(bench).values()) == 7


def test_what_is_not_in_the_list_is_answered_once(
    downlink: Downlink, bench: Bench, centre: Centre, now_ms: int
) -> None:
    """If it says enough of itself; what nobody of ours signed is not answered at all."""
    shell = centre.command("shell", now_ms, run="rm -rf /")
    nameless = Message(TOPICS.command, CENTRE.sign(b'{"command":"shell"}').encode())
    stranger = Centre(TOPICS, STRANGER).command("report", now_ms)
    downlink.take([shell, shell, nameless, stranger])
    assert commands(bench) == [("shell", "refused", "it is not in the list of commands, or not as the contract says")]
    assert sum(refusals(bench).values()) == 4
    assert b"rm -rf" not in str(bench.database.execute("SELECT * FROM command").fetchall()).encode()


async def test_what_is_asked_for_again_is_sent_again(
    downlink: Downlink, bench: Bench, fake: FakeBroker, centre: Centre, now_ms: int
) -> None:
    """What is here goes out unchanged; what is trimmed is answered with a gap under the first of its ids."""
    bench.capture.append(6)
    async with forwarding(bench, fake):
        await until(lambda: bench.recorded() == (6, 6))
        bench.capture.trim(4)
        downlink.take([centre.command("replay", now_ms, session="s1", **{"from": 2, "through": 6})])
        await until(lambda: sequences(fake) == [1, 2, 3, 4, 5, 6, 2, 5, 6])
        downlink.take([centre.command("replay", now_ms, session="s0", **{"from": 2, "through": 6})])
        downlink.take([centre.command("replay", now_ms, session="s1", **{"from": 2, "through": 7})])
    gap = json.loads(fake.published[6].payload)
    assert (gap["id"], gap["data"]["reason"], gap["data"]["through"]) == ("s1-2", "trimmed", 4)
    assert [status for _, status, _ in commands(bench)] == ["done", "refused", "refused"]
    assert bench.recorded() == (6, 6)


def test_receipts_are_never_retained(downlink: Downlink, bench: Bench) -> None:
    """A receipt that the broker kept is of another time."""
    downlink.take([Message(TOPICS.receipt, b'{"session":"s1","through":1}', retain=True)])
    assert refusals(bench) == {"receipt:retained": 1}


TOPIC = st.sampled_from([
    f"{TOPICS.consent_filter[:-1]}r1", TOPICS.consent_state, TOPICS.command, TOPICS.receipt, "else",
    f"{TOPICS.registry_filter[:-1]}vitrine-3", f"{TOPICS.cue_filter[:-1]}vitrine-3",
])  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=20,
).map(lambda value: json.dumps(value).encode())
PAYLOAD = st.binary(max_size=300) | JSON | JSON.map(lambda value: CENTRE.sign(value).encode())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(st.lists(st.tuples(TOPIC, PAYLOAD, st.booleans()), max_size=4))
def test_nothing_that_comes_can_end_it(
    downlink: Downlink, bench: Bench, messages: list[tuple[str, bytes, bool]]
) -> None:
    """Whatever is in a message, signed or not: it is refused, or says nothing, and nothing is believed."""
    downlink.take([Message(topic, payload, retain=retain) for topic, payload, retain in messages])
    assert stored(bench) == {}
    assert commands(bench) == []
