"""How long something takes: the least of several runs in a loop, since what disturbs a run only ever adds to it."""

import gc
from collections.abc import Callable
from time import perf_counter


def seconds_each(work: Callable[[], object], calls: int = 5_000, runs: int = 3) -> float:
    """Return the seconds of one call, the loop's own cost included, as it is in every baseline."""
    return min(_loop(work, calls) for _ in range(runs)) / calls


def _loop(work: Callable[[], object], calls: int) -> float:
    gc.collect()
    gc.disable()
    try:
        began = perf_counter()
        for _ in range(calls):
            work()
        return perf_counter() - began
    finally:
        gc.enable()
