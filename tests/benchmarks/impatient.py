"""The uplink half as it is, but for its patience: a month's tries to connect follow each other within minutes.

    python -m tests.benchmarks.impatient FILE uplink --config CONFIGURATION

Each try adds an octet to the file.
"""

import sys
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from gateway.__main__ import main
from gateway.uplink import connect as uplink
from gateway.uplink.mqtt import Broker, Connection, Message, connect

SECONDS = 0.001


def impatient(tries: Path) -> None:
    """Count the tries, and wait no time between them."""
    real, counting = connect, tries.open("ab", buffering=0)

    def counted(broker: Broker, will: Message) -> AbstractAsyncContextManager[Connection]:
        counting.write(b".")
        return real(broker, will)

    uplink.connect = counted  # type: ignore[attr-defined,assignment]
    uplink.BACKOFF_SECONDS = uplink.BACKOFF_SECONDS_MAX = SECONDS


if __name__ == "__main__":
    impatient(Path(sys.argv.pop(1)))
    main()
