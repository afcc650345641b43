"""Files encrypted as `age` does (age-encryption.org/v1), for a passphrase or for public keys; `age` itself opens them.

A file key, made for each file, is wrapped for whoever may open it: by scrypt of a passphrase, or by X25519 with each
recipient's public key. The header is authenticated with it, and the payload encrypted in chunks of 64 KiB, numbered and
the last one marked, so that nothing can be cut off, left out or exchanged (STREAM).

What cannot be opened raises AgeError, whose text says why and nothing of the content.
"""

import hmac
import re
from base64 import b64decode, b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from secrets import token_bytes
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from gateway.sentence import sentence

VERSION: Final = b"age-encryption.org/v1"
FILE_KEY: Final = 16
TAG: Final = 16
NONCE: Final = 16
CHUNK: Final = 64 * 1024
KEY: Final = 32
COLUMNS: Final = 64
WORK: Final = 17
"""log2 of scrypt's N: 128 MiB and a second or two on a Raspberry Pi 4. `age` itself takes 18."""
MOST_WORK: Final = 20
"""What is accepted: 1 GiB. Whoever sends a file should not be able to take all memory."""
LONGEST_HEADER: Final = 64 * 1024
RECIPIENT, IDENTITY = "age", "AGE-SECRET-KEY-"
_ALPHABET: Final = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_STANZA = re.compile(rb"-> ([\x21-\x7e]+(?: [\x21-\x7e]+)*)")
_MAC = re.compile(rb"--- ([A-Za-z0-9+/]{43})")


class AgeError(Exception):
    """A file cannot be opened, or a key is none."""


@dataclass(frozen=True, slots=True)
class Stanza:
    """The file key, wrapped for one who may open the file."""

    arguments: tuple[str, ...]
    body: bytes

    def encode(self) -> bytes:
        """Return it as it stands in the header: base64 without padding, in lines of which the last is a short one."""
        text = _base64(self.body).encode()
        lines = [text[at : at + COLUMNS] for at in range(0, len(text) + 1, COLUMNS)]
        return b"\n".join([b"-> " + " ".join(self.arguments).encode(), *lines, b""])


def encrypt(
    content: bytes, *, passphrase: str | None = None, recipients: Sequence[str] = (), work: int = WORK
) -> bytes:
    """Encrypt for a passphrase, or for recipients (`age1...`). Raises AgeError for one that is no public key."""
    file_key = token_bytes(FILE_KEY)
    if passphrase is not None:
        stanzas = [_for_passphrase(file_key, passphrase, work)]
    else:
        stanzas = [_for_recipient(file_key, public_key(each)) for each in recipients]
    if not stanzas:
        raise AgeError(sentence("nobody could open it: neither a passphrase nor a public key is given"))
    header = b"".join([VERSION, b"\n", *(each.encode() for each in stanzas), b"---"])
    nonce = token_bytes(NONCE)
    cipher = ChaCha20Poly1305(_hkdf(file_key, nonce, b"payload"))
    sealed = (cipher.encrypt(_chunk_nonce(at, last=last), chunk, None) for at, chunk, last in _chunks(content, CHUNK))
    return b"".join([header, b" ", _base64(_mac(file_key, header)).encode(), b"\n", nonce, *sealed])


def decrypt(sealed: bytes, *, passphrase: str | None = None, identity: str | None = None) -> bytes:
    """Decrypt with a passphrase or an identity (`AGE-SECRET-KEY-1...`). Raises AgeError."""
    stanzas, header, mac, payload = _parse(sealed)
    file_key = _with_passphrase(stanzas, passphrase) if passphrase is not None else _with_identity(stanzas, identity)
    if not hmac.compare_digest(_mac(file_key, header), mac):
        raise AgeError(sentence("its header is not what was written"))
    if len(payload) < NONCE + TAG:
        raise AgeError(sentence("it was cut off"))
    cipher = ChaCha20Poly1305(_hkdf(file_key, payload[:NONCE], b"payload"))
    content = []
    for at, chunk, last in _chunks(payload[NONCE:], CHUNK + TAG):
        if last and at and len(chunk) == TAG:
            raise AgeError(sentence("it ends in an empty piece"))
        try:
            content.append(cipher.decrypt(_chunk_nonce(at, last=last), chunk, None))
        except InvalidTag:
            raise AgeError(sentence("it is damaged, or was cut off")) from None
    return b"".join(content)


def needs_passphrase(sealed: bytes) -> bool:
    """Tell whether a file is encrypted with a passphrase. Raises AgeError if it is no file of age."""
    stanzas, *_ = _parse(sealed)
    return any(each.arguments[0] == "scrypt" for each in stanzas)


def new_identity() -> tuple[str, str]:
    """Make a key pair; return identity (secret) and recipient (public), as age-keygen writes them."""
    key = X25519PrivateKey.generate()
    secret, public = key.private_bytes_raw(), key.public_key().public_bytes_raw()
    return bech32(IDENTITY.lower(), secret).upper(), bech32(RECIPIENT, public)


def public_key(recipient: str) -> X25519PublicKey:
    """Read a recipient, `age1...`. Raises AgeError."""
    octets = unbech32(RECIPIENT, recipient)
    if len(octets) != KEY:
        raise AgeError(sentence("that is no public key of age: it begins with age1"))
    return X25519PublicKey.from_public_bytes(octets)


def _for_passphrase(file_key: bytes, passphrase: str, work: int) -> Stanza:
    salt = token_bytes(16)
    key = _scrypt(passphrase, salt, work)
    return Stanza(("scrypt", _base64(salt), str(work)), ChaCha20Poly1305(key).encrypt(bytes(12), file_key, None))


def _for_recipient(file_key: bytes, recipient: X25519PublicKey) -> Stanza:
    ephemeral = X25519PrivateKey.generate()
    share = ephemeral.public_key().public_bytes_raw()
    key = _wrap_key(ephemeral, recipient, share + recipient.public_bytes_raw())
    return Stanza(("X25519", _base64(share)), ChaCha20Poly1305(key).encrypt(bytes(12), file_key, None))


def _wrap_key(mine: X25519PrivateKey, theirs: X25519PublicKey, salt: bytes) -> bytes:
    try:
        shared = mine.exchange(theirs)
    except ValueError:
        raise AgeError(sentence("a public key in it is of low order")) from None
    return _hkdf(shared, salt, VERSION + b"/X25519")


def _with_passphrase(stanzas: Sequence[Stanza], passphrase: str) -> bytes:
    """Unwrap the file key; a passphrase must be the only way in, so that nobody adds another."""
    match [each.arguments for each in stanzas]:
        case [("scrypt", salt, work)] if re.fullmatch("[1-9][0-9]?", work):
            if int(work) > MOST_WORK:
                raise AgeError(sentence("opening it would take {int} MiB of memory").format(int=2 ** (int(work) - 10)))
            key = _scrypt(passphrase, _unbase64(salt, 16), int(work))
        case _:
            raise AgeError(sentence("it is not encrypted with a passphrase: name the file of the secret key"))
    return _unwrapped(key, stanzas[0].body) or _refuse(sentence("the passphrase is another one"))


def _with_identity(stanzas: Sequence[Stanza], identity: str | None) -> bytes:
    secret = unbech32(IDENTITY, identity or "")
    if len(secret) != KEY:
        raise AgeError(sentence("that is no secret key of age: it begins with AGE-SECRET-KEY-1"))
    mine = X25519PrivateKey.from_private_bytes(secret)
    for each in stanzas:
        if each.arguments[0] == "X25519" and len(each.arguments) == 2:  # noqa: PLR2004  # the type and the share
            share = _unbase64(each.arguments[1], KEY)
            salt = share + mine.public_key().public_bytes_raw()
            file_key = _unwrapped(_wrap_key(mine, X25519PublicKey.from_public_bytes(share), salt), each.body)
            if file_key is not None:
                return file_key
    return _refuse(sentence("it is not encrypted for this key"))


def _refuse(why: str) -> bytes:
    raise AgeError(why)


def _unwrapped(key: bytes, body: bytes) -> bytes | None:
    """Return the file key, None with another key. The length is looked at first (partitioning oracles)."""
    if len(body) != FILE_KEY + TAG:
        raise AgeError(sentence("a key in it has another length"))
    try:
        return ChaCha20Poly1305(key).decrypt(bytes(12), body, None)
    except InvalidTag:
        return None


def _parse(sealed: bytes) -> tuple[list[Stanza], bytes, bytes, bytes]:
    """Take a file apart: stanzas, the header that is authenticated, its MAC, and the payload. Raises AgeError."""
    if not sealed.startswith(VERSION + b"\n"):
        raise AgeError(sentence("it is no file of age"))
    stanzas, at = list[Stanza](), len(VERSION) + 1
    while True:
        line, at = _line(sealed, at)
        if (mac := _MAC.fullmatch(line)) is not None:
            break
        if (opening := _STANZA.fullmatch(line)) is None:
            raise AgeError(sentence("its header is none"))
        body, at = _body(sealed, at)
        stanzas.append(Stanza(tuple(opening[1].decode("ascii").split(" ")), body))
    if not stanzas:
        raise AgeError(sentence("nobody can open it"))
    until = at - len(line) - 1 + len(b"---")
    return stanzas, sealed[:until], _unbase64(mac[1].decode("ascii"), 32), sealed[at:]


def _line(sealed: bytes, at: int) -> tuple[bytes, int]:
    end = sealed.find(b"\n", at, LONGEST_HEADER)
    if end < 0:
        raise AgeError(sentence("its header is none, or was cut off"))
    return sealed[at:end], end + 1


def _body(sealed: bytes, at: int) -> tuple[bytes, int]:
    """Read the lines of a stanza's body: full ones, and one that is shorter."""
    text = b""
    while True:
        line, at = _line(sealed, at)
        text += line
        if len(line) < COLUMNS:
            return _unbase64(text.decode("ascii", "replace")), at
        if len(line) > COLUMNS:
            raise AgeError(sentence("its header is none"))


def _chunks(content: bytes, size: int) -> Iterator[tuple[int, bytes, bool]]:
    """Yield number, content and whether it is the last; empty content is one empty chunk."""
    number = max(1, -(-len(content) // size))
    for at in range(number):
        yield at, content[at * size : (at + 1) * size], at == number - 1


def _chunk_nonce(number: int, *, last: bool) -> bytes:
    return number.to_bytes(11, "big") + (b"\1" if last else b"\0")


def _hkdf(secret: bytes, salt: bytes, info: bytes) -> bytes:
    return HKDF(SHA256(), KEY, salt, info).derive(secret)


def _mac(file_key: bytes, header: bytes) -> bytes:
    return hmac.digest(_hkdf(file_key, b"", b"header"), header, "sha256")


def _scrypt(passphrase: str, salt: bytes, work: int) -> bytes:
    return Scrypt(VERSION + b"/scrypt" + salt, KEY, 1 << work, 8, 1).derive(passphrase.encode())


def _base64(octets: bytes) -> str:
    return b64encode(octets).rstrip(b"=").decode()


def _unbase64(text: str, length: int | None = None) -> bytes:
    """Read canonical base64 without padding (RFC 4648, 3.5). Raises AgeError."""
    try:
        octets = b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError:
        octets = b"\0"
    if _base64(octets) != text or length not in {None, len(octets)}:
        raise AgeError(sentence("its header is damaged"))
    return octets


def bech32(prefix: str, octets: bytes) -> str:
    """Write octets in Bech32 (BIP 173), in lower case and without its limit of length."""
    data = _regroup(octets, 8, 5, pad=True)
    sum_ = _polymod([*_expanded(prefix), *data, *bytes(6)]) ^ 1
    digits = [*data, *(sum_ >> 5 * (5 - at) & 31 for at in range(6))]
    return f"{prefix}1{''.join(_ALPHABET[digit] for digit in digits)}"


def unbech32(prefix: str, text: str) -> bytes:
    """Read Bech32 with this prefix, whose case the text must have; no octets if it is none."""
    expected = prefix + "1"
    digits = [_ALPHABET.find(each) for each in text[len(expected) :].lower()]
    one_case = text == (text.upper() if prefix.isupper() else text.lower())
    if not text.startswith(expected) or not one_case or len(digits) < 6 or -1 in digits:  # noqa: PLR2004  # the sum
        return b""
    if _polymod([*_expanded(prefix.lower()), *digits]) != 1:
        return b""
    return bytes(_regroup(digits[:-6], 5, 8, pad=False))


def _expanded(prefix: str) -> list[int]:
    return [*(ord(each) >> 5 for each in prefix), 0, *(ord(each) & 31 for each in prefix)]


def _polymod(digits: Sequence[int]) -> int:
    """Return the sum of BIP 173 over digits of five bits."""
    generator = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
    sum_ = 1
    for digit in digits:
        top, sum_ = sum_ >> 25, (sum_ & 0x1FFFFFF) << 5 ^ digit
        for at, each in enumerate(generator):
            sum_ ^= each if top >> at & 1 else 0
    return sum_


def _regroup(digits: Sequence[int], before: int, after: int, *, pad: bool) -> list[int]:
    """Divide bits into other groups; without padding what is left must be zero, else nothing is returned."""
    number = 0
    for digit in digits:
        number = number << before | digit
    bits = len(digits) * before
    spare = -bits % after if pad else bits % after
    if pad:
        number <<= spare
    elif spare >= before or number & (1 << spare) - 1:
        return []
    else:
        number >>= spare
    groups = (bits + spare if pad else bits - spare) // after
    return [number >> after * (groups - 1 - at) & (1 << after) - 1 for at in range(groups)]
