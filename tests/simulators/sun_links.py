"""SUN messages as a tag writes them, made after NXP AN12196 and not after the decoder."""

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.cmac import CMAC

UID = bytes.fromhex("04de5f1eacc040")
META_KEY, FILE_KEY = bytes(range(16)), bytes(range(16, 32))
PAGE = "https://id.acme.example/t/watch"


def aes_cmac(key: bytes, message: bytes) -> bytes:
    """Return AES-CMAC (NIST SP 800-38B)."""
    made = CMAC(AES(key))
    made.update(message)
    return made.finalize()


def picc_data(uid: bytes, counter: int, meta_key: bytes, padding: bytes = b"\xa5" * 5) -> bytes:
    """Return encrypted PICCData (NT4H2421Gx, 9.3.4.1): C7, UID, counter LSB first, random padding."""
    encryptor = Cipher(AES(meta_key), CBC(bytes(16))).encryptor()
    return encryptor.update(b"\xc7" + uid + counter.to_bytes(3, "little") + padding) + encryptor.finalize()


def sdm_mac(uid: bytes, counter: int, file_key: bytes, signed: bytes = b"") -> bytes:
    """Return SDMMAC (NT4H2421Gx, 9.3.8.1) over what stands before it from SDMMACInputOffset on."""
    session = aes_cmac(file_key, bytes.fromhex("3cc300010080") + uid + counter.to_bytes(3, "little"))
    return aes_cmac(session, signed)[1::2]


def encrypted(
    counter: int, page: str = PAGE, *, uid: bytes = UID, key: bytes = FILE_KEY, meta: bytes = META_KEY
) -> str:
    """Return a link with encrypted UID and counter, and a MAC over nothing else."""
    sign = "&" if "?" in page else "?"
    data = picc_data(uid, counter, meta).hex().upper()
    return f"{page}{sign}picc_data={data}&cmac={sdm_mac(uid, counter, key).hex().upper()}"


def plain(counter: int, page: str = PAGE, *, uid: bytes = UID, key: bytes = FILE_KEY) -> str:
    """Return a link with UID and counter in plain text; the counter MSB first."""
    mac = sdm_mac(uid, counter, key).hex().upper()
    return f"{page}?uid={uid.hex().upper()}&ctr={counter:06X}&cmac={mac}"


def whole(counter: int, page: str = PAGE, *, uid: bytes = UID, key: bytes = FILE_KEY, meta: bytes = META_KEY) -> str:
    """Return a link of which the MAC covers everything after `://`."""
    unsigned = f"{page}?picc_data={picc_data(uid, counter, meta).hex().upper()}&cmac="
    mac = sdm_mac(uid, counter, key, unsigned.partition("://")[2].encode())
    return unsigned + mac.hex().upper()
