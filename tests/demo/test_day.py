"""The day at the boutique: the same for the same seed, complete, and in order."""

from random import Random

import pytest

from gateway.core.sighting import Advertisement, Scan
from gateway.demo.boutique import Boutique, boutique
from gateway.demo.day import LONGEST_OUTAGE, Act, Step, day
from gateway.sources.framing import LINE_LIMIT


def a_day(seed: int = 3, seconds: float = 20) -> tuple[Boutique, list[Step]]:
    random = Random(seed)  # noqa: S311  # repeatable on purpose
    shop = boutique(random)
    return shop, day(shop, random, seconds)


def test_the_same_seed_makes_the_same_day() -> None:
    """Every step is the same, at the same time, with the same bytes; another seed makes another day."""
    assert a_day() == a_day()
    assert a_day(seed=4) != a_day()


@pytest.mark.parametrize("seconds", [5, 20, 600])
def test_the_day_is_in_order_and_within_its_time(seconds: float) -> None:
    """Steps come in order of time, from the opening on, and leave some time at the end."""
    _, steps = a_day(seconds=seconds)
    times = [step.at for step in steps]
    assert times == sorted(times)
    assert times[0] == 0
    assert times[-1] <= 0.95 * seconds


@pytest.mark.parametrize("seconds", [5, 20, 600])
def test_consent_is_withdrawn_while_the_line_is_unplugged(seconds: float) -> None:
    """Ben is read twice in the outage, then withdraws, is read again, and only then the line is plugged in."""
    shop, steps = a_day(seconds=seconds)
    acts = {step.act: step for step in steps if step.act is not None}
    assert acts[Act.WITHDRAW].token == shop.ben.token
    ben = [step.at for step in steps if step.sighting and step.sighting.payload == Scan(shop.ben.token, "]Q1")]
    unplugged, withdrawn, plugged = (acts[act].at for act in (Act.UNPLUG, Act.WITHDRAW, Act.PLUG))
    assert [unplugged < at < withdrawn for at in ben] == [False, True, False]
    assert withdrawn < ben[-1] < plugged
    assert plugged - unplugged <= LONGEST_OUTAGE


def test_strangers_outnumber_everybody_else() -> None:
    """Dozens of phones are heard, each under two addresses in turn."""
    shop, steps = a_day()
    heard = {
        step.sighting.payload.address
        for step in steps
        if step.sighting and isinstance(step.sighting.payload, Advertisement)
    }
    addresses = {address.hex(":").upper() for each in shop.passersby for address in each.addresses}
    assert len(shop.passersby) >= 24
    assert len(heard & addresses) > len(shop.passersby)


def test_one_scan_is_too_long_for_a_scanner() -> None:
    """Among the hostile scans is one that the scanner's driver must pass over."""
    _, steps = a_day()
    lengths = [
        len(step.sighting.payload.text) for step in steps if step.sighting and isinstance(step.sighting.payload, Scan)
    ]
    assert max(lengths) > LINE_LIMIT
