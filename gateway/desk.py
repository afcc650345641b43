"""What staff may ask of the capture half: its state, consent at the counter, the registry.

The CLI asks over the control socket while the daemon runs, and builds a desk of its own on the same files when it does
not (`gateway.daemon.ask_desk`): the same code answers either way.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from gateway.beacons import Beacons
from gateway.capture import Capture
from gateway.config import Settings
from gateway.consenting import Consenting
from gateway.control import Answer, Handler, Tell
from gateway.core.jws import Issuers
from gateway.core.registry import Registry, Touchpoint
from gateway.customers import Customers
from gateway.erasing import Erasing
from gateway.lending import Lending
from gateway.registering import Registering
from gateway.training import Training, seconds_left
from gateway.trying import Trying
from gateway.watching import Watching


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
        registering = Registering(self.capture, self.settings, self.registry_of)
        return {
            "status": self.status,
            **Consenting(customers).handlers(),
            **Erasing(customers).handlers(),
            **registering.handlers(),
            **Beacons(self.capture, registering).handlers(),
            **Lending(self.capture, self.settings).handlers(),
            **Training(self.capture).handlers(),
            **Trying(self.capture, self.settings).handlers(),
            **Watching(self.capture, self.settings).handlers(),
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
            "training": seconds_left(self.capture),
            "key": self.capture.path.subjects.epoch(self.capture.clock.now()) is not None,
            "last": [asdict(event) for event in self.capture.last],
            "health": self.capture.condition(),  # said here too, for a disk that takes no word of it
        }
