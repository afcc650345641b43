"""An NTAG21x that can be written, protected and locked, and that is torn away at any write.

    tag = WritableNtag21x(213, uid)          # as delivered: an empty message
    tag.tear(5)                              # the fifth write from now on is its last, half done; then it is silent
    tag.whole()                              # it lies on the reader again

After the NXP data sheet NTAG213/215/216, rev. 3.2: lock bytes (8.5.2, 8.5.3), capabilities that only gain bits (8.5.5),
password (8.8), WRITE (10.4), PWD_AUTH (10.7), ACK and NAK (9.3). AUTH0 is heeded at once, the stricter reading of 8.8.
"""

from typing import Final

from tests.simulators.nfc_field import READ, Ntag21x

WRITE, PWD_AUTH = 0xA2, 0x1B
ACK: Final = b"\x0a"
NAK_AUTHENTICATION: Final = b"\x04"
CONFIG: Final = {213: 0x29, 215: 0x83, 216: 0xE3}
PROT, CFGLCK = 0x80, 0x40


class WritableNtag21x(Ntag21x):
    """`frozen` names a page that refuses to be written, as a worn one does; `stuck` one that keeps what it holds."""

    def __init__(
        self,
        kind: int,
        uid: bytes,
        message: bytes = b"",
        *,
        formatted: bool = True,
        frozen: int | None = None,
        stuck: int | None = None,
    ) -> None:
        super().__init__(kind, uid, message, formatted=formatted)
        self.frozen, self.stuck = frozen, stuck
        self.config = CONFIG[kind]
        self.memory[4 * self.config : 4 * self.config + 4] = bytes.fromhex("040000ff")
        self.password, self.pack = b"\xff" * 4, b"\0\0"
        self.writes = 0
        self.wrong_passwords = 0
        self._left: int | None = None
        self._authenticated = False

    def tear(self, at: int) -> None:
        """Be taken away in the middle of the write of this number, counted from 1."""
        self._left = at

    @property
    def torn(self) -> bool:
        """Whether it was taken away."""
        return self._left == 0

    def whole(self) -> None:
        """Lie on the reader again."""
        self._left = None

    @property
    def auth0(self) -> int:
        """The first page that asks for the password."""
        return self.memory[4 * self.config + 3]

    def protect(self, password: bytes, pack: bytes, auth0: int = 4, *, reading: bool = False, tries: int = 0) -> None:
        """Be protected by somebody."""
        self.password, self.pack = password, pack
        self.memory[4 * self.config + 3] = auth0
        self.memory[4 * self.config + 4] = (PROT if reading else 0) | tries

    def power_off(self) -> None:
        super().power_off()
        self._authenticated = False

    def frame(self, data: bytes) -> bytes | None:
        return None if self.torn else super().frame(data)

    def command(self, data: bytes) -> bytes | None:
        if data[0] == WRITE and len(data) == 6:
            return self._write(data[1], data[2:])
        if data[0] == PWD_AUTH and len(data) == 5:
            return self._authenticate(data[1:])
        if data[0] == READ and len(data) == 2 and self._forbidden(data[1], reading=True):
            return self._refuse()
        return super().command(data)

    def _refuse(self) -> bytes:
        self._authenticated = False
        return super()._refuse()

    def _authenticate(self, password: bytes) -> bytes:
        if password != self.password:
            self.wrong_passwords += 1
            self._selected = self._authenticated = False
            return NAK_AUTHENTICATION
        self._authenticated = True
        return self.pack

    def _forbidden(self, page: int, *, reading: bool = False) -> bool:
        if self._authenticated or page < self.auth0:
            return False
        return not reading or bool(self.memory[4 * self.config + 4] & PROT)

    def _locked(self, page: int) -> bool:
        low, high = self.memory[10], self.memory[11]
        if page == 3:
            return bool(low & 0x08)
        if page < 16:
            return bool((low >> page if page < 8 else high >> (page - 8)) & 1)
        if page < self.config - 1:
            step = 2 if self.kind == 213 else 16
            bits = int.from_bytes(self.memory[4 * (self.config - 1) :][:2], "little")
            return bool(bits >> ((page - 16) // step) & 1)
        return page in {self.config, self.config + 1} and bool(self.memory[4 * self.config + 4] & CFGLCK)

    def _write(self, page: int, octets: bytes) -> bytes | None:
        refused = page < 2 or page >= self.PAGES[self.kind] or page == self.frozen
        if refused or self._locked(page) or self._forbidden(page):
            return self._refuse()
        self.writes += 1
        if self._left is not None:
            self._left -= 1
            if self._left == 0:
                self._store(page, octets[:2])
                return None
        if page != self.stuck:
            self._store(page, octets)
        return ACK

    def _store(self, page: int, octets: bytes) -> None:
        at = 4 * page
        if page == self.config + 2:
            self.password = octets + self.password[len(octets) :]
        elif page == self.config + 3:
            self.pack = octets[:2]
        elif page == 2:
            for offset, octet in enumerate(octets[2:], 2):
                self.memory[at + offset] |= octet
        elif page in {3, self.config - 1}:  # bits that are set stay set
            for offset, octet in enumerate(octets):
                self.memory[at + offset] |= octet
        else:
            self.memory[at : at + len(octets)] = octets
