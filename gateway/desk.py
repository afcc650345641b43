"""What staff may ask of the capture half: its state, consent at the counter, the registry.

The CLI asks over the control socket while the daemon runs, and builds a desk of its own on the same files when it does
not (`gateway.daemon.ask_desk`): the same code answers either way.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.capture import Capture
from gateway.config import Settings
from gateway.consenting import Consenting
from gateway.control import Answer, Handler, RequestError, Tell
from gateway.core.jws import Issuers
from gateway.core.registry import BadgeRule, BearerRule, Registry, Touchpoint, split
from gateway.customers import Customers
from gateway.erasing import Erasing
from gateway.lending import Lending
from gateway.store import audit, touchpoints
from gateway.store.outbox import Outbox
from gateway.store.registry_csv import RegistryErrors, parse
from gateway.trying import Trying


def bearer_rules(settings: Settings) -> list[BearerRule]:
    """Return the configuration's rules for customers' tokens."""
    return [BearerRule(bearer.kind, bearer.prefix) for bearer in settings.bearers]


def badge_rules(settings: Settings) -> list[BadgeRule]:
    """Return the configuration's rules for what staff carry."""
    return [BadgeRule(badge.kind, badge.prefix) for badge in settings.badges]


@dataclass(slots=True)
class Desk:
    """Answers requests with the capture half's own store, keys and readers."""

    capture: Capture
    settings: Settings
    registry_of: Callable[[Sequence[Touchpoint], int], Registry]
    issuers: Issuers
    """Who is believed about consents of the centre."""

    def handlers(self) -> Mapping[str, Handler]:
        """Return what may be asked, by name."""
        customers = Customers(self.capture, self.settings, self.issuers)
        return {
            "status": self.status,
            "registry-import": self.registry_import,
            **Consenting(customers).handlers(),
            **Erasing(customers).handlers(),
            **Lending(self.capture, self.settings).handlers(),
            **Trying(self.capture, self.settings).handlers(),
        }

    async def status(self, request: Mapping[str, Any], tell: Tell) -> Answer:
        """Tell how the readers fare and what was counted since the start; the durable counters are up to date then."""
        del request, tell
        await self.capture.save()
        return {
            "readers": {
                name: {"up": status.up, "reason": status.reason, "lent": status.lent}
                for name, status in self.capture.readers.items()
            },
            "counts": dict(self.capture.counts),
            "clock": str(self.capture.clock.now().quality),
            "key": self.capture.path.subjects.epoch(self.capture.clock.now()) is not None,
            "health": self.capture.condition(),  # said here too, for a disk that takes no word of it
        }

    async def registry_import(self, request: Mapping[str, Any], tell: Tell) -> Answer:
        """Replace the registry by a CSV text, or add what stands in it: all of it, or nothing if any line is wrong."""
        del tell
        try:
            wanted = parse(str(request["csv"]), bearer_rules(self.settings), self.settings.links.domain)
        except RegistryErrors as errors:
            raise RequestError(str(errors)) from None
        add = bool(request.get("add"))
        if add and (taken := self._taken(wanted)):
            raise RequestError("\n".join(taken))
        at_ms, who = self.capture.clock.now().wall_ms, str(request.get("who") or audit.GATEWAY)

        def job(outbox: Outbox) -> dict[str, int]:
            changes = touchpoints.replace(outbox.connection, wanted, keep=add)
            audit.append(outbox.connection, at_ms, who, "registry-imported", changes)
            return changes

        changes = await self.capture.writer.commit(job)
        version, now_known = await self.capture.writer.commit(lambda outbox: touchpoints.load(outbox.connection))
        self.capture.path.registry = self.registry_of(now_known, version)
        return {**changes, "version": version}

    def _taken(self, wanted: Sequence[Touchpoint]) -> list[str]:
        """Say which identifiers belong to touchpoints that stay."""
        stays = self.capture.path.registry.touchpoints.keys() - {touchpoint.id for touchpoint in wanted}
        known = self.capture.path.registry.known
        return [
            f"{touchpoint.id}: {text} belongs to {known[identifier].touchpoint.id} already"
            for touchpoint in wanted
            for text in touchpoint.identifiers
            if (identifier := split(text, feedback=touchpoint.kind == "feedback")[0]) in known
            and known[identifier].touchpoint.id in stays
        ]
