"""Each target of `make fuzz` on what it takes, on hostile inputs, and on random bytes."""

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import HOSTILE, SECRET, TARGETS, BrokenError, Target, close


@pytest.fixture(autouse=True, scope="module")
def _closed() -> Iterator[None]:
    """Leave no file open."""
    yield
    close()


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_takes_its_seeds_and_refuses_hostile_inputs_in_time(name: str) -> None:
    """Deep, long, doubled, empty: each is refused by the error that the parser declares, soon, and unquoted."""
    target = TARGETS[name]
    for data in (*target.seeds, *HOSTILE, *(seed + data for seed in target.seeds[:3] for data in HOSTILE)):
        target(data)


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_takes_any_bytes(name: str) -> None:
    """Whatever comes, alone or in the middle of what is right: nothing raises but what is declared."""
    target = TARGETS[name]

    @settings(max_examples=40, deadline=None)
    @given(st.sampled_from(target.seeds), st.integers(0, 200), st.integers(0, 5), st.binary(max_size=40))
    def takes(seed: bytes, at: int, cut: int, data: bytes) -> None:
        target(data)
        target(seed[:at] + data + seed[at + cut :])

    takes()


def _quotes(data: bytes) -> None:
    raise ValueError(f"{data!r} is wrong")


def _squares(data: bytes) -> None:
    for _ in range(300):
        sum(each * other for each in data[:400] for other in data[:400])


def test_a_target_that_quotes_or_takes_too_long_is_found() -> None:
    """The harness can fail."""
    with pytest.raises(BrokenError, match="quotes"):
        Target(_quotes, (ValueError,))(SECRET)
    with pytest.raises(BrokenError, match="took"):
        Target(_squares)(bytes(400))
    with pytest.raises(ValueError, match="wrong"):
        Target(_quotes)(b"x")
