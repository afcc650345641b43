"""A watch over a source, and over what it leaves behind."""

import asyncio
import gc
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.sources.watch import Watch, descriptors


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
async def nothing_left() -> AsyncIterator[None]:
    """Fail a test that leaves a descriptor or a task behind, or an error that nobody sees."""
    unseen: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unseen.append(context))
    gc.collect()  # what tests before this one have left is not this one's
    before, tasks = descriptors(), asyncio.all_tasks()
    yield
    await asyncio.sleep(0)
    gc.collect()  # a task that failed unseen says so when it is collected
    assert unseen == []
    assert descriptors() == before
    assert asyncio.all_tasks() - tasks <= {asyncio.current_task()}
