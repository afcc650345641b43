"""Keys, handles, pseudonyms and proofs."""

import json
from base64 import urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.pseudonym import GRACE_MS, Epoch, KeyRing, derive, handle, proof, pseudonym
from gateway.core.sighting import Identifier

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "pseudonym.json").read_text(encoding="utf-8"))
ROOT = bytes.fromhex(VECTORS["root"])
RING = derive(ROOT, VECTORS["tenant"], VECTORS["site"], [("2026Q4", 1_000, 2_000), ("2027Q1", 2_000, None)])
BY_ID = {epoch.id: epoch for epoch in RING.epochs}
TOKEN = Identifier("link", "https://id.acme.example/m/Zk3vX9c1QmS7tB0dLw2RfA")

unix_ms = st.integers(0, 253_402_300_799_999)
keys = st.binary(min_size=32, max_size=32)
names = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
ids = st.from_regex(r"[A-Za-z0-9_-]{1,32}", fullmatch=True)
epochs = st.builds(Epoch, id=ids, key=keys, from_ms=unix_ms, until_ms=st.none() | unix_ms)
rings = st.builds(KeyRing, tenant=names, site=names, consent_key=keys, epochs=st.lists(epochs, max_size=3).map(tuple))


def test_published_keys() -> None:
    """The ring derives as the vectors say."""
    assert RING.consent_key.hex() == VECTORS["consent_key"]
    assert {id_: epoch.key.hex() for id_, epoch in BY_ID.items()} == VECTORS["epoch_keys"]


@pytest.mark.parametrize("case", VECTORS["cases"])
def test_published_names(case: dict[str, str]) -> None:
    """Handles, pseudonyms and proofs are those of the vectors."""
    token, epoch = Identifier(case["kind"], case["value"]), BY_ID[case["epoch"]]
    assert handle(RING, token) == case["handle"]
    assert pseudonym(epoch, case["purpose"], token) == case["pseudonym"]
    assert proof(epoch, case["purpose"], token.kind, case["record"]) == case["proof"]


def test_nothing_joins_two_sites_epochs_purposes_or_kinds() -> None:
    """The same token has another name wherever one of them differs."""
    elsewhere = derive(ROOT, "acme", "gva-1", [("2026Q4", 1_000, None)])
    other_brand = derive(ROOT, "other", "zrh-1", [("2026Q4", 1_000, None)])
    told = [
        pseudonym(epoch, purpose, Identifier(kind, TOKEN.value)).rpartition(".")[2]
        for epoch in (*RING.epochs, *elsewhere.epochs, *other_brand.epochs)
        for purpose in ("personalisation", "analytics")
        for kind in ("link", "text")
    ]
    assert len(set(told)) == len(told) == 16
    assert len({handle(ring, TOKEN) for ring in (RING, elsewhere, other_brand)}) == 3


def test_a_proof_is_no_pseudonym() -> None:
    """A record id chosen like a token's value does not give the token's pseudonym."""
    epoch = RING.epochs[0]
    assert proof(epoch, "analytics", "link", TOKEN.value) not in pseudonym(epoch, "analytics", TOKEN)


def test_the_epoch_in_force() -> None:
    """An epoch counts from its first millisecond to the one before its end; of two, the one that began last."""
    overlapping = KeyRing(
        "acme", "zrh-1", bytes(32), (Epoch("b", bytes(32), 150, 300), Epoch("a", bytes(32), 100, 200))
    )
    assert [epoch and epoch.id for epoch in map(overlapping.current, (99, 100, 149, 150, 199, 200, 299, 300))] == [
        *(None, "a", "a", "b", "b", "b", "b", None)
    ]
    assert RING.current(10**15) == BY_ID["2027Q1"]


def test_an_activated_epoch() -> None:
    """It is in force before its time and until its end; then the next one, or for 72 hours nothing but it."""
    ring = KeyRing(
        "acme", "zrh-1", b"", (Epoch("a", b"", 0, 100), Epoch("b", b"", 100, 200), Epoch("c", b"", 900, 950))
    )
    until = 950 + GRACE_MS
    assert [epoch and epoch.id for epoch in (ring.current(now_ms, "b") for now_ms in (50, 150, 200, 300))] == [
        "b", "b", "b", "b",
    ]  # fmt: skip
    assert [epoch and epoch.id for epoch in (ring.current(now_ms, "a") for now_ms in (50, 150, 250))] == ["a", "b", "a"]
    assert [epoch and epoch.id for epoch in (ring.current(now_ms, "c") for now_ms in (50, until - 1, until))] == [
        "c", "c", None,
    ]  # fmt: skip
    assert ring.current(50, "unheard of") == ring.epoch("a")


@given(rings)
def test_a_ring_survives_its_file(ring: KeyRing) -> None:
    """Keys, times to the millisecond and names come back as they were."""
    assert KeyRing.from_json(ring.to_json()) == ring


def test_the_file_has_the_shape_of_the_design() -> None:
    """Version 1, keys in base64url without padding, times in UTC."""
    file = json.loads(RING.to_json())
    key = urlsafe_b64encode(BY_ID["2026Q4"].key).decode().rstrip("=")
    assert list(file) == ["version", "tenant", "site", "consent_key", "epochs"]
    assert (file["version"], file["tenant"], file["site"]) == (1, "acme", "zrh-1")
    assert file["epochs"][0] == {
        "id": "2026Q4",
        "key": key,
        "from": "1970-01-01T00:00:01.000Z",
        "until": "1970-01-01T00:00:02.000Z",
    }
    assert file["epochs"][1]["until"] is None


@given(unix_ms, st.integers(-23, 23))
def test_a_time_may_have_any_offset(from_ms: int, hours: int) -> None:
    """RFC 3339 with another offset is the same instant."""
    instant = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=from_ms)
    shifted = instant.replace(tzinfo=None)
    try:
        shifted += timedelta(hours=hours)
    except OverflowError:
        return
    file = json.loads(RING.to_json())
    file["epochs"][0]["from"] = f"{shifted.isoformat()}{'+' if hours >= 0 else '-'}{abs(hours):02}:00"
    assert KeyRing.from_json(json.dumps(file)).epochs[0].from_ms == from_ms


def changed(path: str, value: object) -> str:
    """Return the file with one field changed."""
    file: dict[str, Any] = json.loads(RING.to_json())
    *parents, last = path.split(".")
    node: Any = file
    for parent in parents:
        node = node[int(parent) if parent.isdigit() else parent]
    node[int(last) if last.isdigit() else last] = value
    return json.dumps(file)


LEAK = "c2VjcmV0LXNlY3JldC1zZWNyZXQ"


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        ("version", 2, "version"),
        ("version", "1", "version"),
        ("version", True, "version"),
        ("tenant", None, "tenant"),
        ("site", 7, "site"),
        ("consent_key", LEAK, "consent_key"),
        ("consent_key", "A", "consent_key"),
        ("consent_key", "!!" + "A" * 43, "consent_key"),
        ("consent_key", "A" * 43 + "=", "consent_key"),
        ("consent_key", "ü" * 43, "consent_key"),
        ("epochs", {"id": LEAK}, "epochs"),
        ("epochs.0", LEAK, "until"),
        ("epochs.0.id", 7, "id"),
        ("epochs.0.id", "2026.Q4", "id"),
        ("epochs.0.id", "", "id"),
        ("epochs.0.id", "e" * 33, "id"),
        ("epochs.1.key", LEAK, "key"),
        ("epochs.0.from", LEAK, "from"),
        ("epochs.0.from", None, "from"),
        ("epochs.0.from", "2026-10-01T00:00:00", "from"),
        ("epochs.0.from", "2026-13-01T00:00:00Z", "from"),
        ("epochs.0.until", "2026-10-01", "until"),
        ("epochs.0.until", 7, "until"),
        ("epochs.0", {"id": "2026Q4"}, "until"),
    ],
)
def test_a_wrong_file_is_refused_by_the_name_of_its_field(path: str, value: object, named: str) -> None:
    """The error says which field, and shows neither what is in it nor any key."""
    with pytest.raises(ValueError, match=f"^{named}: ") as refusal:
        KeyRing.from_json(changed(path, value))
    assert LEAK not in str(refusal.value)
    assert refusal.value.__cause__ is None


@pytest.mark.parametrize("text", ["", "{", LEAK, "\x00", "[" * 100_000])
def test_what_is_not_json_is_refused_without_echo(text: str) -> None:
    """A file of another kind may hold another secret."""
    with pytest.raises(ValueError, match=r"^it is not JSON$") as refusal:
        KeyRing.from_json(text)
    assert refusal.value.__suppress_context__


@given(
    st.recursive(
        st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_any_json_is_refused_with_a_value_error(value: object) -> None:
    """No JSON but a ring is read, and none crashes the reader."""
    with pytest.raises(ValueError, match=r"^version: "):
        KeyRing.from_json(json.dumps(value))


def test_keys_are_not_shown() -> None:
    """Neither the ring nor an epoch shows a key, in any notation."""
    shown = repr(RING) + repr(RING.epochs)
    for key in (RING.consent_key, *(epoch.key for epoch in RING.epochs)):
        for text in (repr(key), repr(key)[2:-1], key.hex(), urlsafe_b64encode(key).decode().rstrip("=")):
            assert text not in shown
    assert "2026Q4" in shown
