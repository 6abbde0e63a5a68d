"""Ed25519 keys: one that signs, and one by which others check.

Public keys need no library; signing and checking need the extra ``sign``, which is imported when it is used.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import stat
from collections.abc import Generator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Self

import msgspec

from aetherra.kernel.signing.disk import opened, read_bounded, why, write_new
from aetherra.kernel.signing.errors import KeyFileError, PassphraseNeededError, SigningUnavailableError, WeakKeyError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

KEY_SIZE = 32
SIGNATURE_SIZE = 64
LARGEST_KEY_FILE = 1 << 16
LONGEST_PASSPHRASE = 1000
PREFIX = "ed25519:"
DER = bytes.fromhex("302a300506032b6570032100")
"""What stands before the key in a SubjectPublicKeyInfo (RFC 8410, section 4)."""
PRIME = 2**255 - 19
_EIGHTH = 2707385501144840649318225287225658788936804267575313519463743609750303402022
SMALL_ORDER = frozenset([0, 1, PRIME - 1, _EIGHTH, PRIME - _EIGHTH])
"""The y of points whose order divides 8: by such a key, anybody's signature of anything would hold."""


def signing_available() -> bool:
    """Whether the library that signs and checks is installed."""
    try:
        return find_spec("cryptography") is not None
    except (ImportError, ValueError):
        return False


class PublicKey(msgspec.Struct, frozen=True):
    """A key by which signatures are checked.

    Raises:
        WeakKeyError: It has not 32 bytes, or is a point of small order, in whose name anybody could sign.
    """

    raw: bytes

    def __post_init__(self) -> None:
        if len(self.raw) != KEY_SIZE:
            raise WeakKeyError(f"expected an Ed25519 key of {KEY_SIZE} bytes, got {len(self.raw)}")
        if (int.from_bytes(self.raw, "little") & (2**255 - 1)) % PRIME in SMALL_ORDER:
            raise WeakKeyError("this Ed25519 key is a point of small order: anybody could sign in its name")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a key from its text (``ed25519:`` and base64), or from a PEM file's content.

        Raises:
            WeakKeyError: It is neither, or no key to rely on.
        """
        lines = text.strip().splitlines()
        pem = len(lines) > 2 and lines[0] == "-----BEGIN PUBLIC KEY-----" and lines[-1] == "-----END PUBLIC KEY-----"
        if any("PRIVATE KEY" in line for line in lines[:1]):
            raise WeakKeyError("this is a private key: it stays with its owner; a public one is needed")
        if not pem and (len(lines) != 1 or not lines[0].startswith(PREFIX)):
            raise WeakKeyError("expected 'ed25519:' and a key in base64, or a public key in PEM")
        try:
            body = base64.b64decode("".join(lines[1:-1]) if pem else lines[0].removeprefix(PREFIX), validate=True)
        except binascii.Error as exc:
            raise WeakKeyError(f"this public key is no base64: {exc}") from exc
        if pem and not body.startswith(DER):
            raise WeakKeyError("this public key is not of the kind Ed25519")
        return cls(body.removeprefix(DER) if pem else body)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a key from a file.

        Raises:
            KeyFileError: It cannot be read, or is no public key; says why.
        """
        try:
            with opened(path, follow=True) as (descriptor, _):
                return cls.parse(read_bounded(descriptor, LARGEST_KEY_FILE).decode("ascii"))
        except OSError as exc:
            raise KeyFileError(str(path), f"cannot read a public key: {why(exc)}") from exc
        except (WeakKeyError, UnicodeDecodeError) as exc:
            raise KeyFileError(str(path), f"is no public key: {exc}") from exc

    @property
    def id(self) -> str:
        """What it is called: short enough to read out, and enough to tell two keys of one ring apart."""
        return PREFIX + hashlib.sha256(self.raw).hexdigest()[:16]

    @property
    def text(self) -> str:
        """All of it, on one line."""
        return PREFIX + base64.b64encode(self.raw).decode("ascii")

    def pem(self) -> str:
        """Write it as other tools read it."""
        body = base64.b64encode(DER + self.raw).decode("ascii")
        return f"-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n"

    def save(self, path: Path) -> None:
        """Write it as PEM to a new file, for all to read.

        Raises:
            KeyFileError: There is such a file already, which is left alone, or it cannot be written.
        """
        _write_new(path, self.pem().encode("ascii"), mode=0o644)

    def verify(self, signature: bytes, data: bytes) -> bool:
        """Whether the owner of this key signed these bytes.

        Raises:
            SigningUnavailableError: The extra ``sign`` is not installed.
        """
        with _needing_cryptography():
            from cryptography.exceptions import InvalidSignature  # noqa: PLC0415
            from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415

        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, data)
        except (InvalidSignature, ValueError):
            return False
        return True


class SigningKey:
    """A private key. It is never printed; ``public`` is what others may have.

    Use ``generate`` or ``load``.
    """

    __slots__ = ("_private", "public")

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        self.public = PublicKey(private.public_key().public_bytes_raw())

    def __repr__(self) -> str:
        return f"<SigningKey {self.public.id}>"

    @classmethod
    def generate(cls) -> Self:
        """Make a new key.

        Raises:
            SigningUnavailableError: The extra ``sign`` is not installed.
        """
        with _needing_cryptography():
            from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415

        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def load(cls, path: Path, *, passphrase: str | None = None) -> Self:
        """Read a key from a PEM file (PKCS #8) that is its owner's alone.

        Raises:
            PassphraseNeededError: It is encrypted, and no passphrase was given.
            KeyFileError: It cannot be read, is somebody else's, others may read or write it, it is no Ed25519 key, or
                the passphrase is wrong.
            SigningUnavailableError: The extra ``sign`` is not installed.
        """
        with _needing_cryptography():
            from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415
            from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415
            from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415

        data = _private_bytes(path)
        try:
            private = load_pem_private_key(data, None if passphrase is None else _secret(passphrase))
        except TypeError as exc:  # so it says that a passphrase is missing, or one too many
            if passphrase is None:
                raise PassphraseNeededError(str(path), "this key is encrypted, and needs its passphrase") from exc
            raise KeyFileError(str(path), "this key is not encrypted, and takes no passphrase") from exc
        except (ValueError, UnsupportedAlgorithm) as exc:
            wrong = "is no private key in PEM" if passphrase is None else "the passphrase is wrong, or this is no key"
            raise KeyFileError(str(path), f"{wrong}; 'aetherra keys new' makes one") from exc
        if not isinstance(private, Ed25519PrivateKey):
            raise KeyFileError(
                str(path), "is a private key, but not of the kind Ed25519; 'aetherra keys new' makes one"
            )
        return cls(private)

    def save(self, path: Path, *, passphrase: str | None = None) -> None:
        """Write it as PEM (PKCS #8) to a new file, for this user alone (0600), encrypted if there is a passphrase.

        Raises:
            KeyFileError: There is such a file already, which is left alone, or it cannot be written.
        """
        with _needing_cryptography():
            from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415
                BestAvailableEncryption,
                Encoding,
                NoEncryption,
                PrivateFormat,
            )

        if passphrase is not None and not 0 < len(_secret(passphrase)) <= LONGEST_PASSPHRASE:
            raise KeyFileError(str(path), f"expected a passphrase of 1 to {LONGEST_PASSPHRASE} bytes")
        encryption = NoEncryption() if passphrase is None else BestAvailableEncryption(_secret(passphrase))
        data = self._private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
        _write_new(path, data, mode=0o600)

    def sign(self, data: bytes) -> bytes:
        """Sign these bytes; the same bytes make the same signature."""
        return self._private.sign(data)


def _write_new(path: Path, data: bytes, *, mode: int) -> None:
    try:
        write_new(path, data, mode=mode)
    except FileExistsError as exc:
        raise KeyFileError(str(path), "there is a file already, and a key is not written over; name another") from exc
    except OSError as exc:
        raise KeyFileError(str(path), f"cannot write a key: {why(exc)}") from exc


def _secret(passphrase: str) -> bytes:
    return passphrase.encode(errors="surrogateescape")


def _private_bytes(path: Path) -> bytes:
    try:
        with opened(path, follow=True) as (descriptor, told):
            if told.st_uid not in (os.geteuid(), 0):
                raise KeyFileError(str(path), "is somebody else's file; a private key is its owner's alone")
            if told.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                mode = stat.S_IMODE(told.st_mode)
                raise KeyFileError(str(path), f"others may read or write this key (mode {mode:04o}); 'chmod 600' it")
            return read_bounded(descriptor, LARGEST_KEY_FILE)
    except OSError as exc:
        raise KeyFileError(str(path), f"cannot read a private key: {why(exc)}") from exc


@contextmanager
def _needing_cryptography() -> Generator[None]:
    try:
        yield
    except ImportError as exc:
        raise SigningUnavailableError from exc
