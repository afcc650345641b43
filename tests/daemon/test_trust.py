"""Who is believed, and by whom."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.config import GatewaySettings, MqttSettings, Settings
from gateway.core.jws import SignatureError, Signer, Use
from gateway.daemon.trust import ledger, own_kid
from gateway.store.device import leave_public


def test_whoever_replaces_the_public_key_convinces_capture_of_nothing(tmp_path: Path) -> None:
    """The uplink half can write to the state directory; capture goes by its own key, not by what lies there."""
    settings = Settings(
        gateway=GatewaySettings(tenant="acme", site="zrh-1", id="gw-1", state=tmp_path),
        mqtt=MqttSettings(host="localhost"),
    )
    own, forger = (Signer(own_kid(settings), Ed25519PrivateKey.generate()) for _ in range(2))
    leave_public(tmp_path, forger.key.public_key())
    forged, signed = forger.sign(b"{}"), own.sign(b"{}")
    capture = ledger(settings, own.believed(Use.CONSENT)).store
    assert capture.verify(signed) == b"{}"
    with pytest.raises(SignatureError):
        capture.verify(forged)
    assert ledger(settings).store.verify(forged) == b"{}"
