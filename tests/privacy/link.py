"""The way down in small: what the uplink does with the centre's consent records and consent states, message by message.

The rules are those of the contract: signed by an issuer of ours, for this site, under its own id, not from the future,
a higher revision or, at the same one, a withdrawal; and a set that counts only while it comes to what the centre says.
"""

import sqlite3
from collections.abc import Callable

from gateway.core.downlink import ConsentRecord, ConsentState, digest, unix_ms
from gateway.core.jws import SignatureError, Use
from gateway.core.sighting import ClockQuality, Moment
from gateway.store.database import transaction
from tests.simulators.centre_keys import CENTRE

TOLERATED_MS = 300_000
_PUT = """INSERT OR REPLACE INTO consent (record_id, position, revision, state, since_ms, expires_ms, record)
          VALUES (?, (SELECT coalesce(max(position), 0) + 1 FROM consent), ?, ?, ?, ?, ?)"""


class Link:
    """Takes what comes down; `seen` are the ids since the last `reconnect`."""

    def __init__(self, database: Callable[[], sqlite3.Connection], now: Callable[[], Moment]) -> None:
        self._database = database
        self._now = now
        self._seen: set[str] | None = set()

    def reconnect(self) -> None:
        """Begin a snapshot: everything that is retained comes again."""
        self._seen = set()

    def take(self, topic_id: str, signed: str) -> None:
        """Take a consent record."""
        record = self._believed(signed, topic_id)
        if record is None:
            return
        if self._seen is not None:
            self._seen.add(record.record_id)
        with transaction(self._database()) as database:
            row = database.execute("SELECT revision, state FROM consent WHERE record_id = ?", (topic_id,)).fetchone()
            if row is None or (record.revision, record.state == "withdrawn") > (row[0], row[1] == "withdrawn"):
                times = (record.since_ms, record.expires_ms)
                database.execute(_PUT, (topic_id, record.revision, record.state, *times, signed))
                database.execute("DELETE FROM consent_handle WHERE record_id = ?", (topic_id,))
                rows = [(handle, topic_id) for handle in record.handles]
                database.executemany("INSERT INTO consent_handle (handle, record_id) VALUES (?, ?)", rows)

    def _believed(self, signed: str, topic_id: str) -> ConsentRecord | None:
        now = self._now()
        try:
            payload = CENTRE.believed(Use.CONSENT).verify(signed, Use.CONSENT)[1]
        except SignatureError:
            return None
        record = ConsentRecord.model_validate_json(payload)
        ours = (record.tenant, record.site, record.record_id, record.source) == ("acme", "zrh-1", topic_id, "central")
        timely = record.since_ms <= now.wall_ms + TOLERATED_MS and now.quality is not ClockQuality.UNSYNCED
        return record if ours and timely else None

    def take_state(self, signed: str) -> None:
        """Take the word on the whole set."""
        now = self._now()
        try:
            payload = CENTRE.believed(Use.CONSENT).verify(signed, Use.CONSENT)[1]
        except SignatureError:
            return
        state = ConsentState.model_validate_json(payload)
        if (state.tenant, state.site) != ("acme", "zrh-1") or unix_ms(state.at) > now.wall_ms + TOLERATED_MS:
            return
        with transaction(self._database()) as database:
            stored = database.execute("SELECT revision, at_ms FROM consent_set").fetchone() or (0, 0)
            if (state.revision, unix_ms(state.at)) >= stored:
                self._confirm(database, state, signed)

    def _confirm(self, database: sqlite3.Connection, state: ConsentState, signed: str) -> None:
        rows = database.execute("SELECT record_id, revision, state FROM consent ORDER BY record_id").fetchall()
        counted = [row for row in rows if self._seen is None or row[0] in self._seen]
        matches = (len(counted), digest(counted)) == (state.count, state.digest)
        if matches and self._seen is not None:
            gone = [(row[0],) for row in rows if row[0] not in self._seen]
            for table in ("consent", "consent_handle"):
                database.executemany(f"DELETE FROM {table} WHERE record_id = ?", gone)  # noqa: S608  # two names
            self._seen = None
        database.execute("DELETE FROM consent_set")
        word = (state.revision, state.count, state.digest, unix_ms(state.at), int(matches), signed)
        database.execute("INSERT INTO consent_set VALUES (?, ?, ?, ?, ?, ?)", word)
