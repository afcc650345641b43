"""nfcpy, imported without what it would do then: look for an OpenSSL of old with the help of gcc and of files in /tmp.

It wants that for the encryption of LLCP (`nfc.llcp.sec`), which is between two phones; nothing here speaks LLCP, and
nfcpy does without it where it is None. Whoever needs nfcpy imports it from here.
"""

import sys
from types import ModuleType


def _no_encryption() -> ModuleType:
    module = ModuleType("nfc.llcp.sec")
    module.__dict__["OpenSSL"] = None
    return module


sys.modules.setdefault("nfc.llcp.sec", _no_encryption())

import nfc  # noqa: E402 -- after the module above
import nfc.tag.tt2  # noqa: E402
import nfc.tag.tt4  # noqa: E402
from nfc.clf import transport  # noqa: E402
from nfc.clf.device import Device  # noqa: E402
from nfc.clf.device import usb_device_map as usb_drivers  # noqa: E402

__all__ = ["Device", "nfc", "transport", "usb_drivers"]
