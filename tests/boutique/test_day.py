"""A short day of the boutique through the path of `touchpoint replay`, beside the truth that made it."""

import json
from itertools import pairwise
from math import sqrt
from pathlib import Path
from random import Random
from statistics import mean, stdev

import pytest

from gateway.bytesearch import Needles
from gateway.core import decode
from gateway.core.sighting import Advertisement
from gateway.sources.recording import Condition, Recorded
from gateway.sources.recording import format as recorded
from tests.boutique.__main__ import keep, row
from tests.boutique.day import Day
from tests.boutique.floor import DOOR, SCANNERS, near, walk
from tests.boutique.radio import FADING_DB, SENSITIVITY_DBM, Link, instants
from tests.boutique.store import own_beacons, vectors
from tests.boutique.verdict import Verdict, play, search

SEED, SECONDS, PEOPLE = 1, 3600.0, 60
FALSE_EXITS_PER_HOUR = 0.15 * 60 / 8
"""What the defaults of presence were chosen for: 0.09 to 0.15 in eight minutes, at 1.5 m."""


def dice(seed: int) -> Random:
    return Random(seed)  # noqa: S311  # repeatable on purpose


@pytest.fixture(scope="module")
def day() -> Day:
    return Day(SEED, SECONDS, PEOPLE)


@pytest.fixture(scope="module")
def played(day: Day, tmp_path_factory: pytest.TempPathFactory) -> tuple[Verdict, Path]:
    directory = tmp_path_factory.mktemp("boutique")
    return play(day, directory), directory


@pytest.fixture
def verdict(played: tuple[Verdict, Path]) -> Verdict:
    return played[0]


def test_every_act_is_an_event_of_the_right_person(verdict: Verdict) -> None:
    """Taps, scans and answers: exactly those of the truth, at their time, with a subject only by consent and visit."""
    assert (verdict.acts_missing, verdict.acts_invented) == ({}, {})
    assert verdict.acts > 50


def test_every_stay_is_seen_once(verdict: Verdict) -> None:
    """None is missed or invented, each has its end, and few seem to leave who stay: no more than was promised."""
    assert (verdict.missed, verdict.invented, verdict.open) == ([], [], 0)
    expected = FALSE_EXITS_PER_HOUR * verdict.hours
    assert verdict.false_exits <= expected + 3 * sqrt(expected)
    assert len(verdict.truth) > 10


def test_dwell_is_right(verdict: Verdict) -> None:
    """Of stays in one piece nine in ten within 10 % or 15 s, and half of them within 3 s."""
    assert verdict.accurate >= 0.9 * len(verdict.once)
    assert sorted(verdict.errors)[len(verdict.errors) // 2] <= 3


def test_the_health_of_beacons_is_told_as_it_was(verdict: Verdict) -> None:
    """One battery is low, one beacon falls silent and comes back, one is carried away; the others are well."""
    assert verdict.health_wrong == {}


def test_every_sighting_ends_as_a_number(verdict: Verdict) -> None:
    """Absorbed, acted on, or dropped: and dropped are exactly the strangers', for the right reason."""
    assert verdict.problems == []
    assert verdict.balanced
    assert verdict.strangers.keys() == {"unknown", "not-valid", "unreadable"}
    assert verdict.good


def test_nobody_is_in_any_file(day: Day, played: tuple[Verdict, Path]) -> None:
    """No passer-by's address or signal, no customer's token, no stranger's code, all of which are in the recording."""
    _, directory = played
    proof = search(day, directory)
    assert proof.holds
    assert proof.findings == []
    everybody = Needles(day.secrets())
    labels = {"the address of a phone", "the signal of a phone", "a stranger's code or tag"}
    assert labels <= everybody.find((directory / "day.jsonl").read_bytes())


def test_the_same_seed_makes_the_same_day() -> None:
    """Line by line; another seed makes another."""
    first, second, other = (list(map(recorded, Day(seed, 600, 30).lines())) for seed in (5, 5, 6))
    assert first == second
    assert first != other


def test_lines_come_in_order_and_none_of_a_reader_that_is_down(day: Day) -> None:
    """As devices would give them."""
    down: set[str] = set()
    lines = list(Day(SEED, 900, 30).lines())
    assert all(before.at <= after.at for before, after in pairwise(lines))
    for line in lines:
        if isinstance(line, Condition):
            (down.discard if line.up else down.add)(line.reader)
        elif isinstance(line, Recorded):
            assert line.sighting.reader not in down
    assert {reader for reader, _, _ in day.outages} == {"salon", "atelier", "counter-scanner"}


def test_the_vectors_are_on_the_air() -> None:
    """Every advertisement that was captured from a device is sent: by a beacon of the store, or next door."""
    sent = {
        (*payload.manufacturer.values(), *payload.service.values())
        for line in Day(SEED, 1_200, 10).lines()
        if isinstance(line, Recorded) and isinstance(payload := line.sighting.payload, Advertisement)
    }
    assert {(*manufacturer.values(), *service.values()) for manufacturer, service in vectors().values()} <= sent


def test_the_stores_beacons_are_read_as_they_are_registered() -> None:
    """Four formats; each frame decodes to the identifier that stands in the registry."""
    own = own_beacons(dice(1))
    kinds = {beacon.identifier.partition(":")[0] for beacon in own}
    assert kinds == {"ibeacon", "altbeacon", "eddystone-uid", "link"}
    for beacon in own:
        for frame in beacon.sends:
            read = decode.advertisement(Advertisement("C4:00:00:00:00:01", -60, *frame))
            assert isinstance(read, decode.Beacon)
            assert read.identifier.text == beacon.identifier


def test_advertisements_come_a_little_later_than_their_interval() -> None:
    """By 0 to 10 ms each, at random."""
    gaps = [after - before for before, after in pairwise(instants(0.5, 0, 500, dice(1)))]
    assert all(0.5 <= gap <= 0.51 + 1e-9 for gap in gaps)
    assert mean(gaps) == pytest.approx(0.505, abs=0.001)


def test_the_radio_has_the_loss_and_the_noise_it_claims() -> None:
    """At 1.5 m: the mean of path loss and of bodies between, the deviation of all together, a quarter lost."""
    link, seconds = Link(-59, dice(3)), range(20_000)
    heard = [rssi for second in seconds if (rssi := link.receive(float(second), 1.5, 0.0)) is not None]
    assert len(heard) / len(seconds) == pytest.approx(0.75, abs=0.02)
    assert mean(heard) == pytest.approx(-59 - 3.9 - 0.8, abs=0.4)
    assert FADING_DB < stdev(heard) < 7
    assert all(link.receive(1e6 + second, 500.0, 0.0) is None for second in range(100))
    assert min(heard) >= SENSITIVITY_DBM


def test_a_walk_is_with_a_scanner_while_it_stands_there() -> None:
    """In by the door, to the salon and the atelier, and out: near each once, and for as long as the stop and a step."""
    chance = dice(2)
    way = walk(100.0, [(near("salon", chance), 200.0), (near("atelier", chance), 300.0)], chance)
    assert (way.at(0), way.at(1e6)) == (DOOR, DOOR)
    for scanner, seconds in zip(SCANNERS, (200.0, 300.0), strict=True):
        ((begins, ends),) = way.inside(scanner)
        assert seconds < ends - begins < seconds + 12


def test_a_day_can_be_kept_and_is_told_in_a_line(directory: Path, verdict: Verdict) -> None:
    """With all that `touchpoint replay` needs, and the truth in JSON, without a token."""
    day = Day(SEED, 300, 20)
    keep(day, directory / "kept")
    assert {path.name for path in (directory / "kept").iterdir()} == {
        "day.jsonl", "gateway.toml", "keys.json", "state", "truth.json",
    }  # fmt: skip
    text = (directory / "kept" / "truth.json").read_text(encoding="utf-8")
    assert json.loads(text).keys() == {"acts", "stays", "health", "dropped"}
    assert Needles(day.secrets()).find(text.encode()) == set()
    assert row("all", [verdict, verdict], 0).count("|") == 17
