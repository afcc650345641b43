"""The shop with the simulated Pi in it: what is installed, what happens there, and what the broker hears of it."""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from gateway.core.pseudonym import KeyRing, derive
from tests.simulators import frames
from tests.simulators.broker import Mosquitto
from tests.simulators.consumer import Consumer
from tests.vm.guest import PACKAGES, Guest

ANSWERS = """tenant = "acme"
site = "zrh-1"
id = "gw-1"
host = "10.0.2.2"
port = {port}
time_zone = "Europe/Zurich"
ring = "/root/keys.json"
registry = "/root/registry.csv"
[mqtt]
keepalive = 10
[clock]
source = "{clock}"
[visit]
debounce = 0
[[reader]]
name = "salon"
kind = "ble"
zone = "salon"
silence = 8
lost_after = 9
[[reader]]
name = "counter-nfc"
kind = "nfc"
device = "tty:/run/hands/pn532:pn532"
touchpoint = "counter"
[[reader]]
name = "counter-scanner"
kind = "scanner"
device = "/dev/input/by-id/usb-simulated-event-kbd"
touchpoint = "counter"
layout = "us"
[[bearer]]
kind = "link"
prefix = "https://id.acme.example/m/"
"""
UDEV = """SUBSYSTEM=="input", KERNEL=="event*", ATTRS{name}=="Simulated scanner", \\
  SYMLINK+="input/by-id/usb-simulated-event-kbd\""""
NAMESPACE = bytes.fromhex("a1b2c3d4e5f60718293a")
STRANGER = "5A:11:0C:7B:3E:99"
REGISTRY = """id,kind,name,zone,phase,gtin,reference,serial,campaign,valid_from,valid_until,identifiers
counter,counter,Counter,salon,during,,,,,,,
vitrine,display,Display case,salon,before,,,,,,,link:https://id.acme.example/t/vitrine
watch,product,Watch,salon,before,,,,,,,link:https://id.acme.example/t/watch
""" + "".join(
    f"beacon-{number},beacon,Beacon {number},salon,,,,,,,,eddystone-uid:{NAMESPACE.hex()}/{number:012x}\n"
    for number in range(1, 20)
)
VITRINE, WATCH = (f"https://id.acme.example/t/{name}" for name in ("vitrine", "watch"))
TOKEN = "https://id.acme.example/m/Qw7nT2xB9kLs4VdY1hJc6P"
"""Of nobody else: the README, which the wheel brings along, has one too."""
READERS = 3
GRANT = "/run/grant"
UID = "04a1b2c3d4e5f6"
SIMULATED = """set -e
mkdir /etc/systemd/system/touchpoint-capture.service.d
cat > /etc/systemd/system/touchpoint-capture.service.d/simulated.conf <<'END'
[Service]
BindReadOnlyPaths=/run/hands
END
echo 'd /run/hands 0755' > /etc/tmpfiles.d/simulated.conf
systemd-tmpfiles --create simulated.conf
cat > /etc/udev/rules.d/70-simulated.rules <<'END'
{udev}
END
udevadm control --reload
systemctl daemon-reload
"""
"""What tells this machine from a real one: its devices."""
PREPARE = """set -e
cd /root
cat > answers.toml <<'END'
{answers}
END
cat > registry.csv <<'END'
{registry}
END
cat > keys.json <<'END'
{ring}
END
chmod 600 keys.json
"""
"""What somebody brings along on a stick."""
WAIT = "for i in $(seq 500); do grep -q {word} {file} && exit; sleep 0.2; done; cat {file}; exit 1"
HEALED_SECONDS = 120.0
"""So long may a fault take to heal in an emulated machine, in which the gateway needs ten times as long to start."""


@dataclass
class Step:
    """What was done, and what came of it."""

    what: str
    expected: str
    seen: str = ""
    seconds: float = 0.0
    good: bool = False


@dataclass
class Shop:
    """The guest, and what it says to the broker."""

    guest: Guest
    broker: Mosquitto
    consumer: Consumer
    steps: list[Step] = field(default_factory=list)
    addresses: list[str] = field(default_factory=list)

    async def run(self, command: str, seconds: float = 60) -> str:
        """Type a command that must succeed."""
        return await self.guest.run(command, seconds)

    async def step(self, what: str, expected: str, work: Callable[[], Awaitable[str]]) -> bool:
        """Do a step, and say how it went; True if as expected."""
        step, begun = Step(what, expected), time.monotonic()
        try:
            step.seen = await work()
            step.good = True
        except Exception as error:  # noqa: BLE001 -- whatever it is, the others go on and the report says it
            step.seen = f"{type(error).__name__}: {error}"
        step.seconds = time.monotonic() - begun
        self.steps.append(step)
        print(  # noqa: T201 -- the report
            f"{'ok ' if step.good else 'BAD'} {step.seconds:6.1f} s  {step.what}: {step.seen}",
            file=sys.stderr,
            flush=True,
        )
        return step.good

    async def event(self, kind: str, again: Callable[[], Awaitable[object]], where: str | None = None) -> str:
        """Do something until an event of a kind comes that was not there before; tell how long it took."""
        before, begun = self._matching(kind, where), time.monotonic()
        while time.monotonic() - begun < HEALED_SECONDS:
            await again()
            for _ in range(40):
                if self._matching(kind, where) > before:
                    return f"{kind} after {time.monotonic() - begun:.1f} s"
                await asyncio.sleep(0.05)
        raise TimeoutError(f"no {kind} within {HEALED_SECONDS:g} s; {await self.status()}")

    def _matching(self, kind: str, where: str | None) -> int:
        return sum(where is None or where in json.dumps(event["data"]) for event in self.consumer.of(kind))

    async def status(self) -> str:
        """Return what is wrong by the gateway's own account."""
        answer = await self.guest.do("run", command="touchpoint status --json")
        try:
            return str({name: each for name, each in json.loads(answer["said"])["readers"].items() if not each["up"]})
        except (ValueError, LookupError):
            return str(answer["said"])[-500:]

    async def scan(self, text: str = VITRINE) -> str:
        """Scan a code until it comes out as an event."""
        return await self.event("scan", lambda: self.guest.do("type", text=text), "vitrine")

    async def tap(self) -> str:
        """Lay a tag down and take it away until that comes out as an event."""

        async def once() -> None:
            await self.guest.do("place", uid=UID, message=frames.message(frames.uri(WATCH)).hex())
            await asyncio.sleep(1.5)
            await self.guest.do("remove")

        return await self.event("tap", once, "watch")

    async def hear(self) -> str:
        """Let another beacon of the store be heard, with its telemetry, until its health is reported."""
        number = sum(each != STRANGER for each in self.addresses) + 1
        address = f"C4:5A:17:0B:9D:{number:02X}"
        self.addresses.append(address)
        said = (
            frames.eddystone_uid(NAMESPACE, number.to_bytes(6, "big"), -18),
            frames.eddystone_tlm(2900, 0x1580, 7, 70),
        )
        data = [(b"\x03\x03\xaa\xfe" + bytes([len(each) + 3]) + b"\x16\xaa\xfe" + each).hex() for each in said]

        async def meanwhile() -> None:
            """It is heard all the while."""

        await self.guest.do("beacon", address=address, data=data, rssi=-55, seconds=0.1)
        try:
            return await self.event("beacon-health", meanwhile, f"beacon-{number}")
        finally:
            await self.guest.do("silence", address=address)

    async def passes_by(self) -> None:
        """Let a stranger's phone be heard from now on."""
        self.addresses.append(STRANGER)
        data = bytes([2, 1, 6]) + bytes.fromhex("1aff4c000215" + "ab" * 16 + "00010002c5")
        await self.guest.do("beacon", address=STRANGER, data=[data.hex()], rssi=-60, seconds=0.2)

    async def install(self, package: Path, clock: str = "trusted") -> str:
        """Install the package as systemd/README.md says, plug the devices in, and set the gateway up unattended."""
        said = await self.run(f"dpkg --install {PACKAGES}/{package.name} 2>&1", 600)
        assert "touchpoint setup" in said, said
        await self.run(SIMULATED.format(udev=UDEV))
        await self.plugged()
        answers = ANSWERS.format(port=self.broker.port, clock=clock)
        await self.run(PREPARE.format(answers=answers, registry=REGISTRY, ring=ring().to_json()), 120)
        command = "LANG=C touchpoint setup --answers /root/answers.toml 2>&1"
        told = (await self.guest.do("run", command=command, seconds=400))["said"]
        assert f"{REGISTRY.count(chr(10)) - 1} touchpoints imported." in told, told
        wrong = [line for line in told.splitlines() if line.startswith("wrong")]
        assert len(wrong) == (clock == "system"), told  # nobody has told the clock the time yet
        active = await self.run("systemctl is-active touchpoint-capture touchpoint-uplink bluetooth")
        return " ".join(active.split())

    async def plugged(self) -> None:
        """Have every device plugged in."""
        for device in ("radio", "reader", "scanner"):
            await self.guest.do(f"plug_{device}")

    async def readers_up(self) -> str:
        """Wait until every reader was up once."""
        up = "journalctl -u touchpoint-capture -o cat | grep -o 'reader [a-z-]*: up' | sort -u"
        until = time.monotonic() + HEALED_SECONDS
        while len((said := (await self.guest.do("run", command=up))["said"]).splitlines()) < READERS:
            if time.monotonic() > until:
                raise TimeoutError(f"{said}; {await self.status()}")
            await asyncio.sleep(0.5)
        return "all three"

    async def grabbed(self) -> str:
        """Have another program read the keyboard."""
        stolen = await self.guest.do("stolen", text=VITRINE)
        assert stolen == 0, f"{stolen} events reached another reader of the keyboard"
        return "nothing"

    async def consent(self) -> str:
        """Have a customer consent by presenting a card, and scan after that."""
        await self.run(f"touchpoint consent grant --reader counter-scanner > {GRANT} 2>&1 &")
        await self.run(WAIT.format(word="Present", file=GRANT), 120)
        await self.guest.do("type", text=TOKEN)
        await self.run(WAIT.format(word="recorded", file=GRANT), 120)
        await self.guest.do("type", text=TOKEN)
        return await self.event("scan", lambda: self.guest.do("type", text=VITRINE), '"pseudonym": "tp1.')

    async def after(self, command: str, heals: Callable[[], Awaitable[str]]) -> str:
        """Do harm, and see it heal."""
        await self.run(command)
        return await heals()

    async def replugged(self, device: str, heals: Callable[[], Awaitable[str]]) -> str:
        """Unplug a device, plug it in again, and see it heal."""
        await self.guest.do(f"unplug_{device}")
        await asyncio.sleep(2)
        await self.guest.do(f"plug_{device}")
        return await heals()

    async def adapter_replugged(self) -> str:
        """The same with the Bluetooth adapter; tell its numbers."""
        numbers = "ls /sys/class/bluetooth | tr '\\n' ' '"
        before = await self.run(numbers)
        healed = await self.replugged("radio", self.hear)
        return f"{healed}; {before.strip()} -> {(await self.run(numbers)).strip()}"

    async def broker_away(self) -> str:
        """Stop the broker, let somebody scan, start it again."""
        self.broker.stop()
        await self.guest.do("type", text=VITRINE)
        await asyncio.sleep(3)
        self.broker.start()
        return await self.scan()

    async def balance(self) -> str:
        """Compare the numbers of both sides."""
        said = (await self.run("touchpoint outbox verify")).strip()
        assert not self.consumer.holes, f"holes {self.consumer.holes}"
        assert self.consumer.in_order, "out of order"
        return f"{said} {self.consumer.received} events here, no hole"

    async def restarts(self) -> str:
        """Tell how often systemd has started the halves again."""
        shown = await self.run("systemctl show -p NRestarts --value touchpoint-capture touchpoint-uplink")
        assert shown.split() == ["1", "1"], shown
        return " + ".join(shown.split())

    async def keep_journal(self) -> None:
        """Copy the journal of every boot to the host."""
        said = await self.guest.do("run", command="journalctl --no-pager -o short-monotonic", seconds=240)
        (self.guest.directory / "journal.log").write_text(said["said"], encoding="utf-8")

    async def kept_in_memory(self) -> str:
        """See where BlueZ writes down whom it has heard."""
        kind = (await self.run("findmnt -no FSTYPE /var/lib/bluetooth")).strip()
        assert kind == "tmpfs", kind
        return kind


def ring() -> KeyRing:
    """Make the site's key ring, in force whatever the guest's clock says."""
    return derive(bytes(range(32)), "acme", "zrh-1", [("always", 0, None)])


@asynccontextmanager
async def opened(directory: Path, packages: Sequence[Path], rtc: str | None = None) -> AsyncIterator[Shop]:
    """Start broker, subscriber and guest with these packages, whose clock says `rtc` at each boot."""
    with Mosquitto(directory) as broker, Consumer(broker.port) as consumer:
        async with Guest(directory, packages, rtc) as guest:
            yield Shop(guest, broker, consumer)
