"""Forwarding: in order, unchanged, decided once more, and nothing forgotten before it is known to have arrived."""

import asyncio
import json

import pytest

from gateway.core.sighting import ClockQuality
from gateway.store.progress import Progress, progress, record
from gateway.uplink import forward
from gateway.uplink.forward import HEADER, MANY, ONE
from gateway.uplink.mqtt import MqttError
from tests.simulators.broker import FakeBroker, Published
from tests.uplink.conftest import TOPICS, Bench, CaptureHalf, connected, forwarding, sequences, texts, until

QUOTA, TOO_LARGE = 0x97, 0x95


async def test_events_go_out_in_order_as_they_stand_in_the_outbox(bench: Bench, fake: FakeBroker) -> None:
    """Every row arrives once, byte for byte, in the order of its sequence."""
    bench.capture.append(7)
    async with forwarding(bench, fake):
        await until(lambda: len(fake.published) >= 7)
        await until(lambda: bench.recorded() == (7, 7))
    assert [published.payload.decode() for published in fake.published] == bench.capture.texts()
    assert {published.topic for published in fake.published} == {TOPICS.event}


async def test_one_event_travels_alone_and_several_together(bench: Bench, fake: FakeBroker) -> None:
    """The content type says which of the two a message is; nobody waits for a batch to fill."""
    bench.forwarder.batch = 500
    bench.capture.append(1)
    async with forwarding(bench, fake):
        await until(lambda: len(fake.published) == 1)
        bench.capture.append(3)
        bench.forwarder.bell.set()
        await until(lambda: len(fake.published) == 2)
    one, many = fake.published
    assert (one.content_type, many.content_type) == (ONE, MANY)
    assert one.payload.decode() == bench.capture.texts()[0]
    assert many.payload.decode() == "[" + ",".join(bench.capture.texts()[1:]) + "]"


async def test_a_batch_of_one_is_never_a_batch(bench: Bench, fake: FakeBroker) -> None:
    """`batch = 1` is for consumers that take single events only."""
    bench.forwarder.batch = 1
    bench.capture.append(4)
    async with forwarding(bench, fake):
        await until(lambda: len(fake.published) == 4)
    assert {published.content_type for published in fake.published} == {ONE}


async def test_a_message_keeps_to_its_octets(bench: Bench, fake: FakeBroker) -> None:
    """What waits is cut into messages of `batch_bytes` at most; one event that is larger goes alone."""
    bench.forwarder.batch, bench.forwarder.batch_bytes = 500, 4096
    bench.capture.append(30)
    bench.capture.append(1, octets=9_000)
    bench.capture.append(30)
    async with forwarding(bench, fake):
        await until(lambda: sequences(fake) == list(range(1, 62)))
    large = [published for published in fake.published if len(published.payload) > 4096]
    assert [published.content_type for published in large] == [ONE]
    assert len(fake.published) < 20


async def test_published_is_recorded_before_and_delivered_after(bench: Bench, fake: FakeBroker) -> None:
    """What will be published is announced before; only a PUBACK delivers; what was not sent is taken back."""
    seen: list[tuple[int, int]] = []
    fake.puback = lambda _: seen.append(bench.recorded())
    bench.capture.append(2)
    async with forwarding(bench, fake):
        await until(lambda: seen)
        assert seen == [(2, 0)]
        assert bench.recorded() == (2, 0)
    assert bench.recorded() == (1, 0)
    assert bench.rings == []


async def test_capture_is_told_when_something_is_delivered(bench: Bench, fake: FakeBroker) -> None:
    """The doorbell rings after the delivery is in the file, so that whoever looks then finds it."""
    bench.capture.append(3)
    async with forwarding(bench, fake):
        await until(lambda: bench.recorded() == (3, 3))
    assert bench.rings[-1] == 3
    assert 0 not in bench.rings


async def test_one_message_is_in_flight(bench: Bench, fake: FakeBroker) -> None:
    """While a PUBACK is outstanding nothing else goes out, so that order holds."""
    fake.puback = lambda _: None
    bench.capture.append(5)
    async with forwarding(bench, fake):
        await until(lambda: fake.published)
        bench.forwarder.bell.set()
        with pytest.raises(TimeoutError):
            await until(lambda: len(fake.published) > 1, 0.1)


async def test_an_event_that_comes_later_is_sent_at_the_ring(
    bench: Bench, fake: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The doorbell is enough; and without it the outbox is looked at all the same."""
    monkeypatch.setattr(forward, "POLL_SECONDS", 1000)
    async with forwarding(bench, fake):
        await until(lambda: bench.forwarder.session == "s1")
        bench.capture.append(1)
        bench.forwarder.bell.set()
        await until(lambda: bench.forwarder.progress.delivered == 1)
    monkeypatch.setattr(forward, "POLL_SECONDS", 0.02)
    async with forwarding(bench, fake):
        bench.capture.append(1)
        await until(lambda: sequences(fake) == [1, 2])


async def test_after_a_lost_connection_the_same_bytes_go_out_again(bench: Bench, fake: FakeBroker) -> None:
    """What was published and not acknowledged is sent again unchanged, first, and what follows it after it."""
    fake.puback = lambda _: fake.drop()
    bench.capture.append(2)
    async with connected(fake.port) as connection:
        with pytest.raises(MqttError, match="the connection was lost"):
            await asyncio.wait_for(bench.forwarder.run(connection), 10)
    bench.capture.append(1)
    fake.puback = lambda _: 0
    async with forwarding(bench, fake):
        await until(lambda: sequences(fake) == [1, 1, 2, 3])
    assert fake.published[0].payload == fake.published[1].payload


async def test_a_restart_begins_behind_what_is_delivered(bench: Bench, fake: FakeBroker) -> None:
    """What is known to be delivered does not go out again, even if capture has not trimmed it yet."""
    bench.capture.append(3)
    async with forwarding(bench, fake):
        await until(lambda: bench.recorded() == (3, 3))
    bench.capture.append(2)
    async with forwarding(bench, fake):
        await until(lambda: bench.recorded() == (5, 5))
    assert sequences(fake) == [1, 2, 3, 4, 5]


async def test_a_refused_publish_ends_the_run_and_counts_as_nothing(bench: Bench, fake: FakeBroker) -> None:
    """A broker over quota has not got the event; it is not delivered, and the caller hears why."""
    fake.puback = lambda _: QUOTA
    bench.capture.append(1)
    with pytest.raises(MqttError, match="Quota exceeded"):
        async with connected(fake.port) as connection:
            await asyncio.wait_for(bench.forwarder.run(connection), 10)
    assert bench.recorded() == (1, 0)


async def test_a_batch_that_is_too_large_goes_in_parts(bench: Bench, fake: FakeBroker) -> None:
    """A broker that breaks off with 0x95 gets the same events in smaller messages after that, each once."""
    fake.puback = lambda published: fake.disconnect(TOO_LARGE) if len(published.payload) > 2_000 else 0
    bench.forwarder.batch = 500
    bench.capture.append(20)
    for _ in range(2):
        async with connected(fake.port) as connection:
            with pytest.raises(MqttError, match="Packet too large"):
                await asyncio.wait_for(bench.forwarder.run(connection), 10)
    async with forwarding(bench, fake):
        await until(lambda: bench.recorded() == (20, 20))
    taken = [published for published in fake.published if len(published.payload) <= 2_000]
    assert [int(json.loads(text)["sequence"]) for text in texts(taken)] == list(range(1, 21))


async def test_what_the_broker_will_not_take_is_not_even_sent(bench: Bench, fake: FakeBroker) -> None:
    """Maximum Packet Size of the CONNACK is kept: a broker may end the connection for one octet more."""
    fake.maximum_packet = 4_000
    bench.forwarder.batch = 500
    bench.capture.append(60)
    async with forwarding(bench, fake):
        await until(lambda: bench.recorded() == (60, 60))
    assert max(len(published.payload) for published in fake.published) <= 4_000 - HEADER


async def test_an_event_that_no_broker_takes_becomes_a_gap(bench: Bench, fake: FakeBroker) -> None:
    """One event that is too large alone must not hold up the rest: capture is asked to set it aside."""
    fake.maximum_packet = 4_000
    bench.capture.append(1, octets=9_000)
    bench.capture.append(1)
    async with forwarding(bench, fake):
        await until(lambda: bench.refused() == {1: "too-large"})
        bench.capture.set_aside({1: "too-large"})
        bench.forwarder.bell.set()
        await until(lambda: bench.recorded() == (2, 2))
    assert [json.loads(text)["data"]["reason"] for text in texts(fake.published)] == ["too-large", "trimmed"]
    assert bench.refused() == {}


async def test_a_subject_that_may_not_be_named_stops_the_line(bench: Bench, fake: FakeBroker) -> None:
    """The row is refused, capture is rung for, and neither it nor anything after it goes out before it is a gap."""
    bench.consents.grant("h-anna")
    bench.capture.append(1)
    bench.capture.append(1, handle="h-anna")
    bench.capture.append(1)
    bench.consents.withdraw("h-anna")
    async with forwarding(bench, fake):
        await until(lambda: bench.refused() == {2: "withdrawn"})
        await until(lambda: bench.recorded() == (1, 1))
        bench.forwarder.bell.set()
        with pytest.raises(TimeoutError):
            await until(lambda: len(fake.published) > 1, 0.1)
        assert bench.rings
        bench.capture.set_aside({2: "withdrawn"})
        bench.forwarder.bell.set()
        await until(lambda: bench.recorded() == (3, 3))
    assert sequences(fake) == [1, 2, 3]
    assert json.loads(fake.published[1].payload)["data"]["reason"] == "withdrawn"
    assert bench.refused() == {}


async def test_no_batch_reaches_over_a_row_that_is_refused(bench: Bench, fake: FakeBroker) -> None:
    """What stands before it in the same batch goes; every refused row of the batch is named at once."""
    bench.forwarder.batch = 500
    bench.capture.append(2)
    bench.capture.append(2, handle="h-stranger")
    bench.capture.append(2)
    async with forwarding(bench, fake):
        await until(lambda: bench.recorded() == (2, 2))
        assert bench.refused() == {3: "withdrawn", 4: "withdrawn"}
    assert sequences(fake) == [1, 2]


async def test_a_subject_with_consent_is_sent(bench: Bench, fake: FakeBroker) -> None:
    """The second decision is the same as the first while consent is in force."""
    bench.consents.grant("h-anna")
    bench.capture.append(2, handle="h-anna")
    async with forwarding(bench, fake):
        await until(lambda: bench.recorded() == (2, 2))
    assert bench.refused() == {}


@pytest.mark.parametrize("trouble", ["stale", "unsynced"])
async def test_what_passes_by_itself_waits(
    bench: Bench, fake: FakeBroker, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    """A stale ledger and a clock that is not synced refuse nothing: the line waits and goes on when that is over."""
    monkeypatch.setattr(forward, "POLL_SECONDS", 0.02)
    bench.consents.grant("h-anna")
    bench.capture.append(1, handle="h-anna")
    if trouble == "stale":
        bench.consents.stale_from_ms = bench.clock.now().wall_ms
    else:
        bench.clock.lose_sync(ClockQuality.UNSYNCED)
    async with forwarding(bench, fake):
        with pytest.raises(TimeoutError):
            await until(lambda: fake.published, 0.1)
        assert bench.refused() == {}
        bench.consents.stale_from_ms = None
        bench.clock.lose_sync(ClockQuality.HOLDOVER)
        await until(lambda: sequences(fake) == [1])


async def test_another_session_is_taken_up_from_its_beginning(
    bench: Bench, fake: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new outbox in place of the old one is noticed while connected, and said."""
    monkeypatch.setattr(forward, "POLL_SECONDS", 0.02)
    bench.capture.append(3)
    async with forwarding(bench, fake):
        await until(lambda: bench.recorded() == (3, 3))
        bench.capture.close()
        for path in bench.directory.glob("capture.db*"):
            path.unlink()
        replacement = CaptureHalf(bench.directory, "s2", bench.clock)
        replacement.append(1)
        replacement.close()
        await asyncio.wait_for(bench.forwarder.resumed.wait(), 10)
        await until(lambda: sequences(fake) == [1, 2, 3, 1])
        await until(lambda: progress(bench.database, "s2").delivered == 1)
    assert json.loads(fake.published[-1].payload)["session"] == "s2"


async def test_rows_of_another_session_are_never_sent_as_this_ones(bench: Bench, fake: FakeBroker) -> None:
    """When the outbox is replaced while events flow, the new one is sent from its first row, not from our cursor."""

    def replace(_: Published) -> int:
        if bench.forwarder.session == "s1":
            bench.capture.close()
            for path in bench.directory.glob("capture.db*"):
                path.unlink()
            replacement = CaptureHalf(bench.directory, "s2", bench.clock)
            replacement.append(3)
            replacement.close()
        return 0

    bench.capture.append(3)
    fake.puback = replace
    async with forwarding(bench, fake):
        await until(lambda: progress(bench.database, "s2").delivered == 3)
    assert [json.loads(text)["id"] for text in texts(fake.published)] == ["s1-1", "s2-1", "s2-2", "s2-3"]


async def test_before_there_is_an_outbox_nothing_happens(
    bench: Bench, fake: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The uplink may start first; it finds the outbox when capture has made it."""
    monkeypatch.setattr(forward, "POLL_SECONDS", 0.02)
    bench.capture.close()
    for path in bench.directory.glob("capture.db*"):
        path.unlink()
    async with forwarding(bench, fake):
        made = CaptureHalf(bench.directory, "s1", bench.clock)
        made.append(1)
        made.close()
        await until(lambda: sequences(fake) == [1])


async def test_a_gap_that_stands_for_many_counts_for_all_of_them(bench: Bench, fake: FakeBroker) -> None:
    """Rows folded into one gap are delivered with it: the next is the one after its end."""
    bench.capture.append(6)
    bench.capture.fold(2, 5)
    async with forwarding(bench, fake):
        await until(lambda: bench.recorded() == (6, 6))
    assert sequences(fake) == [1, 2, 6]


async def test_after_a_power_cut_more_counts_as_published(bench: Bench, fake: FakeBroker) -> None:
    """What was reserved in an earlier boot may be out, as far as there are rows; no receipt for more is believed."""
    bench.capture.append(4)
    record(bench.database, "s1", Progress(published=1, delivered=1, reserved=501, boot="before"))
    fake.puback = lambda _: None
    async with forwarding(bench, fake):
        await until(lambda: fake.published)
        assert bench.forwarder.progress.published == 4


async def test_one_event_after_another_costs_no_sync_each(bench: Bench, fake: FakeBroker) -> None:
    """What is reserved covers the next events: they are announced without a sync, and after a stop nothing is."""
    async with forwarding(bench, fake):
        for number in range(1, 4):
            bench.capture.append(1)
            bench.forwarder.bell.set()
            await until(lambda number=number: bench.forwarder.progress.delivered == number)  # type: ignore[misc]
            assert progress(bench.database, "s1").reserved == 1 + forward.AHEAD
    assert progress(bench.database, "s1") == Progress(3, 3, reserved=3)
