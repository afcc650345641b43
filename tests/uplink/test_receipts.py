"""Delivery `receipt`: the consumer's word counts, a PUBACK does not, and what cannot be its word changes nothing."""

import json

import pytest

from gateway.uplink import forward
from tests.simulators.broker import FakeBroker
from tests.uplink.conftest import Bench, forwarding, sequences, until


def receipt(session: str, through: int) -> bytes:
    return json.dumps({"session": session, "through": through}).encode()


async def test_with_receipts_only_a_receipt_delivers(bench: Bench, fake: FakeBroker) -> None:
    """PUBACKs move the line on, receipts make it delivered, as far as they say and no further."""
    bench.forwarder.delivery = "receipt"
    bench.capture.append(5)
    async with forwarding(bench, fake):
        await until(lambda: sequences(fake) == [1, 2, 3, 4, 5])
        await until(lambda: bench.recorded() == (5, 0))
        bench.forwarder.receive_receipt(receipt("s1", 3))
        await until(lambda: bench.recorded() == (5, 3))
        assert bench.rings[-1] == 3
        bench.forwarder.receive_receipt(receipt("s1", 5))
        await until(lambda: bench.recorded() == (5, 5))
    assert bench.forwarder.receipts_refused == 0


FORGED = {
    "of another session": receipt("s0", 1),
    "ahead of what was published": receipt("s1", 4),
    "before the beginning": receipt("s1", -1),
    "with a number in quotes": b'{"session":"s1","through":"2"}',
    "with more in it": b'{"session":"s1","through":2,"and":1}',
    "without a number": b'{"session":"s1"}',
    "no JSON": b"\xff\xfe{",
    "nested for ever": b"[" * 100_000,
    "empty": b"",
    "of a huge number": b'{"session":"s1","through":1' + b"0" * 5_000 + b"}",
}


@pytest.mark.parametrize("payload", FORGED.values(), ids=FORGED.keys())
async def test_a_receipt_that_cannot_be_true_changes_nothing(bench: Bench, fake: FakeBroker, payload: bytes) -> None:
    """It is counted and ignored; the line goes on."""
    bench.forwarder.delivery = "receipt"
    bench.capture.append(3)
    async with forwarding(bench, fake):
        await until(lambda: sequences(fake) == [1, 2, 3])
        bench.forwarder.receive_receipt(payload)
        await until(lambda: bench.recorded() == (3, 0))
        assert bench.forwarder.receipts_refused == 1
        bench.forwarder.receive_receipt(receipt("s1", 3))
        await until(lambda: bench.recorded() == (3, 3))


async def test_an_old_receipt_is_no_step_back(bench: Bench, fake: FakeBroker) -> None:
    """Receipts may come late or twice: what is delivered stays delivered, and none of it counts as forged."""
    bench.forwarder.delivery = "receipt"
    bench.capture.append(3)
    async with forwarding(bench, fake):
        await until(lambda: sequences(fake) == [1, 2, 3])
        for through in (3, 1, 3):
            bench.forwarder.receive_receipt(receipt("s1", through))
            await until(lambda: bench.recorded() == (3, 3))
    assert bench.forwarder.receipts_refused == 0


async def test_a_receipt_means_nothing_where_pubacks_count(bench: Bench, fake: FakeBroker) -> None:
    """With delivery `puback` nobody else has a say."""
    fake.puback = lambda _: None
    bench.capture.append(1)
    async with forwarding(bench, fake):
        await until(lambda: fake.published)
        bench.forwarder.receive_receipt(receipt("s1", 1))
        await until(lambda: bench.recorded() == (1, 0))


async def test_without_a_receipt_it_goes_out_again(
    bench: Bench, fake: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a back-off that doubles, everything behind the last receipt is published again, unchanged."""
    monkeypatch.setattr(forward, "POLL_SECONDS", 0.02)
    bench.forwarder.delivery = "receipt"
    bench.capture.append(2)
    async with forwarding(bench, fake):
        await until(lambda: sequences(fake) == [1, 2])
        bench.forwarder.receive_receipt(receipt("s1", 1))
        bench.clock.advance(forward.RECEIPT_SECONDS + 1)
        await until(lambda: sequences(fake) == [1, 2, 2])
        bench.clock.advance(forward.RECEIPT_SECONDS + 1)
        with pytest.raises(TimeoutError):
            await until(lambda: len(fake.published) > 3, 0.1)
        bench.clock.advance(forward.RECEIPT_SECONDS)
        await until(lambda: sequences(fake) == [1, 2, 2, 2])
        bench.forwarder.receive_receipt(receipt("s1", 2))
        bench.clock.advance(forward.RECEIPT_SECONDS_MAX * 2)
        with pytest.raises(TimeoutError):
            await until(lambda: len(fake.published) > 4, 0.1)
    assert fake.published[1].payload == fake.published[2].payload == fake.published[3].payload
    await until(lambda: bench.recorded() == (2, 2))


def confirm(bench: Bench, through: int) -> int:
    """Let the receipt overtake the PUBACK, which is a success."""
    bench.forwarder.receive_receipt(receipt("s1", through))
    return 0


async def test_a_receipt_during_the_repetition_cuts_it_short(
    bench: Bench, fake: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a receipt covers while it is being published again is not published once more."""
    monkeypatch.setattr(forward, "POLL_SECONDS", 0.02)
    bench.forwarder.delivery = "receipt"
    bench.capture.append(4)
    async with forwarding(bench, fake):
        await until(lambda: sequences(fake) == [1, 2, 3, 4])
        fake.puback = lambda _: confirm(bench, 4)
        bench.clock.advance(forward.RECEIPT_SECONDS + 1)
        await until(lambda: bench.recorded() == (4, 4))
        bench.capture.append(1)
        bench.forwarder.bell.set()
        await until(lambda: sequences(fake)[-1] == 5)
    assert sequences(fake) == [1, 2, 3, 4, 1, 5]
