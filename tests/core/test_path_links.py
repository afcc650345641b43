"""The path of links that the brand signs: its own count, and nobody else's."""

from gateway.core.brandlink import LinkKeys, Links, sign
from gateway.core.path import ABSORBED, NOT_BELIEVED, Fate, Path
from gateway.core.registry import Touchpoint, build
from gateway.core.sighting import Sighting, Tag
from tests.core import salon
from tests.core.salon import ANNA, RULES, TOUCHPOINTS, at, present, scan
from tests.simulators import frames

DOMAIN = "id.acme.example"
KEYS = LinkKeys.new(bytes(range(32)))
PLAIN = f"https://{DOMAIN}/t/mirror"
MIRROR = Touchpoint("mirror", "display", "Mirror", identifiers=(f"link:{PLAIN}",))


def shop() -> Path:
    """Open the boutique of a brand that signs its links."""
    path = salon.path(salon.FakeLedger())
    path.registry = build(1, (*TOUCHPOINTS, MIRROR), RULES)
    path.links = Links(DOMAIN, KEYS)
    return path


def test_a_signed_code_is_its_touchpoint() -> None:
    """And read again it is a repetition, by whichever key."""
    path = shop()
    outcome = path.see(scan(sign(PLAIN, KEYS)), at(0))
    assert outcome.fate is Fate.ACTED_ON
    assert f'"{MIRROR.id}"' in outcome.drafts[0].data
    later = LinkKeys.new(bytes(32), KEYS)
    path.links = Links(DOMAIN, later)
    assert path.see(scan(sign(PLAIN, later)), at(1)) is ABSORBED


def test_a_code_that_somebody_else_printed_counts_for_nothing() -> None:
    """Without a signature, or with that of another touchpoint."""
    path = shop()
    assert path.see(scan(PLAIN), at(0)) is NOT_BELIEVED
    assert path.see(scan(sign(f"https://{DOMAIN}/t/another", KEYS).replace("another", "mirror")), at(0)) is NOT_BELIEVED


def test_a_tag_is_judged_alike() -> None:
    """A link is a link, wherever it was read."""
    path = shop()
    tags = [Sighting("nfc", Tag(b"", frames.message(frames.uri(link)))) for link in (sign(PLAIN, KEYS), PLAIN)]
    assert [path.see(tag, at(10 * number)).fate for number, tag in enumerate(tags)] == [Fate.ACTED_ON, Fate.DROPPED]


def test_customers_tokens_need_no_signature() -> None:
    """They are 128 random bits: nobody makes them up."""
    assert shop().see(present(ANNA), at(0)).fate is Fate.ACTED_ON
