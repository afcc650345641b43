"""What the centre asks for again: exactly that is sent, unchanged, and what names nobody any more names nobody."""

from tests.simulators.broker import FakeBroker
from tests.uplink.conftest import Bench, CaptureHalf, forwarding, sequences, texts, until


async def test_only_what_is_asked_for_is_sent_again(bench: Bench, fake: FakeBroker) -> None:
    """Byte for byte; and what comes next goes on where it was."""
    bench.forwarder.delivery = "receipt"
    bench.capture.append(5)
    async with forwarding(bench, fake):
        await until(lambda: sequences(fake) == [1, 2, 3, 4, 5])
        bench.forwarder.replay(2, 3)
        await until(lambda: sequences(fake)[5:] == [2, 3])
        bench.capture.append(1)
        bench.forwarder.bell.set()
        await until(lambda: sequences(fake)[5:] == [2, 3, 6])
    assert [each.payload for each in fake.published[5:7]] == [each.payload for each in fake.published[1:3]]


async def test_a_gap_that_stands_for_several_is_sent_for_each(bench: Bench, fake: FakeBroker) -> None:
    """Whoever asks for a sequence inside of it gets the whole."""
    bench.forwarder.delivery = "receipt"
    bench.capture.append(6)
    bench.capture.fold(2, 5)
    async with forwarding(bench, fake):
        await until(lambda: sequences(fake) == [1, 2, 6])
        bench.forwarder.replay(4, 4)
        await until(lambda: sequences(fake) == [1, 2, 6, 2])


async def test_several_wishes_are_one(bench: Bench, fake: FakeBroker) -> None:
    """From the first to the last of what is asked for, once."""
    bench.forwarder.delivery = "receipt"
    bench.capture.append(6)
    async with forwarding(bench, fake):
        await until(lambda: len(fake.published) == 6)
        bench.forwarder.replay(4, 4)
        bench.forwarder.replay(2, 3)
        await until(lambda: sequences(fake)[6:] == [2, 3, 4])


async def test_who_has_withdrawn_is_not_named_again(bench: Bench, fake: FakeBroker) -> None:
    """It stops at the row, asks capture to take it back, and sends what capture made of it."""
    bench.forwarder.delivery = "receipt"
    bench.consents.grant("anna")
    bench.capture.append(1)
    bench.capture.append(1, handle="anna")
    bench.capture.append(1)
    async with forwarding(bench, fake):
        await until(lambda: sequences(fake) == [1, 2, 3])
        bench.consents.withdraw("anna")
        bench.forwarder.replay(1, 3)
        await until(lambda: bench.refused() == {2: "withdrawn"})
        assert sequences(fake)[3:] == [1]
        bench.capture.set_aside({2: "withdrawn"})
        bench.forwarder.bell.set()
        await until(lambda: sequences(fake)[3:] == [1, 2, 3])
    assert texts(fake.published)[4] == bench.capture.texts()[1]


async def test_another_session_knows_nothing_of_it(bench: Bench, fake: FakeBroker) -> None:
    """A wish for rows of a file that is gone is gone with it, and so is what would be a gap."""
    bench.forwarder.delivery = "receipt"
    bench.capture.append(4)
    async with forwarding(bench, fake):
        await until(lambda: len(fake.published) == 4)
    bench.capture.trim(2)
    bench.forwarder.replay(1, 4)
    bench.capture.close()
    for path in bench.directory.glob("capture.db*"):
        path.unlink()
    other = CaptureHalf(bench.directory, "s2", bench.clock)
    other.append(2)
    async with forwarding(bench, fake):
        await until(lambda: len(fake.published) >= 6)
    assert sequences(fake)[4:6] == [1, 2]
    other.close()


async def test_what_cannot_be_sent_again_is_refused(bench: Bench, fake: FakeBroker) -> None:
    """What was never published is nobody's to ask for."""
    bench.capture.append(2)
    async with forwarding(bench, fake):
        await until(lambda: bench.recorded() == (2, 2))
        assert bench.forwarder.refusal("s1", 2) is None
        assert bench.forwarder.refusal("s1", 3) == "not all of that was published"
        assert bench.forwarder.refusal("s2", 1) == "that session is not the present one"
