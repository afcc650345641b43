"""Links in canonical text, so that tag, code and beacon with the same URL are one identifier.

RFC 3986: scheme and host in lower case (6.2.2.1), the default port dropped (6.2.3), no fragment (3.5: it never
reaches a server). Everything else stays byte for byte: what a percent-encoding or a trailing slash means is the
server's business.
"""

import re

LONGEST = 2048
_URL = re.compile(
    r"(https?)://([a-z0-9](?:[a-z0-9.-]*[a-z0-9])?)(?::([0-9]{1,5}))?([/?][!-~]*)?",
    re.ASCII | re.IGNORECASE,  # without ASCII, U+017F counts as an s and U+212A as a k
)
_HIGHEST_PORT = 0xFFFF
_DEFAULT_PORTS = {"http": 80, "https": 443}


def canonical(url: str) -> str | None:
    """Return the canonical text of an http or https URL; None for anything else, user information included."""
    if len(url) > LONGEST:
        return None
    found = _URL.fullmatch(url.partition("#")[0])
    if found is None:
        return None
    scheme, host, rest = found[1].lower(), found[2].lower(), found[4] or ""
    default = _DEFAULT_PORTS[scheme]
    port = int(found[3] or default)
    if port > _HIGHEST_PORT:
        return None
    return f"{scheme}://{host}{'' if port == default else f':{port}'}{rest}"
