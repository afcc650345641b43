"""A disk whose syncs fail for a while: nothing is acknowledged meanwhile, and nothing that was is lost."""

from pathlib import Path

from tests.disk.conftest import accept, capture_on, configured, refused_starts, verified
from tests.disk.mounts import PoweredDisk
from tests.simulators.forgetful_disk import SYNCS_FAIL


async def test_no_event_is_accepted_while_syncs_fail_and_all_others_survive_a_power_cut(directory: Path) -> None:
    """Refused ones are counted as dropped; the half recovers by itself, and what it accepts then is durable."""
    with PoweredDisk(directory, directory / "s") as disk:
        settings = configured(directory, disk.path)
        async with capture_on(settings) as half:
            before = [await accept(half) for _ in range(5)]
            (disk.faults / SYNCS_FAIL).touch()
            meanwhile = [await accept(half) for _ in range(5)]
            (disk.faults / SYNCS_FAIL).unlink()
            after = [await accept(half) for _ in range(5)]
            await half.save()
            counted = dict(half.counts)
            disk.kill()
        disk.take_off()
        disk.restore()
        assert (before, meanwhile, after) == ([True] * 5, [False] * 5, [True] * 5)
        assert counted == {"sightings": 15, "acted_on": 10, "dropped:store": 5}
        async with capture_on(settings) as half:
            assert await accept(half)
        assert verified(disk.path).numbers["appended"] == 11


async def test_a_half_that_cannot_sync_at_its_start_says_so_and_starts_when_it_can(directory: Path) -> None:
    """No file is set aside for it: a disk that fails is no damaged file."""
    with PoweredDisk(directory, directory / "s") as disk:
        settings = configured(directory, disk.path)
        async with capture_on(settings) as half:
            assert await accept(half)
        (disk.faults / SYNCS_FAIL).touch()
        refusals = await refused_starts(settings, 3)
        (disk.faults / SYNCS_FAIL).unlink()
        assert all("disk I/O error" in each and "Check that" in each for each in refusals)
        async with capture_on(settings) as half:
            assert await accept(half)
        assert verified(disk.path).numbers["waiting"] == 2
        assert not list(disk.path.glob("*.damaged-*"))
