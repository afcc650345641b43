"""What a device reads never shows in a repr."""

import pytest

from gateway.core.sighting import Advertisement, Identifier, Scan, Sighting, Tag

CUSTOMER = "Zk3vX9c1QmS7tB0dLw2RfA"
MAC = "C4:00:00:00:00:01"


def test_an_identifier_has_a_canonical_text() -> None:
    """The kind, a colon, the value; and only the kind in its repr."""
    identifier = Identifier("link", f"https://id.acme.example/m/{CUSTOMER}")
    assert identifier.text == f"link:https://id.acme.example/m/{CUSTOMER}"
    assert repr(identifier) == str(identifier) == "Identifier(kind='link')"


@pytest.mark.parametrize(
    "payload",
    [
        Scan(CUSTOMER, "]Q1"),
        Tag(CUSTOMER.encode(), CUSTOMER.encode()),
        Advertisement(MAC, -60, {0x004C: CUSTOMER.encode()}, {"feaa": CUSTOMER.encode()}),
    ],
)
def test_a_sighting_shows_its_reader_and_nothing_of_its_payload(payload: Scan | Tag | Advertisement) -> None:
    """A sighting in an exception or a log line by accident gives nobody away."""
    shown = repr(Sighting("counter-scanner", payload))
    assert "counter-scanner" in shown
    assert CUSTOMER not in shown
    assert MAC not in shown
