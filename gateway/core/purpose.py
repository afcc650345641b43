"""The purposes that consent can be given for: terms of the W3C Data Privacy Vocabulary (DPV 2.0, purposes.csv).

In the configuration, in events and in the derivation of keys a purpose is a word like `service-personalisation`; in
consent records it is the IRI of the term, `https://w3id.org/dpv#ServicePersonalisation`.
"""

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType

DPV = "https://w3id.org/dpv#"
_TERMS = (
    "Advertising",
    "CommercialResearch",
    "CommunicationForCustomerCare",
    "CustomerCare",
    "CustomerManagement",
    "CustomerRelationshipManagement",
    "DirectMarketing",
    "ImproveExistingProductsAndServices",
    "Marketing",
    "OptimisationForConsumer",
    "OptimisationForController",
    "Personalisation",
    "PersonalisedAdvertising",
    "PersonalisedBenefits",
    "ProvidePersonalisedRecommendations",
    "ProvideProductRecommendations",
    "RequestedServiceProvision",
    "ResearchAndDevelopment",
    "ServiceOptimisation",
    "ServicePersonalisation",
    "ServiceProvision",
    "ServiceUsageAnalytics",
    "TargetedAdvertising",
)


def _word(term: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "-", term).lower()


IRI: Mapping[str, str] = MappingProxyType({_word(term): DPV + term for term in _TERMS})
"""The IRI of each purpose."""
_WORD = {iri: word for word, iri in IRI.items()}


def words(purposes: Iterable[str]) -> frozenset[str]:
    """Return the purposes of a record, given as IRIs or words, as words; what is not in the vocabulary counts not."""
    named = (_WORD.get(purpose, purpose) for purpose in purposes)
    return frozenset(word for word in named if word in IRI)


def named(purposes: Iterable[str]) -> list[str]:
    """Return the purposes of a record for people: as words, sorted; what is not in the vocabulary as it stands."""
    return sorted({_WORD.get(purpose, purpose) for purpose in purposes})
