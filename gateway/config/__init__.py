"""The configuration: one TOML file, read once into frozen settings. Secrets never stand in it, only where they lie."""

from gateway.config.certificates import (
    EXPIRES_DAYS,
    authority_fault,
    expiry_fault,
    key_that_fits,
    next_key,
    tls_problems,
    validities,
)
from gateway.config.file import find, load, password, read_as, warnings
from gateway.config.problem import EXIT_CONFIG, ConfigError, Problem
from gateway.config.settings import (
    BearerSettings,
    ClockSettings,
    ConsentSettings,
    GatewaySettings,
    LinksSettings,
    MqttSettings,
    PseudonymSettings,
    ReaderSettings,
    Settings,
    VisitSettings,
)

__all__ = [
    "EXIT_CONFIG",
    "EXPIRES_DAYS",
    "BearerSettings",
    "ClockSettings",
    "ConfigError",
    "ConsentSettings",
    "GatewaySettings",
    "LinksSettings",
    "MqttSettings",
    "Problem",
    "PseudonymSettings",
    "ReaderSettings",
    "Settings",
    "VisitSettings",
    "authority_fault",
    "expiry_fault",
    "find",
    "key_that_fits",
    "load",
    "next_key",
    "password",
    "read_as",
    "tls_problems",
    "validities",
    "warnings",
]
