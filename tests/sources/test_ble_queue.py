"""What waits of many beacons at once."""

import asyncio
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from gateway.sources.ble_queue import BATCH, CoalescingQueue


async def drain(queue: CoalescingQueue[str, int]) -> list[int]:
    return [await queue.get() for _ in range(len(queue))]


async def test_with_room_every_sample_is_kept() -> None:
    """In the order of their coming, also of the same beacon."""
    dropped = Counter[str]()
    queue = CoalescingQueue[str, int](3, lambda reason: dropped.update([reason]))
    for value, key in enumerate("aab"):
        queue.put(key, value)
    assert await drain(queue) == [0, 1, 2]
    assert not dropped


async def test_without_room_the_latest_sample_of_each_beacon_is_kept() -> None:
    """A beacon that is heard often gives way to one that is heard for the first time."""
    dropped = Counter[str]()
    queue = CoalescingQueue[str, int](3, lambda reason: dropped.update([reason]))
    for value, key in enumerate("aaab"):
        queue.put(key, value)
    assert await drain(queue) == [2, 3]
    assert dropped == {"coalesced": 2}


async def test_more_beacons_than_room() -> None:
    """The one that came last finds none."""
    dropped = Counter[str]()
    queue = CoalescingQueue[str, int](3, lambda reason: dropped.update([reason]))
    for value, key in enumerate("abcd"):
        queue.put(key, value)
    assert await drain(queue) == [0, 1, 2]
    assert dropped == {"overload": 1}


@given(st.lists(st.sampled_from("abcdefgh"), max_size=200), st.integers(1, 8))
def test_nothing_is_lost_without_a_count(keys: list[str], capacity: int) -> None:
    """Bounded whatever comes; and what came is kept or counted."""

    async def story() -> None:
        dropped: list[str] = []
        queue = CoalescingQueue[str, int](capacity, dropped.append)
        for value, key in enumerate(keys):
            queue.put(key, value)
            assert len(queue) <= capacity
        kept = await drain(queue)
        assert kept == sorted(kept) or "coalesced" in dropped
        assert len(kept) + len(dropped) == len(keys)

    asyncio.run(story())


async def test_others_get_their_turn() -> None:
    """However much waits, whoever takes it lets others run after each batch."""
    queue = CoalescingQueue[str, int](10 * BATCH, lambda _: None)
    for value in range(10 * BATCH):
        queue.put(str(value), value)
    taken: list[int] = []

    async def take() -> None:
        while len(taken) < 10 * BATCH:
            taken.append(await queue.get())

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(take())
        for turn in range(1, 5):
            await asyncio.sleep(0)
            assert len(taken) <= turn * BATCH


async def test_whoever_waits_gets_what_comes() -> None:
    """An empty queue waits, and wakes up."""
    queue = CoalescingQueue[str, int](3, lambda _: None)
    async with asyncio.TaskGroup() as tasks:
        taking = tasks.create_task(queue.get())
        await asyncio.sleep(0)
        assert not taking.done()
        queue.put("a", 1)
    assert taking.result() == 1
