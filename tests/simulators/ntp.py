"""A time server that says what this machine's clock says: as much of RFC 5905 as an SNTP client asks for."""

import asyncio
import struct
import time
from contextlib import suppress

HOST, PORT = "127.0.0.1", 123
PACKET = struct.Struct("!BBbbIII8s8s8s8s")
"""RFC 5905, section 7.3, figure 8, without extensions."""
SINCE_1900 = 2_208_988_800
"""Seconds from the epoch of NTP to that of Unix."""
VERSION_4_SERVER = 4 << 3 | 4


class TimeServer(asyncio.DatagramProtocol):
    """Answers on the loopback interface while it is started; needs root, for clients know no port but 123."""

    def __init__(self) -> None:
        self._transport: asyncio.DatagramTransport | None = None

    async def start(self) -> None:
        """Answer from now on. Raises OSError if somebody else has the port, or it is not ours to take."""
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=(HOST, PORT))

    def stop(self) -> None:
        """Fall silent."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.close()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Answer a client; whatever else comes is passed over."""
        with suppress(struct.error):
            reply = answer(data, time.time())  # noqa: TID251 -- it is the server
            if self._transport is not None:
                self._transport.sendto(reply, addr)


def answer(asked: bytes, now: float) -> bytes:
    """Return the answer to a client's request. Raises struct.error if it is none."""
    *_, sent = PACKET.unpack(asked[: PACKET.size])
    stamp = struct.pack("!II", int(now) + SINCE_1900, int(now % 1 * 2**32))
    return PACKET.pack(VERSION_4_SERVER, 1, 6, -20, 0, 0, int.from_bytes(b"LOCL"), stamp, sent, stamp, stamp)
