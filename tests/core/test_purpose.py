"""Purposes: words here, IRIs of the W3C Data Privacy Vocabulary in records."""

from gateway.core.purpose import DPV, IRI, named, words

PERSONAL, MARKETING = "personalisation", "direct-marketing"


def test_a_word_and_its_iri_are_one_purpose() -> None:
    """Either may stand in a record; what is not in the vocabulary counts not."""
    assert IRI["service-usage-analytics"] == "https://w3id.org/dpv#ServiceUsageAnalytics"
    assert words([f"{DPV}Personalisation", "direct-marketing", "x", f"{DPV}X"]) == {PERSONAL, MARKETING}


def test_people_see_words() -> None:
    """Each purpose once; what is not in the vocabulary is shown as it stands."""
    assert named([f"{DPV}Personalisation", PERSONAL, f"{DPV}X", "advertising"]) == ["advertising", f"{DPV}X", PERSONAL]
