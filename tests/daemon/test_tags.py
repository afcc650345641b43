"""The keys of SUN tags under a running capture half: new stock, another site's file, and what is wrong with it."""

import logging
from pathlib import Path

import pytest

from gateway.config import GatewaySettings, MqttSettings, Settings
from gateway.config.settings import SunSettings
from gateway.core.decode.sun import Covers, Mirrors, TagKeys
from gateway.core.tagkeys import to_json
from gateway.daemon.capture import authenticator
from gateway.daemon.tags import TagFile

UID, KEY = bytes(range(7)), bytes(range(16, 32))
STOCK = TagKeys({UID: KEY}, KEY)


def settings(path: Path, **sun: str) -> Settings:
    """Return the settings of a gateway whose keys lie there."""
    return Settings(
        gateway=GatewaySettings(tenant="acme", site="zrh-1", id="gw-1"),
        mqtt=MqttSettings(host="localhost"),
        sun=SunSettings.model_validate({"keys": str(path), **sun}),
    )


def test_parameters_and_keys_are_as_configured(tmp_path: Path) -> None:
    """The names of the parameters, what the MAC covers, the keys of the file, and the counters of before."""
    (tmp_path / "sun.json").write_text(to_json(STOCK, "acme", "zrh-1"), encoding="utf-8")
    made = authenticator(settings(tmp_path / "sun.json", picc_data="p", mac="m", covers="link"), {"tag": 5})
    assert made.mirrors == Mirrors("p", "enc", "uid", "ctr", "m", Covers.LINK)
    assert (made.keys, made.counters) == (STOCK, {"tag": 5})


def test_new_stock_is_verified_as_soon_as_its_keys_are_there(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The file may come later, and go; how many keys there are is logged, and none of them."""
    caplog.set_level(logging.INFO)
    path = tmp_path / "sun.json"
    made = authenticator(settings(path))
    file = TagFile(settings(path), made)
    file.look()
    assert made.keys == TagKeys()
    path.write_text(to_json(STOCK, "acme", "zrh-1"), encoding="utf-8")
    file.look()
    assert made.keys == STOCK
    file.look()
    path.unlink()
    file.look()
    assert made.keys == TagKeys()
    assert caplog.messages == ["keys of tags: 1", "keys of tags: 0"]


@pytest.mark.parametrize(
    ("text", "why"),
    [("{}", "version"), (to_json(STOCK, "acme", "gva-1"), "these keys are for acme/gva-1"), ("\x80", "not JSON")],
)
def test_a_file_that_is_wrong_counts_as_none(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str, why: str
) -> None:
    """The log says why, and shows no key; the gateway goes on."""
    path = tmp_path / "sun.json"
    path.write_text(to_json(STOCK, "acme", "zrh-1"), encoding="utf-8")
    made = authenticator(settings(path))
    path.write_text(text, encoding="utf-8")
    TagFile(settings(path), made).look()
    assert made.keys == TagKeys()
    assert why in caplog.text
    assert KEY.hex() not in caplog.text
