"""The hands of the test in the guest: a radio, a scanner and a tag reader that it plugs in, and commands that it types.

The host writes a line of JSON to a virtio port, `{"do": "place", ...}`, and gets one back, `{"ok": ...}`, in order.
"""

import asyncio
import json
import os
import shutil
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from itertools import cycle
from pathlib import Path
from typing import Any

from bumble import hci
from bumble.controller import Controller
from bumble.transport import open_transport
from evdev import InputDevice, UInput, ecodes

from tests.simulators.nfc_field import Ntag21x
from tests.simulators.pn532 import Pn532
from tests.simulators.wedge import ENDINGS, chords, pressed

PORT = Path("/dev/virtio-ports/hands")
READER = Path("/run/hands/pn532")
SCANNER = "Simulated scanner"
KEYS = range(1, 128)
GAP_SECONDS = 0.002
"""Between the keys of a scanner: some five hundred a second."""


class Radio(Controller):  # type: ignore[misc]  # bumble's classes say Any
    """A Bluetooth controller behind /dev/vhci, which hears what it is told."""

    @classmethod
    async def plugged(cls) -> "Radio":
        """Plug it in; the kernel numbers it."""
        radio = cls("simulated", public_address="00:1A:7D:DA:71:01")
        radio.transport = await open_transport("vhci:")
        radio.transport.source.set_packet_sink(radio)
        radio.host = radio.transport.sink
        return radio

    async def unplug(self) -> None:
        """Take it out: the kernel sees /dev/vhci closed."""
        await self.transport.close()

    def hear(self, address: str, data: bytes, rssi: int) -> bool:
        """Report an advertisement, if the host scans (Bluetooth Core 5.4, vol. 4, part E, 7.7.65.2 and 7.7.65.13)."""
        if not self.le_scan_enable:
            return False
        who = hci.Address(address, hci.Address.RANDOM_DEVICE_ADDRESS)
        if self.le_features & hci.LeFeatureMask.LE_EXTENDED_ADVERTISING:
            report = hci.HCI_LE_Extended_Advertising_Report_Event.Report(
                event_type=0x10,
                address_type=who.address_type,
                address=who,
                primary_phy=1,
                secondary_phy=0,
                advertising_sid=0xFF,
                tx_power=127,
                rssi=rssi,
                periodic_advertising_interval=0,
                direct_address_type=0,
                direct_address=hci.Address.ANY,
                data=data,
            )
            self.send_hci_packet(hci.HCI_LE_Extended_Advertising_Report_Event([report]))
        else:
            report = hci.HCI_LE_Advertising_Report_Event.Report(
                event_type=3, address_type=who.address_type, address=who, data=data, rssi=rssi
            )
            self.send_hci_packet(hci.HCI_LE_Advertising_Report_Event([report]))
        return True


class Hands:
    """What may be asked for, by name."""

    def __init__(self) -> None:
        self._radio: Radio | None = None
        self._sending: dict[str, asyncio.Task[None]] = {}
        self._scanner: UInput | None = None
        READER.parent.mkdir(parents=True, exist_ok=True)
        READER.parent.chmod(0o755)
        self._reader = Pn532(READER)

    def known(self) -> dict[str, Callable[..., Awaitable[object]]]:
        """Return what may be asked for."""
        return {
            name: getattr(self, name)
            for name in (
                "run", "plug_radio", "unplug_radio", "beacon", "silence", "plug_scanner", "unplug_scanner", "type",
                "stolen", "plug_reader", "unplug_reader", "place", "remove",
            )
        }  # fmt: skip

    async def run(self, command: str, seconds: float = 60) -> dict[str, object]:
        """Type a command at a shell."""
        process = await asyncio.create_subprocess_shell(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        try:
            async with asyncio.timeout(seconds):
                said, _ = await process.communicate()
        except TimeoutError:
            process.kill()
            return {"status": -1, "said": f"did not end within {seconds:g} s"}
        return {"status": process.returncode, "said": said.decode(errors="replace")}

    async def plug_radio(self) -> None:
        """Plug the adapter in."""
        self._radio = await Radio.plugged()

    async def unplug_radio(self) -> None:
        """Take the adapter out."""
        radio, self._radio = self._radio, None
        if radio is not None:
            await radio.unplug()

    async def beacon(self, address: str, data: list[str], rssi: int, seconds: float) -> None:
        """Let a beacon advertise every so many seconds from now on, its frames by turns."""
        await self.silence(address)
        frames = cycle([bytes.fromhex(each) for each in data])
        self._sending[address] = asyncio.create_task(  # noqa: TID251 -- it ends with the machine
            self._advertise(address, frames, rssi, seconds)
        )

    async def silence(self, address: str) -> None:
        """Let a beacon be gone."""
        if (sending := self._sending.pop(address, None)) is not None:
            sending.cancel()

    async def _advertise(self, address: str, data: Iterator[bytes], rssi: int, seconds: float) -> None:
        while True:
            if self._radio is not None:
                with suppress(OSError):  # the adapter is being taken out
                    self._radio.hear(address, next(data), rssi)
            await asyncio.sleep(seconds)

    async def plug_scanner(self) -> None:
        """Plug in a scanner that types."""
        self._scanner = UInput({ecodes.EV_KEY: list(KEYS)}, name=SCANNER, vendor=0x05E0, product=0x1200)

    async def unplug_scanner(self) -> None:
        """Take it out."""
        if self._scanner is not None:
            self._scanner.close()
        self._scanner = None

    async def type(self, text: str) -> None:
        """Scan a code: Enter follows it."""
        assert self._scanner is not None, "no scanner is plugged in"
        for key, value in pressed((*chords(text), ENDINGS["\r"])):
            self._scanner.write(ecodes.EV_KEY, key, value)
            self._scanner.syn()
            await asyncio.sleep(GAP_SECONDS)

    async def stolen(self, text: str) -> int:
        """Scan a code; return how many events another reader of the same keyboard gets: none while it is grabbed."""
        assert self._scanner is not None, "no scanner is plugged in"
        other = InputDevice(self._scanner.device.path)
        await self.type(text)
        await asyncio.sleep(0.5)
        try:
            return sum(1 for _ in other.read())
        except BlockingIOError:
            return 0
        finally:
            other.close()

    async def plug_reader(self) -> None:
        """Plug in a PN532 on a serial port, which belongs to the capture half (systemd/touchpoint.udev.rules)."""
        self._reader.plug()
        port = Path(os.path.realpath(READER))  # noqa: ASYNC240 -- no disk is asked
        shutil.chown(port, user="touchpoint-capture")
        port.chmod(0o660)  # noqa: ASYNC240

    async def unplug_reader(self) -> None:
        """Take it out."""
        self._reader.unplug()

    async def place(self, uid: str, message: str) -> None:
        """Lay an NTAG213 on the reader."""
        self._reader.place(Ntag21x(213, bytes.fromhex(uid), bytes.fromhex(message)))

    async def remove(self) -> None:
        """Take the tag away."""
        self._reader.remove()


async def answer(known: dict[str, Callable[..., Awaitable[object]]], line: str) -> dict[str, Any]:
    """Do what a line asks for."""
    asked = json.loads(line)
    try:
        return {"ok": await known[asked.pop("do")](**asked)}
    except Exception as error:  # noqa: BLE001  # the host is told, whatever it is
        return {"error": f"{type(error).__name__}: {error}"}


async def main() -> None:
    """Serve the host until the machine is switched off."""
    known = Hands().known()
    loop = asyncio.get_running_loop()
    with PORT.open("r+b", buffering=0) as port:  # noqa: ASYNC230 -- once
        port.write(b'{"ok": "ready"}\n')
        while line := await loop.run_in_executor(None, port.readline):
            said = json.dumps(await answer(known, line.decode())).encode() + b"\n"
            while said:  # a port takes a few pages at a time
                said = said[await loop.run_in_executor(None, port.write, said) or 0 :]


if __name__ == "__main__":
    asyncio.run(main())
