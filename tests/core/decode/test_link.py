"""Links: one text for what is one resource, and nothing for what is no plain web address."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.decode import link

hosts = st.from_regex(r"\A[a-zA-Z0-9]([a-zA-Z0-9.-]{0,20}[a-zA-Z0-9])?\Z")
rests = st.just("") | st.from_regex(r"\A[/?][!-\"$-~]{0,40}\Z")
url_like = st.text(st.sampled_from("htps:/.#?@%a1 \x1d\u017f\u212aé"), max_size=40).map("https://".__add__)


@given(scheme=st.sampled_from(["http", "HTTP", "https", "hTTpS"]), host=hosts, rest=rests)
def test_scheme_and_host_are_lower_case_and_the_rest_stays(scheme: str, host: str, rest: str) -> None:
    """Case means nothing before the path and something in it."""
    assert link.canonical(f"{scheme}://{host}{rest}") == f"{scheme.lower()}://{host.lower()}{rest}"


@given(host=hosts, rest=rests, fragment=st.text())
def test_the_fragment_goes(host: str, rest: str, fragment: str) -> None:
    """A fragment never reaches a server, whatever is in it."""
    assert link.canonical(f"https://{host}{rest}#{fragment}") == link.canonical(f"https://{host}{rest}")


@given(st.one_of(st.text(), url_like))
def test_canonical_is_calm_and_idempotent(text: str) -> None:
    """Any text ends as None or as a canonical text, which is its own canonical text."""
    url = link.canonical(text)
    assert url is None or (url.isascii() and link.canonical(url) == url)


@pytest.mark.parametrize(
    ("url", "canonical"),
    [
        ("https://X.example", "https://x.example"),
        ("https://x.example/", "https://x.example/"),
        ("https://x.example:443/a", "https://x.example/a"),
        ("http://x.example:80", "http://x.example"),
        ("http://x.example:443/a", "http://x.example:443/a"),
        ("https://x.example:08443", "https://x.example:8443"),
        ("https://x.example?Q=%2b+/#top", "https://x.example?Q=%2b+/"),
        ("https://x.example/%7Ea/../b//", "https://x.example/%7Ea/../b//"),
        ("http://192.0.2.7/a", "http://192.0.2.7/a"),
        ("https://x.example:65535", "https://x.example:65535"),
    ],
)
def test_examples(url: str, canonical: str) -> None:
    """Default ports go; percent-encodings, dots, slashes and the query stay byte for byte."""
    assert link.canonical(url) == canonical


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "x.example",
            "ftp://x.example",
            "https:/x.example",
            "https://",
            "https:///a",
            "https://?a",
            "//x.example",
        ),
        *("https://u@x.example", "https://u:p@x.example/", "https://x.example:", "https://x.example:8a/"),
        *("https://x.example:123456", "https://x.example:65536", "https://x.example:99999/"),
        *("https://-x.example", "https://x.example./", "https://x_y.example"),
        *(" https://x.example", "https://x.example/a b", "https://x.example/a\n", "https://x.example/\x1d"),
        *("https://bücher.example", "https://x.example/é", "http\u017f://x.example", "https://\u212a.example"),
        *("http\u017f://x.example:80", "https://x.example:\u0664\u0664\u0663", "https://[::1]/", "javascript:alert(1)"),
    ],
)
def test_what_is_no_plain_web_address_is_none(text: str) -> None:
    """User information, blanks, controls and anything beyond ASCII are refused, also letters that fold into ASCII."""
    assert link.canonical(text) is None


def test_a_link_has_a_longest_length() -> None:
    """2048 characters are read, one more is refused."""
    longest = "https://x.example/".ljust(link.LONGEST, "a")
    assert link.canonical(longest) == longest
    assert link.canonical(longest + "a") is None
