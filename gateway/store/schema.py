"""What the two files hold, and how older ones are brought up to date.

A change of schema is one more function in a list. sqlite-utils records each with its changes in one transaction; it
is imported only when there is something to do, since a gateway starts far more often than its schema changes.
"""

import sqlite3
from collections.abc import Sequence
from typing import TYPE_CHECKING

from gateway.store.database import Schema

if TYPE_CHECKING:
    from sqlite_utils import Database


def _capture_1(database: "Database") -> None:
    """Create the outbox, the in-store consents, the registry and the tallies."""
    database.conn.execute("CREATE TABLE session (id TEXT NOT NULL, opened_ms INTEGER NOT NULL)")
    database.conn.execute(
        """CREATE TABLE outbox (
             sequence  INTEGER PRIMARY KEY AUTOINCREMENT,
             retention INTEGER NOT NULL,            -- evicted in this order: health, presence, interaction, control
             fate      INTEGER NOT NULL DEFAULT 0,  -- 0 waits as it was; 1 withdrawn, 2 evicted: now a gap
             through   INTEGER,                     -- of a gap, the last sequence that it stands for
             handle    TEXT,                        -- under which consent is looked up again before it is sent
             purpose   TEXT,
             boot      TEXT NOT NULL,
             boot_ns   INTEGER NOT NULL,
             wall_ms   INTEGER NOT NULL,
             quality   TEXT NOT NULL,
             event     TEXT NOT NULL                -- the CloudEvent, exactly as it is sent
           ) STRICT"""
    )
    database.conn.execute("CREATE INDEX outbox_handle ON outbox (handle) WHERE handle IS NOT NULL")
    database.conn.execute("CREATE INDEX outbox_fate ON outbox (sequence) WHERE fate <> 0")
    database.table("tally").create({"name": str, "count": int}, pk="name", not_null={"count"}, strict=True)
    database.table("consent").create(
        {"record_id": str, "revision": int, "state": str, "since_ms": int, "expires_ms": int, "record": str},
        pk="record_id",
        not_null={"revision", "state", "since_ms", "record"},
        strict=True,
    )
    database.table("consent_handle").create({"handle": str, "record_id": str}, pk=("handle", "record_id"), strict=True)
    database.table("touchpoint").create(
        {"id": str, "position": int, "version": int, "definition": str},
        pk="id",
        not_null={"position", "version", "definition"},
        strict=True,
    )


def _capture_2(database: "Database") -> None:
    """Tell a damaged event from a whole one; find those that were stamped before the clock was synced."""
    database.conn.execute("ALTER TABLE outbox ADD COLUMN crc INTEGER")
    database.conn.execute("CREATE INDEX outbox_unsynced ON outbox (boot) WHERE quality = 'unsynced'")


def _capture_3(database: "Database") -> None:
    """Sign consents; keep what is applied of the centre's word, whence each touchpoint is, and the audit log."""
    _count_changes_of_consents(database, "consent")
    database.table("mark").create({"name": str, "value": str}, pk="name", not_null={"value"}, strict=True)
    database.conn.execute("ALTER TABLE touchpoint ADD COLUMN revision INTEGER NOT NULL DEFAULT 0")
    database.conn.execute("ALTER TABLE touchpoint ADD COLUMN origin TEXT NOT NULL DEFAULT 'store'")
    database.conn.execute(
        """CREATE TABLE audit (
             number INTEGER PRIMARY KEY AUTOINCREMENT,
             at_ms  INTEGER NOT NULL,
             who    TEXT NOT NULL,                  -- the user that asked, the issuer of a command, or the gateway
             what   TEXT NOT NULL,
             detail TEXT NOT NULL,                  -- JSON, without identities
             hash   TEXT NOT NULL                   -- SHA-256 over the hash before and this entry
           ) STRICT"""
    )


def _capture_4(database: "Database") -> None:
    """Keep the counters of SUN tags."""
    database.table("sun_counter").create({"tag": str, "counter": int}, pk="tag", not_null={"counter"}, strict=True)


def _capture_5(database: "Database") -> None:
    """Count the use of each touchpoint by day."""
    database.conn.execute(
        """CREATE TABLE usage (
             touchpoint TEXT NOT NULL,
             day        TEXT NOT NULL,              -- in the store, as 2026-11-21; '' until the clock is set
             touch      TEXT NOT NULL,              -- tap, scan or response
             count      INTEGER NOT NULL,
             PRIMARY KEY (touchpoint, day, touch)
           ) STRICT, WITHOUT ROWID"""
    )


def _count_changes_of_consents(database: "Database", *tables: str) -> None:
    """Let a number rise with every change, so that readers know when to forget what they remember."""
    database.conn.execute("CREATE TABLE generation (number INTEGER NOT NULL) STRICT")
    database.conn.execute("INSERT INTO generation VALUES (1)")
    for table in tables:
        for change in ("INSERT", "UPDATE", "DELETE"):
            name = f"{table}_{change.lower()}"
            database.conn.execute(
                f"CREATE TRIGGER {name} AFTER {change} ON {table} BEGIN UPDATE generation SET number = number + 1; END"  # noqa: S608  # no input
            )


def _uplink_1(database: "Database") -> None:
    """Create the record of how far each session was sent, and what the uplink has to report."""
    database.table("progress").create(
        {"session": str, "published": int, "delivered": int},
        pk="session",
        not_null={"published", "delivered"},
        strict=True,
    )
    database.table("refused").create(
        {"session": str, "sequence": int, "reason": str},
        pk=("session", "sequence"),
        not_null={"reason"},
        strict=True,
    )
    database.table("health").create(
        {"component": str, "ok": int, "reason": str, "since_ms": int},
        pk="component",
        not_null={"ok", "since_ms"},
        strict=True,
    )


def _uplink_2(database: "Database") -> None:
    """Know how far at most was published, though a power cut takes back what was recorded without a sync."""
    database.conn.execute("ALTER TABLE progress ADD COLUMN reserved INTEGER NOT NULL DEFAULT 0")
    database.conn.execute("ALTER TABLE progress ADD COLUMN boot TEXT NOT NULL DEFAULT ''")


def _uplink_3(database: "Database") -> None:
    """Keep what the centre says: consents, touchpoints, commands, cues."""
    database.conn.execute(
        """CREATE TABLE consent (
             record_id  TEXT PRIMARY KEY,
             position   INTEGER NOT NULL UNIQUE,    -- rises with every change of any record
             revision   INTEGER NOT NULL,
             state      TEXT NOT NULL,
             since_ms   INTEGER NOT NULL,
             expires_ms INTEGER,
             record     TEXT NOT NULL               -- as the centre signed it
           ) STRICT"""
    )
    database.table("consent_handle").create({"handle": str, "record_id": str}, pk=("handle", "record_id"), strict=True)
    database.conn.execute("CREATE INDEX consent_handle_record ON consent_handle (record_id)")
    database.conn.execute(
        """CREATE TABLE consent_set (
             revision  INTEGER NOT NULL,
             count     INTEGER NOT NULL,
             digest    TEXT NOT NULL,
             at_ms     INTEGER NOT NULL,
             confirmed INTEGER NOT NULL,            -- whether the records here come to it
             record    TEXT NOT NULL                -- as the centre signed it
           ) STRICT"""
    )
    _count_changes_of_consents(database, "consent", "consent_set")
    database.conn.execute("CREATE TABLE removed (number INTEGER NOT NULL) STRICT")  # consents that the centre dropped
    database.conn.execute("INSERT INTO removed VALUES (0)")
    database.conn.execute(
        "CREATE TRIGGER consent_removed AFTER DELETE ON consent BEGIN UPDATE removed SET number = number + 1; END"
    )
    database.table("touchpoint").create(
        {"id": str, "position": int, "revision": int, "definition": str},  # definition null: the centre removed it
        pk="id",
        not_null={"position", "revision"},
        strict=True,
    )
    database.conn.execute(
        """CREATE TABLE command (
             position INTEGER PRIMARY KEY AUTOINCREMENT,
             id       TEXT NOT NULL,
             command  TEXT NOT NULL,
             jws      TEXT,                         -- for capture to carry out, as the centre signed it
             status   TEXT,                         -- what became of it here: done, refused, failed
             reason   TEXT
           ) STRICT"""
    )
    database.table("cue").create(
        {"touchpoint": str, "id": str, "expires_ms": int, "jws": str},
        pk="touchpoint",
        not_null={"id", "expires_ms", "jws"},
        strict=True,
    )
    database.table("mark").create({"name": str, "value": str}, pk="name", not_null={"value"}, strict=True)
    database.conn.execute(
        "INSERT INTO mark (name, value) VALUES ('file', lower(hex(randomblob(16))))"
    )  # which one it is
    database.table("tally").create({"name": str, "count": int}, pk="name", not_null={"count"}, strict=True)


def _migrate(connection: sqlite3.Connection, name: str, steps: Sequence[object]) -> None:
    from sqlite_utils import Database, Migrations  # noqa: PLC0415  # a quarter of the start-up time, rarely needed

    migrations = Migrations(name)
    for step in steps:
        migrations()(step)  # type: ignore[type-var]  # plain functions of a Database
    migrations.apply(Database(connection))


def _inventory_1(database: "Database") -> None:
    """Create the inventory of tags that were written here."""
    database.table("tag").create(
        {"tag": str, "touchpoint": str, "answer": str, "link": str, "chip": str, "state": str, "at_ms": int},
        pk="tag",
        not_null={"touchpoint", "link", "chip", "state", "at_ms"},
        strict=True,
    )


CAPTURE_STEPS = (_capture_1, _capture_2, _capture_3, _capture_4, _capture_5)
UPLINK_STEPS = (_uplink_1, _uplink_2, _uplink_3)
INVENTORY_STEPS = (_inventory_1,)

CAPTURE = Schema("capture.db", len(CAPTURE_STEPS), lambda connection: _migrate(connection, "capture", CAPTURE_STEPS))
UPLINK = Schema("uplink.db", len(UPLINK_STEPS), lambda connection: _migrate(connection, "uplink", UPLINK_STEPS))
INVENTORY = Schema(
    "inventory.db",
    len(INVENTORY_STEPS),
    lambda connection: _migrate(connection, "inventory", INVENTORY_STEPS),
)
