"""Loading a configuration from text."""

from collections.abc import Callable
from pathlib import Path

import pytest

from gateway import config
from gateway.config import Settings

GATEWAY = 'tenant = "acme"\nsite = "zrh-1"\nid = "gw-1"'


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., Settings]:
    """Return what loads the two tables that everyone needs, and what comes after them."""

    def load(extra: str, gateway: str = GATEWAY, mqtt: str = 'host = "broker"') -> Settings:
        path = tmp_path / "gateway.toml"
        path.write_text(f"[gateway]\n{gateway}\n[mqtt]\n{mqtt}\n{extra}\n", encoding="utf-8")
        return config.load(path)

    return load
