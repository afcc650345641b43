"""The simulated Pi, running: qemu with the disk of `image`, a broker's port on the host, and hands inside."""

import asyncio
import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from tests.vm.image import ROOT, filesystem, image

SHARED = ("gateway", "systemd", "tests/simulators", "tests/vm")
BOOT_SECONDS = 180
PACKAGES = "/mnt/share/packages"
SHARE_SIZE = "512M"
LONGEST = 1 << 24
"""Of an answer, in bytes: a journal."""
CONSOLE = "console=ttyS0 quiet loglevel=3 mitigations=off random.trust_cpu=on net.ifnames=0 root=/dev/vda rw"

UNHURRIED = ("-accel", "tcg,thread=multi,tb-size=512", "-smp", "2", "-nic", "user,model=virtio-net-pci")
HURRIED = ("-accel", "tcg,thread=single,tb-size=512", "-icount", "shift=1,sleep=off", "-nic", "none")


class GuestError(Exception):
    """The guest did not do what it was asked; the text is what it said."""


class Guest:
    """A machine whose disk is thrown away at the end. Its host is 10.0.2.2 to it. `rtc` is what its clock says at boot.

    `packages` are given along, in PACKAGES. Its disk is a file of the host: `cut` loses what the guest has not given to
    its disk yet, nothing more.
    """

    def __init__(self, directory: Path, packages: Sequence[Path] = (), rtc: str | None = None) -> None:
        self.directory = directory
        self.packages = packages
        self.rtc = rtc
        self.console = directory / "console.log"
        self.written = directory / "written.qcow2"
        """What it has written to its disk, block by block, deleted files included."""
        self._share = directory / "share.img"
        self._socket = directory / "hands.sock"

    async def __aenter__(self) -> Self:
        share = self.directory / "share"
        for name in SHARED:
            shutil.copytree(ROOT / name, share / name, ignore=shutil.ignore_patterns("__pycache__"))
        (share / "packages").mkdir()
        for package in self.packages:
            shutil.copy(package, share / "packages")
        await asyncio.to_thread(filesystem, share, self._share, SHARE_SIZE)
        self._made = await asyncio.to_thread(image)
        below = ("-F", "raw", "-b", str(self._made / "disk.img"))
        create = ("qemu-img", "create", "-q", "-f", "qcow2", *below, str(self.written))
        await (await asyncio.create_subprocess_exec(*create)).wait()
        await self.boot()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.cut()

    async def boot(self, *, hurried: bool = False) -> None:
        """Switch it on, and wait for its hands. `hurried`: no network, and time that nobody uses is passed over.

        Raises GuestError.
        """
        self._socket.unlink(missing_ok=True)
        with self.console.open("ab") as console:
            self._process = await asyncio.create_subprocess_exec(
                *_qemu(self._made, self.written, self._share, self._socket),
                *(["-rtc", f"base={self.rtc}"] if self.rtc else []),
                *(HURRIED if hurried else UNHURRIED),
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
            )
        try:
            async with asyncio.timeout(BOOT_SECONDS):
                await self._meet()
        except BaseException:
            if self._process.returncode is None:
                self._process.kill()
            raise

    async def _meet(self) -> None:
        """Wait for the hands."""
        while not self._socket.exists():  # noqa: ASYNC110 -- another process makes it
            await asyncio.sleep(0.05)
        self._reader, self._writer = await asyncio.open_unix_connection(self._socket, limit=LONGEST)
        while await self._reader.readline() != b'{"ok": "ready"}\n':
            if self._process.returncode is not None:
                raise GuestError(self.console.read_text(errors="replace"))

    async def cut(self) -> None:
        """Take its power away."""
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        self._writer.close()

    async def switch_off(self) -> None:
        """Have it write everything to its disk, and switch it off."""
        await self.run("sync; systemctl stop touchpoint-capture touchpoint-uplink; sync")
        self._process.terminate()
        await self._process.wait()

    async def do(self, what: str, **how: object) -> Any:  # noqa: ANN401 -- whatever the hand has to say
        """Have the hands do something. Raises GuestError."""
        self._writer.write(json.dumps({"do": what, **how}).encode() + b"\n")
        answer = json.loads(await self._reader.readline())
        if "error" in answer:
            raise GuestError(f"{what}: {answer['error']}")
        return answer["ok"]

    async def run(self, command: str, seconds: float = 60) -> str:
        """Type a command that must succeed, and return what it says. Raises GuestError."""
        answer = await self.do("run", command=command, seconds=seconds)
        if answer["status"] != 0:
            raise GuestError(f"{command}: status {answer['status']}: {answer['said']}")
        return str(answer["said"])


def _qemu(made: Path, disk: Path, share: Path, socket: Path) -> list[str]:
    """Return the command. Emulated, not virtualized: KVM is not everywhere, and where it is nested it may hang."""
    return [
        "qemu-system-x86_64", "-cpu", "max", "-m", "1024",
        "-display", "none", "-monitor", "none", "-serial", "stdio", "-no-reboot",
        "-kernel", str(made / "vmlinuz"), "-initrd", str(made / "initrd.img"), "-append", CONSOLE,
        "-drive", f"file={disk},if=virtio,format=qcow2",
        "-drive", f"file={share},if=virtio,format=raw,readonly=on",
        "-device", "virtio-rng-pci",
        "-device", "virtio-serial-pci", "-chardev", f"socket,id=hands,path={socket},server=on,wait=off",
        "-device", "virtserialport,chardev=hands,name=hands",
    ]  # fmt: skip
