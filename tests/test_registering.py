"""Staff change the registry: one touchpoint at a time, whole or not at all, and it counts at once."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.control import RequestError
from gateway.core.path import Fate
from gateway.core.registry import Touchpoint
from gateway.core.sighting import ClockQuality, Moment, Scan, Sighting
from gateway.desk import Desk
from gateway.store import audit, touchpoints
from tests.shop import until
from tests.test_desk import CONFIGURATION, act, desk_in

VITRINE = {"id": "vitrine-9", "kind": "display", "name": "Vitrine 9"}
LINK = "https://id.acme.example/t/vitrine-9"
HEADER = "id,kind,name,zone,phase,gtin,reference,serial,campaign,valid_from,valid_until,identifiers"


@pytest.fixture
async def desk(directory: Path) -> AsyncIterator[Desk]:
    """The desk of a store with one scanner."""
    async with desk_in(directory, CONFIGURATION) as counter:
        yield counter


def there(desk: Desk) -> dict[str, Touchpoint]:
    return dict(desk.capture.path.registry.touchpoints)


async def stored(desk: Desk) -> list[Touchpoint]:
    return (await desk.capture.writer.commit(lambda outbox: touchpoints.load(outbox.connection)))[1]


async def audited(desk: Desk) -> list[str]:
    return await desk.capture.writer.commit(lambda outbox: [entry.what for entry in audit.entries(outbox.connection)])


def scanned(desk: Desk) -> str:
    """Scan the link of the display case; return what became of it."""
    half = desk.capture
    half.path.debounce.expire(1 << 62)
    outcome = half.path.see(Sighting("scanner", Scan(LINK)), half.clock.now())
    return outcome.reason or str(outcome.fate)


async def test_a_touchpoint_is_added_edited_and_retired(desk: Desk) -> None:
    """Each counts for the very next scan, is in the file, and in the audit log."""
    assert scanned(desk) == "unknown"
    said = await act(desk, "touchpoint-add", cells=VITRINE, who="anna")
    assert said["touchpoint"]["identifiers"] == (f"link:{LINK}",)
    assert scanned(desk) == Fate.ACTED_ON
    assert (await act(desk, "touchpoint-edit", id="vitrine-9", cells={"zone": "salon"}))["fields"] == ["zone"]
    assert there(desk)["vitrine-9"] == Touchpoint(
        "vitrine-9", "display", "Vitrine 9", zone="salon", identifiers=(f"link:{LINK}",)
    )
    await act(desk, "touchpoint-retire", id="vitrine-9")
    assert scanned(desk) == "not-valid"
    with pytest.raises(RequestError, match="is retired already"):
        await act(desk, "touchpoint-retire", id="vitrine-9")
    await act(desk, "touchpoint-edit", id="vitrine-9", cells={"valid_until": ""})
    assert scanned(desk) == Fate.ACTED_ON
    assert await stored(desk) == list(there(desk).values())
    assert await audited(desk) == ["touchpoint-added", "touchpoint-edited", "touchpoint-retired", "touchpoint-edited"]


async def test_an_edit_changes_only_what_is_named(desk: Desk) -> None:
    """Also the link stays when the GTIN changes: it is printed already. The same again changes nothing."""
    whole = {
        **VITRINE, "zone": "z", "phase": "before", "gtin": "96385074", "reference": "r", "serial": "s",
        "campaign": "c", "valid_from": "2020-01-01", "valid_until": "2999-12-31",
        "identifiers": "text:a%20b nfc-uid:04a1b2c3",
    }  # fmt: skip
    await act(desk, "touchpoint-add", cells=whole)
    before = there(desk)["vitrine-9"]
    assert (await act(desk, "touchpoint-edit", id="vitrine-9", cells={"gtin": "09521234000419"}))["fields"] == ["gtin"]
    after = there(desk)["vitrine-9"]
    assert (after.gtin, after.identifiers, after.valid_until_ms) == (
        "09521234000419", before.identifiers, before.valid_until_ms,
    )  # fmt: skip
    version = desk.capture.path.registry.version
    assert (await act(desk, "touchpoint-edit", id="vitrine-9", cells={"gtin": "09521234000419"}))["fields"] == []
    assert desk.capture.path.registry.version == version


@pytest.mark.parametrize(
    ("ask", "request_", "said"),
    [
        ("add", {"cells": {**VITRINE, "id": "a"}}, "a is there already"),
        ("add", {"cells": {**VITRINE, "identifiers": "text:a"}}, "vitrine-9: text:a belongs to a already"),
        ("add", {"cells": {**VITRINE, "gtin": "96385075"}}, "gtin: the check digit is wrong: .* be 4"),
        ("add", {"cells": {**VITRINE, "identifiers": "link:https://other.example/t"}}, "not the brand's"),
        ("add", {"cells": {**VITRINE, "identifiers": "link:https://id.acme.example/m/0a"}}, "customer's token"),
        ("add", {"cells": {"id": "b"}}, "(?s)kind: must be one of.*name: must not be empty"),
        ("edit", {"id": "b", "cells": {"zone": "z"}}, "No touchpoint is called b"),
        ("edit", {"id": "a", "cells": {"id": "b"}}, "retire it and add another"),
        ("edit", {"id": "a", "cells": {"phase": "later"}}, "phase: must be one of"),
        ("retire", {"id": "b"}, "No touchpoint is called b"),
    ],
)
async def test_what_is_wrong_changes_nothing(desk: Desk, ask: str, request_: dict[str, object], said: str) -> None:
    """It is said by column, and the registry is as before."""
    await act(desk, "registry-import", csv=f"{HEADER}\na,display,A,,,,,,,,,text:a\n")
    before = there(desk)
    with pytest.raises(RequestError, match=said):
        await act(desk, f"touchpoint-{ask}", **request_)
    assert there(desk) == before
    assert await stored(desk) == list(before.values())


async def test_what_never_was_valid_can_be_retired(desk: Desk) -> None:
    """It never will be; the file stays one that can be imported."""
    await act(desk, "touchpoint-add", cells={**VITRINE, "valid_from": "2999-01-01"})
    await act(desk, "touchpoint-retire", id="vitrine-9")
    retired = there(desk)["vitrine-9"]
    assert retired.valid_from_ms is None
    assert not retired.valid_at((retired.valid_until_ms or 0) + 1)


async def test_nothing_is_retired_by_a_clock_that_is_wrong(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """It could end in the future, or lie before its beginning."""
    await act(desk, "touchpoint-add", cells=VITRINE)
    monkeypatch.setattr("gateway.clock.Clock.now", lambda _: Moment(1, 1, ClockQuality.UNSYNCED))
    with pytest.raises(RequestError, match="clock is not synced"):
        await act(desk, "touchpoint-retire", id="vitrine-9")
    assert there(desk)["vitrine-9"].valid_until_ms is None


async def test_whoever_asked_may_leave_in_the_middle(desk: Desk) -> None:
    """Ctrl-C while the disk writes: what is in the file then is what the path follows."""
    asking = asyncio.ensure_future(act(desk, "touchpoint-add", cells=VITRINE))
    await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await until(lambda: "vitrine-9" in there(desk))
    assert await stored(desk) == list(there(desk).values())


async def test_what_the_centre_defines_may_be_changed_here(desk: Desk) -> None:
    """It then holds as it was changed, until the centre says something newer."""

    async def centre(revision: int, name: str) -> None:
        wanted = Touchpoint("a", "display", name)
        await desk.capture.writer.commit(lambda outbox: touchpoints.reconcile(outbox.connection, "a", revision, wanted))

    await centre(5, "theirs")
    number, known = await desk.capture.writer.commit(lambda outbox: touchpoints.load(outbox.connection))
    desk.capture.path.registry = desk.registry_of(known, number)
    await act(desk, "touchpoint-edit", id="a", cells={"name": "ours"})
    await centre(5, "theirs")
    assert [each.name for each in await stored(desk)] == ["ours"]
    assert await desk.capture.writer.commit(lambda outbox: touchpoints.origins(outbox.connection)) == {"a": "store"}
    await centre(6, "newer")
    assert [each.name for each in await stored(desk)] == ["newer"]
