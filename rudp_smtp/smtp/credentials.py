"""What a server keeps of a password: nothing that gives it back. RFC 5802 section 3, RFC 7914, RFC 4013 (SASLprep)."""

import base64
import binascii
import hashlib
import hmac
import stringprep
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from rudp_smtp.errors import ConfigError, LocalProtocolError

Entropy = Callable[[int], bytes]  # so many octets that nobody can guess

SALT_OCTETS = 16
ITERATIONS = 4096  # RFC 7677 section 4: the least; what makes guessing slow is scrypt, wherever the password is shown
SCRYPT_COST, SCRYPT_BLOCK, SCRYPT_LANES = 1 << 14, 8, 1
SCRYPT_MEMORY = 64 << 20
NAME_OCTETS = PASSWORD_OCTETS = 1024

_PROHIBITED = (
    stringprep.in_table_c12, stringprep.in_table_c21_c22, stringprep.in_table_c3, stringprep.in_table_c4,
    stringprep.in_table_c5, stringprep.in_table_c6, stringprep.in_table_c7, stringprep.in_table_c8,
    stringprep.in_table_c9, stringprep.in_table_a1,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ScramKeys:
    """What SCRAM-SHA-256 needs to check a proof and to give one (RFC 5802 section 3)."""

    salt: bytes
    iterations: int
    stored_key: bytes = field(repr=False)
    server_key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class StoredPassword:
    """One password: a scrypt hash for the mechanisms that show it, SCRAM's keys for those that do not."""

    salt: bytes
    digest: bytes = field(repr=False)
    scram: ScramKeys

    def matches(self, password: str) -> bool:
        try:
            prepared = saslprep(password)
        except LocalProtocolError:
            return False
        return hmac.compare_digest(_scrypt(prepared, self.salt), self.digest)

    def encode(self) -> str:
        """One printable line; `decode_password` reads it."""
        keys = self.scram
        fields = (self.salt, self.digest, keys.salt, keys.stored_key, keys.server_key)
        return f"scrypt-scram-sha-256${keys.iterations}$" + "$".join(base64.b64encode(item).decode() for item in fields)


class Credentials(Protocol):
    """Who may authenticate, and how it is checked."""

    def find(self, name: str) -> StoredPassword | None:
        """What is kept for a name as `saslprep` leaves it; None if there is no such user. ConfigError: ask later."""


class MemoryCredentials:
    """Credentials that were read before."""

    def __init__(self, passwords: Mapping[str, StoredPassword]) -> None:
        self._passwords = dict(passwords)

    def find(self, name: str) -> StoredPassword | None:
        return self._passwords.get(name)


def store_password(password: str, entropy: Entropy, *, iterations: int = ITERATIONS) -> StoredPassword:
    """What to keep of a new password."""
    prepared = saslprep(password)
    salt = entropy(SALT_OCTETS)
    return StoredPassword(salt, _scrypt(prepared, salt), scram_keys(prepared, entropy(SALT_OCTETS), iterations))


def decode_password(line: str) -> StoredPassword:
    kind, *fields = line.split("$")
    try:
        if kind != "scrypt-scram-sha-256" or len(fields) != 6 or not fields[0].isdecimal():
            raise ValueError
        salt, digest, scram_salt, stored, server = (base64.b64decode(item, validate=True) for item in fields[1:])
    except (ValueError, binascii.Error):
        # What it holds is not told: it may be a password that somebody put there by mistake.
        raise ConfigError("not a stored password: it does not begin with scrypt-scram-sha-256$") from None
    return StoredPassword(salt, digest, ScramKeys(scram_salt, int(fields[0]), stored, server))


def scram_keys(prepared: str, salt: bytes, iterations: int) -> ScramKeys:
    """StoredKey and ServerKey of a password that `saslprep` has seen."""
    client_key, server_key = derive_keys(prepared, salt, iterations)
    return ScramKeys(salt, iterations, hashlib.sha256(client_key).digest(), server_key)


def derive_keys(prepared: str, salt: bytes, iterations: int) -> tuple[bytes, bytes]:
    """ClientKey and ServerKey, RFC 5802 section 3."""
    salted = hashlib.pbkdf2_hmac("sha256", prepared.encode("utf-8"), salt, iterations)
    return hmac.digest(salted, b"Client Key", "sha256"), hmac.digest(salted, b"Server Key", "sha256")


def saslprep(text: str) -> str:
    """A name or password in the one form in which it is compared, RFC 4013; raises on what has none."""
    mapped = "".join(
        " " if stringprep.in_table_c12(char) else char for char in text if not stringprep.in_table_b1(char)
    )
    prepared = unicodedata.ucd_3_2_0.normalize("NFKC", mapped)
    if not prepared or any(table(char) for char in prepared for table in _PROHIBITED):
        raise LocalProtocolError("a name or password that is empty, or holds a character that it may not")
    if any(stringprep.in_table_d1(char) for char in prepared):  # RFC 3454 section 6: right to left
        ends = (prepared[0], prepared[-1])
        if any(map(stringprep.in_table_d2, prepared)) or not all(map(stringprep.in_table_d1, ends)):
            raise LocalProtocolError("a name or password that mixes directions of writing")
    return prepared


def _scrypt(prepared: str, salt: bytes) -> bytes:
    secret = prepared.encode("utf-8")
    return hashlib.scrypt(
        secret, salt=salt, n=SCRYPT_COST, r=SCRYPT_BLOCK, p=SCRYPT_LANES, maxmem=SCRYPT_MEMORY, dklen=32
    )
