"""Who is believed: the issuers of the configuration, and this gateway itself for what was said in its store."""

from functools import partial

from gateway.config import ConfigError, Problem, Settings
from gateway.core.jws import Issuer, Issuers, Use
from gateway.sentence import sentence
from gateway.store.device import Device, public_key
from gateway.store.ledger import StoreLedger, open_ledger

HOUR_MS = 3_600_000


def issuers(settings: Settings) -> Issuers:
    """Return whose signatures count. Raises ConfigError."""
    known, problems = [], []
    for each in settings.issuers:
        try:
            known.append(Issuer(each.kid, public_key(each.key), frozenset(map(Use, each.may))))
        except ValueError:
            where, hint = f"issuer {each.kid}", sentence("copy `x` of the issuer's JWK again")
            problems.append(Problem(str(settings.file), None, where, sentence("key is no Ed25519 public key"), hint))
    if problems:
        raise ConfigError(problems)
    return Issuers(known)


def own_kid(settings: Settings) -> str:
    """Return the name under which this gateway signs."""
    gateway = settings.gateway
    return f"{gateway.tenant}.{gateway.site}.{gateway.id}"


def ledger(settings: Settings, own: Issuers | None = None) -> StoreLedger:
    """Look up the consents of this store, and of the centre if anybody there signs any. Raises ConfigError.

    `own` is the gateway itself, for whoever has its key; others take the public half that lies in the state directory,
    where the uplink half could put another.
    """
    known, state = issuers(settings), settings.gateway.state
    store = Device(state, own_kid(settings)) if own is None else partial(_verified, own)
    central = partial(_verified, known) if known.any_for(Use.CONSENT) else None
    return open_ledger(state, store, central, settings.consent.stale_hours * HOUR_MS)


def _verified(known: Issuers, record: str) -> bytes:
    return known.verify(record, Use.CONSENT)[1]
