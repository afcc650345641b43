"""A gateway installed for a day: its configuration, its keys and its state, below one directory."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gateway.clock import Clock
from gateway.core.pseudonym import derive
from gateway.demo.boutique import (
    COUNTER,
    CUSTOMER_BEACONS,
    DOMAIN,
    GATEWAY,
    SALON,
    SCANNER,
    SITE,
    TENANT,
    TOKENS,
    WINDOW,
)
from gateway.demo.devices import Device
from gateway.keys import ROOT_OCTETS, quarter, quarters, write_secret

CONFIGURATION = f"""[gateway]
tenant = "{TENANT}"
site = "{SITE}"
id = "{GATEWAY}"
state = "state"

[mqtt]
host = "127.0.0.1"
port = {{port}}

[pseudonym]
keys = "./keys.json"

[links]
domain = "{DOMAIN}"

[clock]
source = "trusted"   # the machine that shows a demo may be offline

[[reader]]
name = "{SCANNER}"
kind = "scanner"
device = "{{devices[{SCANNER}].path}}"
touchpoint = "counter"

[[reader]]
name = "{COUNTER}"
kind = "simulated"
plays = "nfc"
device = "{{devices[{COUNTER}].path}}"
touchpoint = "counter"

[[reader]]
name = "{WINDOW}"
kind = "simulated"
plays = "nfc"
device = "{{devices[{WINDOW}].path}}"
touchpoint = "window"

[[reader]]
name = "{SALON}"
kind = "simulated"
plays = "ble"
device = "{{devices[{SALON}].path}}"
zone = "salon"

[[bearer]]
kind = "link"
prefix = "{TOKENS}"

[[bearer]]
kind = "ibeacon"
prefix = "{CUSTOMER_BEACONS}/"
low_entropy = true   # 32 bits of major and minor: enough for a demo
"""


@dataclass(frozen=True, slots=True)
class Installation:
    """Where everything of the gateway lies."""

    configuration: Path
    state: Path
    log: Path


def install(directory: Path, broker_port: int, devices: Mapping[str, Device]) -> Installation:
    """Write configuration and keys, and make the state directory."""
    found = Installation(directory / "gateway.toml", directory / "state", directory / "gateway.log")
    found.state.mkdir()
    found.configuration.write_text(CONFIGURATION.format(port=broker_port, devices=devices), encoding="utf-8")
    epochs = [quarter(name) for name in quarters(Clock().now().wall_ms, 2)]
    write_secret(directory / "keys.json", derive(os.urandom(ROOT_OCTETS), TENANT, SITE, epochs).to_json())
    return found
