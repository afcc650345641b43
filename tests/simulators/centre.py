"""A trust centre: it writes and signs what comes down, and knows what the whole consent set comes to.

centre = Centre(Topics("acme", "zrh-1", "gw-1"))
centre.grant("r1", handle, at_ms=now_ms)
for message in centre.retained(now_ms): ...    # what a gateway that subscribes now must be given
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from gateway.core.contract import Topics
from gateway.core.downlink import ConsentRecord, ConsentState, digest
from gateway.core.jws import Signer
from gateway.core.purpose import IRI
from gateway.uplink.mqtt import Message
from tests.simulators.centre_keys import CENTRE

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def instant(unix_ms: int) -> datetime:
    """Return a time as the models hold it."""
    return EPOCH + timedelta(milliseconds=unix_ms)


def text(unix_ms: int) -> str:
    """Return a time as JSON holds it (RFC 3339)."""
    return instant(unix_ms).isoformat().replace("+00:00", "Z")


@dataclass
class Centre:
    """The consents of one site, and whoever signs them."""

    topics: Topics
    signer: Signer = CENTRE
    records: dict[str, ConsentRecord] = field(default_factory=dict)
    revision: int = 0
    _counter: int = 0

    def grant(self, record_id: str, *handles: str, at_ms: int, revision: int = 1, **changes: Any) -> Message:  # noqa: ANN401  # of a record
        """Record a consent, and return its message."""
        return self.put(
            ConsentRecord(
                record_id=record_id,
                handles=handles,
                controller="Acme SA",
                purposes=(IRI["personalisation"],),
                legal_basis="consent",
                granted_at=instant(at_ms),
                notice_version="2026-03",
                language="en",
                jurisdiction="CH",
                source="central",
                state="given",
                revision=revision,
                issuer_kid=self.signer.kid,
                tenant=self.topics.tenant,
                site=self.topics.site,
            ).model_copy(update=changes)
        )

    def withdraw(self, record_id: str, at_ms: int) -> Message:
        """Withdraw a consent, and return the message of its tombstone."""
        given = self.records[record_id]
        changes = {"state": "withdrawn", "withdrawn_at": instant(at_ms), "revision": given.revision + 1}
        return self.put(given.model_copy(update=changes))

    def put(self, record: ConsentRecord) -> Message:
        """Keep a record, and return its message."""
        self.records[record.record_id] = record
        self.revision += 1
        return self.message(record)

    def drop(self, record_id: str) -> None:
        """Forget a record: it is no longer in the set."""
        del self.records[record_id]
        self.revision += 1

    def message(self, record: ConsentRecord) -> Message:
        """Return the message of a record."""
        topic = f"{self.topics.consent_filter[:-1]}{record.record_id}"
        return Message(topic, self.signer.sign(record.model_dump_json().encode()).encode(), retain=True)

    def state(self, at_ms: int, **changes: Any) -> Message:  # noqa: ANN401  # of a state
        """Return the message that says what the set comes to."""
        ordered = sorted(self.records.values(), key=lambda record: record.record_id.encode())
        state = ConsentState(
            tenant=self.topics.tenant,
            site=self.topics.site,
            revision=self.revision,
            count=len(ordered),
            digest=digest((record.record_id, record.revision, record.state) for record in ordered),
            at=instant(at_ms),
        ).model_copy(update=changes)
        signed = self.signer.sign(state.model_dump_json().encode())
        return Message(self.topics.consent_state, signed.encode(), retain=True)

    def retained(self, at_ms: int) -> Iterator[Message]:
        """Yield all that a gateway that subscribes now must be given."""
        yield from map(self.message, self.records.values())
        yield self.state(at_ms)

    def command(self, command: str, at_ms: int, **parts: Any) -> Message:  # noqa: ANN401  # of a command
        """Return a command of the next counter, which lives for a minute."""
        self._counter += 1
        order = {
            "id": f"order-{self._counter}",
            "gateway": self.topics.gateway,
            "counter": self._counter,
            "issued": text(at_ms),
            "expires": text(at_ms + 60_000),
            "command": command,
        } | parts
        return Message(self.topics.command, self.signer.sign(json.dumps(order).encode()).encode())


def confirmation(at_ms: int, revision: int, signer: Signer = CENTRE) -> str:
    """Sign what the set comes to, for tests in which only when that was said matters."""
    state = ConsentState(tenant="acme", site="zrh-1", revision=revision, count=0, digest=digest([]), at=instant(at_ms))
    return signer.sign(state.model_dump_json().encode())
