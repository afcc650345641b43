"""Commands of ISO/IEC 7816-4 to a Type 4 tag, by nfcpy."""

from typing import Any

from gateway.provision.tags.fault import moved


def exchange(tag: Any, kind: int, instruction: int, parameters: int, data: bytes, length: int) -> bytes:  # noqa: ANN401 -- nfcpy
    """Send CLA, INS, P1 and P2, data and Le, 0 for none; return the answer with its status word behind it.

    Raises TagError when the tag does not answer, OSError when the reader is gone.
    """
    first, second = parameters.to_bytes(2, "big")
    try:
        return bytes(tag.send_apdu(kind, instruction, first, second, data or None, length, check_status=False))
    except OSError:
        raise
    except Exception:  # noqa: BLE001 -- Type4TagCommandError, CommunicationError, IndexError, ...
        raise moved() from None
