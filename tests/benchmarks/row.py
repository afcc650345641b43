"""A row of the table: ours and what it is held against, both measured, and whether the target is met."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, TypeVar

Outcome = TypeVar("Outcome")

TIMES = "\N{MULTIPLICATION SIGN}"
HEADER = """| what | ours | beside | baseline | ratio | to reach | |
| --- | ---: | --- | ---: | ---: | ---: | --- |"""
PREFIXES = ((1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"))


@dataclass(frozen=True, slots=True)
class Target:
    """What the ratio of ours to the baseline, or ours alone, must come to."""

    limit: float
    at_least: bool = False
    unit: str = TIMES

    def met_by(self, value: float) -> bool:
        """Tell whether a value reaches it."""
        return value >= self.limit if self.at_least else value <= self.limit

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.limit:g} {self.unit}"


@dataclass(frozen=True, slots=True)
class Spread:
    """The least and the greatest that was measured, beside the median that a row reports."""

    ours: tuple[float, float]
    baseline: tuple[float, float] | None = None
    ratio: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. Without a target it is reported only, without a baseline `target` judges ours alone."""

    what: str
    beside: str
    unit: str
    ours: float
    baseline: float | None = None
    ratio: float | None = None
    target: Target | None = None
    spread: Spread | None = None
    note: str = ""
    """What has to be known of the baseline; printed below the table."""

    @property
    def met(self) -> bool | None:
        """Whether the target is reached; None where there is none."""
        judged = self.ours if self.baseline is None else self.ratio
        return None if self.target is None or judged is None else self.target.met_by(judged)

    def as_json(self) -> dict[str, Any]:
        """Return the row as JSON values."""
        return asdict(self) | {"target": None if self.target is None else str(self.target), "met": self.met}


@dataclass(frozen=True, slots=True)
class Pairs:
    """Repeated measurements of ours and of the baseline, taken in turn."""

    ours: tuple[float, ...]
    baseline: tuple[float, ...]

    def row(self, what: str, beside: str, unit: str, target: Target | None = None, note: str = "") -> Row:
        """Return medians, and the median of the ratios of neighbours: what disturbs both cancels out."""
        ratios = [ours / bare for ours, bare in zip(self.ours, self.baseline, strict=True)]
        spread = Spread(_ends(self.ours), _ends(self.baseline), _ends(ratios))
        return Row(what, beside, unit, median(self.ours), median(self.baseline), median(ratios), target, spread, note)


def alone(what: str, unit: str, measured: Sequence[float], target: Target | None = None) -> Row:
    """Return the row of what is held against nothing."""
    return Row(what, "", unit, median(measured), target=target, spread=Spread(_ends(measured)))


def _ends(values: Sequence[float]) -> tuple[float, float]:
    return min(values), max(values)


def in_turn(ours: Callable[[], float], baseline: Callable[[], float], times: int) -> Pairs:
    """Measure both, alternately, and who goes first alternates too; once each before that counts."""
    ours()
    baseline()
    return Pairs(*zip(*rotated((ours, baseline), times), strict=True))


def rotated(measures: Sequence[Callable[[], Outcome]], rounds: int) -> list[tuple[Outcome, ...]]:
    """Measure each once a round, another first each time, and return the rounds in the order of `measures`."""
    return [_round(measures, turn % len(measures)) for turn in range(rounds)]


def _round(measures: Sequence[Callable[[], Outcome]], first: int) -> tuple[Outcome, ...]:
    outcomes = [measure() for measure in (*measures[first:], *measures[:first])]
    return tuple(outcomes[len(measures) - first :] + outcomes[: len(measures) - first])


def quantity(value: float, unit: str) -> str:
    """Write a value with its unit: seconds with the prefix that suits them, all else with thousands apart."""
    if unit != "s":
        return f"{value:,.0f} {unit}" if abs(value) >= 100 else f"{value:.3g} {unit}"
    scale, prefix = next(((scale, prefix) for scale, prefix in PREFIXES if value >= scale), PREFIXES[-1])
    return f"{value / scale:.3g} {prefix}s"


def line(row: Row, note: int | None = None) -> str:
    """Write a row of the table, as Markdown; `note` is the number of its footnote."""
    return f"| {' | '.join(_cells(row, '' if note is None else f'[^{note}]'))} |"


def _cells(row: Row, mark: str) -> tuple[str, ...]:
    return (
        row.what,
        quantity(row.ours, row.unit),
        row.beside + mark,
        "" if row.baseline is None else quantity(row.baseline, row.unit),
        "" if row.ratio is None else f"{row.ratio:{'.2f' if row.ratio >= 0.1 else '.2g'}} {TIMES}",
        "" if row.target is None else str(row.target),
        {True: "met", False: "MISSED", None: ""}[row.met],
    )
