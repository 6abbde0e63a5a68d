"""What entries are sealed and heads are signed with: kept apart from the ledger, for this user alone."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from pathlib import Path
from typing import Self

from aetherra.kernel.errors import DataFileError
from aetherra.kernel.signing import SigningError, SigningKey, SigningUnavailableError, signing_available
from aetherra.kernel.signing.disk import opened, read_bounded, why, write_whole

SECRET_NAME = "secret.key"  # noqa: S105  # the name of a file
SIGNING_NAME = "head.pem"
HMAC = "hmac-sha256:"


class LedgerKeys:
    """A secret that seals entries, and a key that signs heads: Ed25519 if there is one, else the secret again."""

    def __init__(self, secret: bytes, signing: SigningKey | None) -> None:
        self.secret = secret
        self._signing = signing
        self.id = HMAC + hashlib.sha256(secret).hexdigest()[:16] if signing is None else signing.public.id

    def __repr__(self) -> str:
        return f"<LedgerKeys {self.id}>"

    @classmethod
    def make(cls, folder: Path) -> Self:
        """Make keys for a new ledger; the secret stands beside its place until ``keep``.

        With the extra ``sign`` installed, heads are signed with Ed25519 from then on, and never by anything less.

        Raises:
            OSError: They cannot be written.
            DataFileError: The key for heads cannot be made or used.
        """
        signing = None
        if signing_available():
            signing = _signing_key(folder / SIGNING_NAME, make=True)
        secret = secrets.token_bytes(32)
        write_whole(folder / f"{SECRET_NAME}.new", secret.hex().encode() + b"\n", mode=0o600)
        return cls(secret, signing)

    @classmethod
    def load(cls, folder: Path) -> Self | None:
        """Return the keys of a folder; ``None`` if there are none.

        Raises:
            DataFileError: They cannot be read, are no keys, or need a library that is not installed.
        """
        secret = _secret(folder / SECRET_NAME) or _secret(folder / f"{SECRET_NAME}.new")
        if secret is None:
            return None
        path = folder / SIGNING_NAME
        return cls(secret, _signing_key(path) if path.exists() else None)

    @staticmethod
    def keep(folder: Path) -> None:
        """Put a secret that was made into its place; none is done if it is there.

        Raises:
            OSError: It cannot be moved.
        """
        beside = folder / f"{SECRET_NAME}.new"
        if beside.exists():
            beside.replace(folder / SECRET_NAME)

    def sign(self, statement: bytes) -> str:
        """Return the signature of what a head says, in hex."""
        if self._signing is not None:
            return self._signing.sign(statement).hex()
        return hmac.new(self.secret, statement, hashlib.sha256).hexdigest()

    def has_signed(self, signature: str, statement: bytes) -> bool:
        """Whether a signature is this key's of what a head says."""
        if self._signing is None:
            return hmac.compare_digest(self.sign(statement).encode(), signature.encode())
        try:
            raw = bytes.fromhex(signature)
        except ValueError:
            return False
        return raw.hex() == signature and self._signing.public.verify(raw, statement)


def _secret(path: Path) -> bytes | None:
    try:
        with opened(path) as (descriptor, told):
            if told.st_mode & 0o077:
                raise DataFileError(str(path), f"others may read this key (mode {told.st_mode & 0o777:04o}): chmod 600")
            text = read_bounded(descriptor, 1024)
        secret = bytes.fromhex(text.decode("ascii"))
    except FileNotFoundError:
        return None
    except OSError as exc:
        if isinstance(exc, DataFileError):
            raise
        raise DataFileError(str(path), f"cannot read the ledger's key: {why(exc)}") from exc
    except ValueError as exc:
        raise DataFileError(str(path), "is no key of a ledger") from exc
    if len(secret) != 32:
        raise DataFileError(str(path), "is no key of a ledger")
    return secret


def _signing_key(path: Path, *, make: bool = False) -> SigningKey:
    try:
        if make and not path.exists():
            SigningKey.generate().save(path)
        return SigningKey.load(path)
    except SigningUnavailableError as exc:
        raise DataFileError(str(path), f"the ledger's head is signed with this key, and {exc}") from exc
    except SigningError as exc:
        raise DataFileError(str(path), f"the ledger's head is signed with this key: {exc}") from exc
