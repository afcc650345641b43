"""What counts as growth over hours."""

from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.soak.chart import chart
from tests.soak.samples import Sample, growth, report, save_csv


def series(more: float, *, what: str = "memory", noise: float = 0.0) -> list[Sample]:
    """Return two hours of samples that grow by so much an hour."""
    dice = Random(1)  # noqa: S311  # for repeatable noise, not for secrets
    return [
        Sample(minute / 60, what, "capture", 60 + more * minute / 60 + dice.gauss(0, noise)) for minute in range(121)
    ]


@pytest.mark.parametrize(("more", "grows"), [(0.0, False), (0.5, False), (3.0, True), (-3.0, False)])
def test_what_grows_is_told_from_what_varies(more: float, grows: bool, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: FBT001
    """Memory that comes and goes is no growth; three megabytes an hour are."""
    assert report(series(more, noise=0.3)) is grows
    assert ("GROWS" in capsys.readouterr().out) is grows


def test_what_happens_while_it_warms_up_does_not_count() -> None:
    """A first third that climbs is caches that fill."""
    samples = series(0.0)
    climbed = [
        Sample(each.hours, each.what, each.of, each.value - max(0.0, 30 - at)) for at, each in enumerate(samples)
    ]
    assert growth(climbed) == (60, 0)


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=60))
def test_any_samples_can_be_judged_and_drawn(values: list[float]) -> None:
    """However few or wild they are."""
    samples = [Sample(float(at), "files", "capture.db", value) for at, value in enumerate(values)]
    mean, _ = growth(samples)
    assert min(values) - 1e-6 <= mean <= max(values) + 1e-6 or mean == pytest.approx(values[-1])
    assert chart(samples).count("<polyline") == 1


def test_every_sample_is_written(tmp_path: Path) -> None:
    """A line each, under a heading."""
    save_csv(tmp_path / "soak.csv", series(0.0))
    lines = (tmp_path / "soak.csv").read_text().splitlines()
    assert lines[0] == "hours,what,of,value"
    assert len(lines) == 122
