"""The sample configuration."""

import re
from pathlib import Path

from gateway import config
from gateway.config.sample import sample

SAMPLE = Path(__file__).parents[2] / "config" / "gateway.toml"


def test_the_sample_is_generated() -> None:
    """The file is what the models say; if not: python -m gateway.config.sample > config/gateway.toml."""
    assert SAMPLE.read_text(encoding="utf-8") == sample()


def test_the_sample_loads() -> None:
    """Copied as it is, the sample is a valid configuration with a reader and a rule for tokens."""
    settings = config.load(SAMPLE)
    assert (settings.readers[0].kind, settings.bearers[0].kind) == ("scanner", "link")
    assert settings.mqtt.port == 8883


def test_every_key_in_the_sample_is_valid(tmp_path: Path) -> None:
    """Every commented key can be uncommented; a scanner alone has no zone."""
    path = tmp_path / "gateway.toml"
    text = re.sub(r"(?m)^#(?=[a-z]|\[\[)", "", sample()).replace('\nzone = "salon"', "")
    path.write_text(text, encoding="utf-8")
    assert config.load(path).gateway.group == "touchpoint"
