"""What an identifier means."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.registry import Badge, BadgeRule, Bearer, BearerRule, Known, Touchpoint, build, split
from gateway.core.sighting import Identifier

MEMBER = BearerRule("link", "https://id.acme.example/m/")
VITRINE = Touchpoint(
    "vitrine-3", "display", "Vitrine 3", identifiers=("nfc-uid:04a2", "link:https://id.acme.example/v3")
)
EXIT = Touchpoint("exit", "feedback", "Exit", identifiers=("text:yes#5", "text:no#1", "text:maybe", "text:odd#"))

values = st.text("abc/#:", max_size=6)


def link(rest: str) -> Identifier:
    """Return a link below the brand's domain."""
    return Identifier("link", f"https://id.acme.example/{rest}")


def test_a_registered_identifier_is_its_touchpoint() -> None:
    """Each of a touchpoint's identifiers means it; nothing else does."""
    registry = build(3, [VITRINE])
    assert registry.version == 3
    assert registry.lookup(Identifier("nfc-uid", "04a2")) == Known(VITRINE)
    assert registry.lookup(link("v3")) == Known(VITRINE)
    assert registry.lookup(link("v4")) is None
    assert registry.touchpoints == {"vitrine-3": VITRINE}


def test_each_identifier_of_a_feedback_point_is_an_answer() -> None:
    """What stands after the last `#` is the answer; an empty one is none."""
    registry = build(1, [EXIT])
    assert registry.lookup(Identifier("text", "yes")) == Known(EXIT, "5")
    assert registry.lookup(Identifier("text", "no")) == Known(EXIT, "1")
    assert registry.lookup(Identifier("text", "maybe")) == Known(EXIT)
    assert registry.lookup(Identifier("text", "odd")) == Known(EXIT)


def test_a_rule_makes_a_token_of_every_identifier_behind_its_prefix() -> None:
    """The prefix alone is nobody's token, and a rule holds for its kind only."""
    registry = build(1, [], [MEMBER, BearerRule("link", "https://id.acme.example/n/"), BearerRule("ibeacon", "")])
    assert registry.lookup(link("m/Zk3v")) == registry.lookup(link("n/Zk3v")) == Bearer("link")
    assert registry.lookup(link("m/")) is None
    assert registry.lookup(link("x/Zk3v")) is None
    assert registry.lookup(Identifier("text", "https://id.acme.example/m/Zk3v")) is None
    assert registry.lookup(Identifier("ibeacon", "a/1/2")) == Bearer("ibeacon")


@pytest.mark.parametrize(
    ("identifier", "covered"),
    [(link("m/1"), True), (link("m/"), False), (link("x/1"), False), (Identifier("text", link("m/1").value), False)],
)
def test_what_a_rule_covers(identifier: Identifier, covered: bool) -> None:  # noqa: FBT001  # a parameter of the test
    """The same as a registry with this rule alone says, so that an import can refuse what would be a token."""
    assert MEMBER.covers(identifier) == covered == (build(1, [], [MEMBER]).lookup(identifier) is not None)


def test_a_touchpoint_wins_over_a_rule() -> None:
    """A code of the store that looks like a token is the store's."""
    mine = Touchpoint("m", "counter", "M", identifiers=("link:https://id.acme.example/m/1",))
    registry = build(1, [mine], [MEMBER])
    assert registry.lookup(link("m/1")) == Known(mine)
    assert registry.lookup(link("m/2")) == Bearer("link")


def test_a_badge_wins_over_a_token_and_a_touchpoint_over_a_badge() -> None:
    """One of the staff may carry what customers carry; what hangs on a wall is no badge."""
    mine = Touchpoint("m", "counter", "M", identifiers=("link:https://id.acme.example/m/staff-1",))
    registry = build(1, [mine], [MEMBER], [BadgeRule("link", "https://id.acme.example/m/staff-")])
    assert registry.lookup(link("m/staff-1")) == Known(mine)
    assert registry.lookup(link("m/staff-2")) == Badge("link")
    assert registry.lookup(link("m/staff")) == Bearer("link")


def test_a_badge_may_be_named_as_a_whole() -> None:
    """And its namespace is read, so that it is counted as what it is."""
    uuid = "00010203-0405-0607-0809-0a0b0c0d0e0f"
    registry = build(1, [], [], [BadgeRule("ibeacon", f"{uuid}/1/2")])
    assert registry.lookup(Identifier("ibeacon", f"{uuid}/1/2")) == Badge("ibeacon")
    assert registry.lookup(Identifier("ibeacon", f"{uuid}/1/3")) is None
    assert registry.namespaces.ibeacon == frozenset({bytes(range(16))})


def test_the_first_candidate_that_means_something_counts() -> None:
    """Candidates come most specific first."""
    registry = build(1, [VITRINE], [MEMBER])
    uid = Identifier("nfc-uid", "04a2")
    assert registry.find([link("x"), link("m/1"), uid]) == (link("m/1"), Bearer("link"))
    assert registry.find([link("x"), uid, link("m/1")]) == (uid, Known(VITRINE))
    assert registry.find([link("x")]) is None
    assert registry.find([]) is None


def test_of_two_with_the_same_identifier_the_first_has_it() -> None:
    """The order of the registry decides, so the same registry always means the same."""
    other = Touchpoint("other", "display", "Other", identifiers=("nfc-uid:04a2",))
    assert build(1, [VITRINE, other]).lookup(Identifier("nfc-uid", "04a2")) == Known(VITRINE)
    assert build(1, [other, VITRINE]).lookup(Identifier("nfc-uid", "04a2")) == Known(other)


@pytest.mark.parametrize(
    ("text", "feedback", "expected"),
    [
        ("text:a#b#c", True, (Identifier("text", "a#b"), "c")),
        ("text:a#b", False, (Identifier("text", "a#b"), None)),
        ("link:https://x.example/a:b", False, (Identifier("link", "https://x.example/a:b"), None)),
        ("gs1:/01/09506000134352#very good", True, (Identifier("gs1", "/01/09506000134352"), "very good")),
    ],
)
def test_split(text: str, feedback: bool, expected: tuple[Identifier, str | None]) -> None:  # noqa: FBT001  # a parameter
    """The first colon ends the kind, the last `#` of a feedback point begins the answer."""
    assert split(text, feedback=feedback) == expected


@given(kind=st.sampled_from(["text", "link"]), value=values, answer=st.text("ab: ", min_size=1))
def test_split_gives_back_what_was_joined(kind: str, value: str, answer: str) -> None:
    """Whatever the value holds, an answer without `#` comes back."""
    identifier = Identifier(kind, value)
    assert split(f"{identifier.text}#{answer}", feedback=True) == (identifier, answer)
    assert split(identifier.text, feedback=False) == (identifier, None)


def test_a_touchpoint_is_valid_from_its_first_to_before_its_end() -> None:
    """A campaign that ends at midnight is over at midnight."""
    begin, end = (int(datetime(2026, 11, day, tzinfo=UTC).timestamp() * 1000) for day in (1, 30))
    campaign = Touchpoint("c", "catalogue", "C", valid_from_ms=begin, valid_until_ms=end)
    assert [campaign.valid_at(ms) for ms in (begin - 1, begin, end - 1, end)] == [False, True, True, False]
    assert Touchpoint("c", "catalogue", "C", valid_from_ms=begin).valid_at(end)
    assert Touchpoint("c", "catalogue", "C", valid_until_ms=end).valid_at(0)
    assert Touchpoint("c", "catalogue", "C").valid_at(0)
