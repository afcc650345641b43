"""Devices that are taken away and come back, processes that are killed, and what is left on the disk."""

from functools import partial

from gateway.bytesearch import Needles, search_files
from tests.vm.shop import READERS, TOKEN, Shop

SCRAPE = "python3 -c 'import urllib.request as r; print(r.urlopen(\"http://127.0.0.1:9464/metrics\").read().decode())'"
PLANTED = b"planted-to-be-found-0123456789"


async def play(shop: Shop) -> None:
    """Do everything, one after the other."""
    (package, *_) = shop.guest.packages
    if not await shop.step("package installed and set up", "active", partial(shop.install, package)):
        return
    await shop.step("readers", "all three up", shop.readers_up)
    await shop.passes_by()
    await shop.step("a beacon is heard", "beacon-health", shop.hear)
    await shop.step("a tag is laid on the PN532", "tap", shop.tap)
    await shop.step("a code is typed by the scanner", "scan", shop.scan)
    await shop.step("another program reads the keyboard", "nothing", shop.grabbed)
    await shop.step("consent by presenting the card", "scan with a pseudonym", shop.consent)
    await faults(shop)
    await shop.step("everything still hears", "beacon-health", shop.hear)
    await shop.step("and reads", "tap", shop.tap)
    await shop.step("BlueZ's memory", "tmpfs", shop.kept_in_memory)
    await shop.step("halves restarted by systemd", "1 + 1", shop.restarts)
    await shop.step("metrics at a port of the machine", "all three up", partial(scraped, shop))
    await shop.step("balance", "all in order", shop.balance)
    await shop.keep_journal()
    await shop.step("the disk, byte by byte", "nobody", lambda: searched(shop))


async def faults(shop: Shop) -> None:
    """Take away what can be taken away."""
    kill, stop = "systemctl kill --signal=KILL", "systemctl kill --signal=STOP"
    hang = f"{stop} bluetooth; sleep 5; {kill} bluetooth"
    off_and_on = "bluetoothctl power off; sleep 1; bluetoothctl power on"
    for what, command in (
        ("bluetoothd killed", f"{kill} bluetooth"),
        ("bluetoothd hung, then killed", hang),
        ("adapter switched off and on", off_and_on),
    ):
        await shop.step(what, "beacon-health", partial(shop.after, command, shop.hear))
    await shop.step("adapter unplugged and back", "beacon-health", shop.adapter_replugged)
    await shop.step("scanner unplugged and back", "scan", partial(shop.replugged, "scanner", shop.scan))
    await shop.step("tag reader unplugged and back", "tap", partial(shop.replugged, "reader", shop.tap))
    for half in ("capture", "uplink"):
        await shop.step(f"{half} half killed", "scan", partial(shop.after, f"{kill} touchpoint-{half}", shop.scan))
    await shop.step("broker stopped and started", "scan", shop.broker_away)


async def scraped(shop: Shop) -> str:
    """Open the port for Prometheus, which the unit allows, and scrape it."""
    opened = "printf '[metrics]\\nlisten = \"127.0.0.1:9464\"\\n' >> /etc/touchpoint/gateway.toml"
    await shop.run(f"{opened}; systemctl restart touchpoint-uplink")
    said = await shop.run(SCRAPE)
    up = sum(line.startswith("touchpoint_reader_up") and line.endswith(" 1.0") for line in said.splitlines())
    assert up == READERS, said
    return "all three up"


async def searched(shop: Shop) -> str:
    """Search what the guest has written to its disk for whatever identifies a customer."""
    await shop.guest.run(f"echo {PLANTED.decode()} > /root/planted; sync")
    await shop.guest.switch_off()
    directory = shop.guest.directory / "disk"
    directory.mkdir()
    shop.guest.written.rename(directory / "written")
    secrets = [("token", TOKEN.rpartition("/")[2].encode())]
    secrets += [
        (f"address {number}", bytes.fromhex(each.replace(":", ""))) for number, each in enumerate(shop.addresses)
    ]
    found = [finding for secret in secrets for finding in search_files(directory, Needles([secret]))]
    assert search_files(directory, Needles([("planted", PLANTED)])), (
        "the search finds nothing, not even what was planted"
    )
    assert not found, ", ".join(f"{each.label} as {each.encoding}" for each in found)
    return f"{len(secrets)} identifiers in {(directory / 'written').stat().st_size / 1e6:.0f} MB"
