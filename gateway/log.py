"""One logger for the whole gateway, to standard error: journald adds the time and the unit.

What is logged are our own words, names from the configuration and numbers; never what a device read. Libraries stay
at WARNING, since some of them print payloads below that.
"""

import logging
import sys

log = logging.getLogger("touchpoint")


def to_stderr(level: str = "INFO") -> None:
    """Send our log to standard error, and of the libraries only warnings."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(name)s: %(message)s", force=True)
    log.setLevel(level)
