"""Staff keep the store's registry: a whole file, or one touchpoint at a time; it counts for the very next sighting."""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

from gateway.capture import Capture
from gateway.config import Settings
from gateway.control import Answer, Handler, RequestError, Tell
from gateway.core.registry import BadgeRule, BearerRule, Registry, Touchpoint, split
from gateway.core.sighting import ClockQuality
from gateway.language import _
from gateway.store import audit, registry_csv, touchpoints
from gateway.store.outbox import Outbox
from gateway.store.registry_csv import Bounds, RegistryErrors


def bearer_rules(settings: Settings) -> list[BearerRule]:
    """Return the configuration's rules for customers' tokens."""
    return [BearerRule(bearer.kind, bearer.prefix) for bearer in settings.bearers]


def badge_rules(settings: Settings) -> list[BadgeRule]:
    """Return the configuration's rules for what staff carry."""
    return [BadgeRule(badge.kind, badge.prefix) for badge in settings.badges]


def bounds(settings: Settings) -> Bounds:
    """Return what the configuration says of touchpoints that staff define."""
    return Bounds(bearer_rules(settings), settings.links.domain, settings.links.other_domains)


def known(registry: Mapping[str, Touchpoint], name: str) -> Touchpoint:
    """Return a touchpoint by its id. Raises RequestError."""
    if name not in registry:
        wrong = _("No touchpoint is called {id}. Those that are there: touchpoint touchpoints list")
        raise RequestError(wrong.format(id=name))
    return registry[name]


def edited(touchpoint: Touchpoint, named: Mapping[str, str], bounds: Bounds) -> Touchpoint:
    """Return a touchpoint with the cells that are named changed, and all else as it is. Raises RegistryErrors."""
    return registry_csv.read({**registry_csv.cells(touchpoint), **named}, bounds)


@contextmanager
def _refusals() -> Iterator[None]:
    """Turn everything that is wrong in a registry into a refusal."""
    try:
        yield
    except RegistryErrors as errors:
        raise RequestError(str(errors)) from None


def _cells(request: Mapping[str, Any]) -> dict[str, str]:
    return {str(column): str(text) for column, text in request["cells"].items()}


def _different(before: Touchpoint | None, wanted: Touchpoint) -> list[str]:
    """Return the names of the fields that a touchpoint has otherwise than before; all that it has, of a new one."""
    known = asdict(before) if before is not None else {}
    return [name for name, value in asdict(wanted).items() if known.get(name) != value]


@dataclass(slots=True)
class Registering:
    """Changes the registry of the capture half."""

    capture: Capture
    settings: Settings
    registry_of: Callable[[Sequence[Touchpoint], int], Registry]

    def handlers(self) -> Mapping[str, Handler]:
        """Return what may be asked, by name."""
        return {
            "registry-import": self.import_,
            "touchpoint-add": self.add,
            "touchpoint-edit": self.edit,
            "touchpoint-retire": self.retire,
        }

    async def import_(self, request: Mapping[str, Any], tell: Tell) -> Answer:
        """Replace the registry by a CSV text, or add what stands in it: all of it, or nothing if any line is wrong."""
        del tell
        with _refusals():
            wanted = registry_csv.parse(str(request["csv"]), bounds(self.settings))
        add = bool(request.get("add"))
        if add:
            self._must_be_free(wanted)
        return await self._change(request, wanted, "registry-imported", None, keep=add)

    async def add(self, request: Mapping[str, Any], tell: Tell) -> Answer:
        """Add the touchpoint that these cells describe. Raises RequestError."""
        del tell
        with _refusals():
            wanted = registry_csv.read(_cells(request), bounds(self.settings))
        if wanted.id in self.capture.path.registry.touchpoints:
            wrong = _("{id} is there already; to change it: touchpoint touchpoints edit {id}")
            raise RequestError(wrong.format(id=wanted.id))
        return await self._put(request, wanted, "touchpoint-added")

    async def edit(self, request: Mapping[str, Any], tell: Tell) -> Answer:
        """Change the cells of a touchpoint that are named. Raises RequestError."""
        del tell
        before = self._known(request)
        with _refusals():
            wanted = edited(before, _cells(request), bounds(self.settings))
        if wanted.id != before.id:
            raise RequestError(
                _("the id of a touchpoint stands in events and codes, and stays: retire it and add another")
            )
        return await self._put(request, wanted, "touchpoint-edited")

    async def retire(self, request: Mapping[str, Any], tell: Tell) -> Answer:
        """End the validity of a touchpoint now; what was counted of it stays. Raises RequestError."""
        del tell
        before, now = self._known(request), self.capture.clock.now()
        if now.quality is ClockQuality.UNSYNCED:
            raise RequestError(_("the clock is not synced, so nobody knows when now is; try again when it is"))
        ended = before.valid_until_ms
        if ended is not None and ended <= now.wall_ms:
            raise RequestError(_("{id} is retired already").format(id=before.id))
        begins = before.valid_from_ms
        if begins is not None and begins >= now.wall_ms:  # it was never valid, and never will be
            begins = None
        wanted = replace(before, valid_from_ms=begins, valid_until_ms=now.wall_ms)
        return await self._put(request, wanted, "touchpoint-retired")

    def _known(self, request: Mapping[str, Any]) -> Touchpoint:
        return known(self.capture.path.registry.touchpoints, str(request["id"]))

    async def _put(self, request: Mapping[str, Any], wanted: Touchpoint, what: str) -> Answer:
        self._must_be_free([wanted])
        before = self.capture.path.registry.touchpoints.get(wanted.id)
        fields = _different(before, wanted)
        if fields:
            await self._change(request, [wanted], what, {"id": wanted.id, "fields": fields}, keep=True)
        return {"touchpoint": asdict(wanted), "fields": fields}

    async def _change(
        self,
        request: Mapping[str, Any],
        wanted: Sequence[Touchpoint],
        what: str,
        detail: Mapping[str, Any] | None,
        *,
        keep: bool,
    ) -> Answer:
        """Commit, and follow the new registry from then on; both, even if whoever asked has left meanwhile."""
        at_ms, who = self.capture.clock.now().wall_ms, str(request.get("who") or audit.GATEWAY)

        def job(outbox: Outbox) -> tuple[dict[str, int], int, list[Touchpoint]]:
            changes = touchpoints.replace(outbox.connection, wanted, keep=keep)
            audit.append(outbox.connection, at_ms, who, what, changes if detail is None else detail)
            return changes, *touchpoints.load(outbox.connection)

        async def change() -> Answer:
            changes, version, there = await self.capture.writer.commit(job)
            self.capture.path.registry = self.registry_of(there, version)
            return {**changes, "version": version}

        return await asyncio.shield(change())

    def _must_be_free(self, wanted: Sequence[Touchpoint]) -> None:
        """Refuse identifiers that belong to touchpoints that stay. Raises RequestError."""
        registry = self.capture.path.registry
        stays = registry.touchpoints.keys() - {touchpoint.id for touchpoint in wanted}
        wrong = _("{id}: {identifier} belongs to {other} already")
        taken = [
            wrong.format(id=touchpoint.id, identifier=text, other=registry.known[identifier].touchpoint.id)
            for touchpoint in wanted
            for text in touchpoint.identifiers
            if (identifier := split(text, feedback=touchpoint.kind == "feedback")[0]) in registry.known
            and registry.known[identifier].touchpoint.id in stays
        ]
        if taken:
            raise RequestError("\n".join(taken))
