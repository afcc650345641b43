"""What staff may ask of the capture half: its state, consent at the counter, the registry.

The CLI asks over the control socket while the daemon runs, and builds a desk of its own on the same files when it does
not (`gateway.daemon.ask_desk`): the same code answers either way.
"""

import asyncio
import contextlib
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from gateway.capture import Capture
from gateway.config import ConsentSettings, Settings
from gateway.control import Answer, Handler, RequestError, Tell
from gateway.core import decode
from gateway.core.consent import VALID, ConsentState
from gateway.core.downlink import ConsentRecord
from gateway.core.jws import SignatureError, Use
from gateway.core.registry import Bearer, Registry, Touchpoint
from gateway.core.sighting import Advertisement, Identifier, Scan, Sighting, Tag
from gateway.store import ledger, touchpoints
from gateway.store.outbox import Outbox
from gateway.store.registry_csv import RegistryErrors, parse

DAY_MS = int(timedelta(days=1) / timedelta(milliseconds=1))
PRESENT_SECONDS = 60.0


@dataclass(slots=True)
class Desk:
    """Answers requests with the capture half's own store, keys and readers."""

    capture: Capture
    settings: Settings
    registry_of: Callable[[Sequence[Touchpoint], int], Registry]

    def handlers(self) -> Mapping[str, Handler]:
        """Return what may be asked, by name."""
        return {
            "status": self.status,
            "registry-import": self.registry_import,
            "consent-grant": self.consent_grant,
            "consent-withdraw": self.consent_withdraw,
            "consent-show": self.consent_show,
        }

    async def status(self, request: Mapping[str, Any], tell: Tell) -> Answer:
        """Tell how the readers fare and what was counted since the start; the durable counters are up to date then."""
        del request, tell
        await self.capture.save()
        return {
            "readers": {
                name: {"up": status.up, "reason": status.reason} for name, status in self.capture.readers.items()
            },
            "counts": dict(self.capture.counts),
            "clock": str(self.capture.clock.now().quality),
            "key": self.capture.path.subjects.epoch(self.capture.clock.now()) is not None,
        }

    async def registry_import(self, request: Mapping[str, Any], tell: Tell) -> Answer:
        """Replace the registry by a CSV text: all of it, or nothing if any line is wrong."""
        del tell
        try:
            wanted = parse(str(request["csv"]))
        except RegistryErrors as errors:
            raise RequestError(str(errors)) from None
        changes = await self.capture.writer.commit(lambda outbox: touchpoints.replace(outbox.connection, wanted))
        version, now_known = await self.capture.writer.commit(lambda outbox: touchpoints.load(outbox.connection))
        self.capture.path.registry = self.registry_of(now_known, version)
        return {**changes, "version": version}

    async def consent_grant(self, request: Mapping[str, Any], tell: Tell) -> Answer:
        """Record consent for whoever presents a token."""
        handle = await self._handle(request, tell)
        now_ms, consent = self.capture.clock.now().wall_ms, self.settings.consent
        purposes = tuple(request.get("purposes") or sorted(set(consent.purposes.values())))
        expires_ms = now_ms + int(request.get("days") or consent.days) * DAY_MS

        def job(outbox: Outbox) -> ConsentRecord:
            before = _valid(self._records(outbox, handle), purposes)
            record = self._granted(before, handle, purposes, now_ms, expires_ms, request)
            self._put(outbox, record)
            return record

        return _shown(await self.capture.writer.commit(job))

    def _granted(  # the parts of one record
        self,
        before: ConsentRecord | None,
        handle: str,
        purposes: tuple[str, ...],
        now_ms: int,
        expires_ms: int,
        request: Mapping[str, Any],
    ) -> ConsentRecord:
        """Make a new record, or the next revision of the one that the subject renews."""
        consent: ConsentSettings = self.settings.consent
        gateway = self.settings.gateway
        return ConsentRecord(
            record_id=before.record_id if before else uuid.uuid4().hex,
            handles=before.handles if before else (handle,),
            controller=consent.controller or gateway.tenant,
            purposes=purposes,
            legal_basis="consent",
            granted_at=_instant(now_ms),
            expires_at=_instant(expires_ms),
            notice_version=request.get("notice") or consent.notice,
            language=request.get("language") or consent.language,
            jurisdiction=consent.jurisdiction,
            source="store",
            state="renewed" if before else "given",
            revision=before.revision + 1 if before else 1,
            issuer_kid=self.capture.signer.kid,
            tenant=gateway.tenant,
            site=gateway.site,
        )

    async def consent_withdraw(self, request: Mapping[str, Any], tell: Tell) -> Answer:
        """Withdraw the consent of whoever presents a token: it holds for the very next sighting."""
        handle = await self._handle(request, tell)
        now_ms = self.capture.clock.now().wall_ms

        def tombstones(outbox: Outbox) -> list[ConsentRecord]:
            records = [r for r in self._records(outbox, handle) if ConsentState(r.state) in VALID]
            gone = [_withdrawn(record, now_ms) for record in records]
            for record in gone:
                self._put(outbox, record)
            return gone

        gone = await self.capture.writer.commit(tombstones)
        possibly_sent = await self.capture.withdraw({handle, *(each for record in gone for each in record.handles)})
        return {"withdrawn": len(gone), "possibly_sent": len(possibly_sent)}

    async def consent_show(self, request: Mapping[str, Any], tell: Tell) -> Answer:
        """Show what is recorded for whoever presents a token."""
        handle = await self._handle(request, tell)
        records = await self.capture.writer.commit(lambda outbox: self._records(outbox, handle))
        return {"records": [_shown(record) for record in records]}

    def _records(self, outbox: Outbox, handle: str) -> list[ConsentRecord]:
        """Return what was said in this store about a handle, oldest first; what we did not sign counts for nothing."""
        own, known = self.capture.signer.believed(Use.CONSENT), []
        for signed in ledger.signed_records(outbox.connection, handle):
            with contextlib.suppress(SignatureError):
                known.append(ConsentRecord.model_validate_json(own.verify(signed, Use.CONSENT)[1]))
        return known

    def _put(self, outbox: Outbox, record: ConsentRecord) -> None:
        ledger.put(outbox.connection, record, self.capture.signer.sign(record.model_dump_json().encode()))

    async def _handle(self, request: Mapping[str, Any], tell: Tell) -> str:
        """Wait for a customer's token and return its handle; the token itself goes no further."""
        candidates = await self._presented(request, tell)
        for identifier in candidates:
            if isinstance(self.capture.path.registry.lookup(identifier), Bearer):
                return self._keyed(identifier)
        raise RequestError("that is not a customer's token: no [[bearer]] of the configuration covers it")

    def _keyed(self, token: Identifier) -> str:
        handle = self.capture.path.subjects.handle(token)
        if handle is None:
            raise RequestError(
                "this gateway has no key ring, so consent cannot be recorded; see touchpoint keys --help"
            )
        return handle

    async def _presented(self, request: Mapping[str, Any], tell: Tell) -> tuple[Identifier, ...]:
        if (text := request.get("token")) is not None:
            return _typed(str(text))
        reader = self._reader(request.get("reader"))
        await tell({"present": reader})
        try:
            async with asyncio.timeout(float(request.get("seconds") or PRESENT_SECONDS)):
                return _candidates(await self.capture.borrow(reader))
        except TimeoutError:
            raise RequestError(f"nothing was presented at {reader}; start the command again") from None

    def _reader(self, name: str | None) -> str:
        """Choose the reader at which the token is presented: the one that was named, or the only one there is."""
        counters = [reader.name for reader in self.capture.path.readers.values() if reader.channel != "ble"]
        if name is not None and name not in counters:
            raise RequestError(f"no reader {name}; a token can be presented at: {', '.join(counters) or 'none'}")
        if name is None and len(counters) != 1:
            raise RequestError(f"say at which reader, with --reader: {', '.join(counters) or 'none is configured'}")
        chosen = name or counters[0]
        status = self.capture.readers.get(chosen)
        if status is None or not status.up:
            raise RequestError(
                f"reader {chosen} is not working: {status.reason if status else 'the daemon is not running'}"
            )
        return chosen


def _candidates(sighting: Sighting) -> tuple[Identifier, ...]:
    match sighting.payload:
        case Tag() as tag:
            return decode.tag(tag)
        case Scan() as scan:
            return decode.scan(scan)
        case Advertisement():
            return ()


def _typed(text: str) -> tuple[Identifier, ...]:
    """Read a token given as text: what a scanner would read, or `kind:value`."""
    kind, _, value = text.strip().partition(":")
    return (*decode.scan(Scan(text.strip())), Identifier(kind, value))


def _valid(records: Sequence[ConsentRecord], purposes: tuple[str, ...]) -> ConsentRecord | None:
    """Return the record that a new grant for the same purposes renews."""
    valid = [r for r in records if ConsentState(r.state) in VALID and set(r.purposes) == set(purposes)]
    return valid[-1] if valid else None


def _withdrawn(record: ConsentRecord, now_ms: int) -> ConsentRecord:
    return record.model_copy(
        update={"state": "withdrawn", "withdrawn_at": _instant(now_ms), "revision": record.revision + 1}
    )


def _instant(unix_ms: int) -> datetime:
    return datetime.fromtimestamp(unix_ms / 1000, UTC)


def _shown(record: ConsentRecord) -> Answer:
    """Return what a person may see of a record: not the handles."""
    return record.model_dump(mode="json", exclude={"handles", "tenant", "site", "issuer_kid"})
