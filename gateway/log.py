"""One logger for the whole gateway, and one for what concerns its security.

What is logged are our own words, names from the configuration and numbers; never what a device read. Libraries stay
at WARNING, since some of them print payloads below that. Under systemd records go to journald with fields, else to
standard error as text.

What somebody may want to be told of has a `Message`: an id that stays the same whatever the words are, by which
journald finds it (`journalctl MESSAGE_ID=...`) and explains it (`journalctl -x`, `config/journald/touchpoint.catalog`).
"""

import logging
import os
import sys
from enum import StrEnum
from typing import Final

from gateway.journal import JournalHandler, Limited, RateLimit, is_journal

NAME: Final = "touchpoint"
log = logging.getLogger(NAME)
security = logging.getLogger(f"{NAME}.security")
"""What was forged, or asked by somebody who may not. SYSLOG_IDENTIFIER=touchpoint-security."""


class Message(StrEnum):
    """Ids of journal messages (sd_journal_print(3), MESSAGE_ID). One that was given once keeps its meaning."""

    STARTED = "3cd19a378503457290150b80da79ca5a"
    STOPPED = "cbde771f0ed44e53b99d0ebc45873bd0"
    HALF_ENDED = "af02117924ef401e82d9ab984f2b9f3f"
    WATCHDOG = "4a265636c57545d5a43a95598cb09335"
    READER_UP = "c7a1beff01a1400296dff8f799bc42d8"
    READER_DOWN = "32d4fa24cd554e27bfbda86dba3b2685"
    BROKER_UP = "dcec574f298f45d79f712120c0d7e676"
    BROKER_DOWN = "3e5485406ba141f580d29747db2aa80d"
    STORE_FAILED = "9e0241fd2b594755a056e0c370755226"
    STORE_SET_ASIDE = "b8491c497c724af78bd91fce47b251ba"
    KEYS_MISSING = "cd9841cf706a48d9a795d636c6d07f81"
    METRICS_UNREACHABLE = "d01637a4d9be4c1a949f8b3599bc2c9c"
    CENTRE_FORGED = "b075daff047447eeaf1962fe31ba7844"
    STORED_FORGED = "17322bfad85841e7be600bf1c013ac16"
    TAG_FORGED = "ad7bbac42a864f69af6aed41d83ccd49"
    LINK_FORGED = "a5305f197d52416fb84937ab78a23ab4"
    PEER_REFUSED = "3e2b081cedda49d9a630d533e246b8ee"
    CONSENT_FORGED = "d32151255b354726ac1af6caaa1be21b"
    AUDIT_BROKEN = "e199d780a7ee4d34affc319a57138447"


def told(message: Message, component: str) -> dict[str, str]:
    """Return the fields of a message of a component (`extra` of a logger's methods)."""
    return {"message_id": message.value, "component": component}


def begin(level: str = "INFO") -> None:
    """Send our log to journald or standard error, and of the libraries only warnings."""
    stream = is_journal(os.environ, sys.stderr.fileno())
    handler = JournalHandler(identifier) if stream else logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s" if stream else "%(name)s: %(message)s"))
    logging.basicConfig(handlers=[Limited(handler, RateLimit(NAME))], level=logging.WARNING, force=True)
    log.setLevel(level)


def identifier(record: logging.LogRecord) -> str:
    """Return the SYSLOG_IDENTIFIER of a record: `journalctl -t touchpoint-security` shows what concerns security."""
    if record.name == security.name:
        return "touchpoint-security"
    return NAME if record.name == NAME else record.name
