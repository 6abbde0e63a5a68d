"""What can go wrong with keys and signatures; a signature that does not hold is no error but an answer."""

from __future__ import annotations

from aetherra.registry import AetherraError


class SigningError(AetherraError):
    """Something about keys or signatures cannot be done; the text says what, where, and what to do."""


class SigningUnavailableError(SigningError, ImportError):
    """The library that signs and checks is not installed."""

    def __str__(self) -> str:
        return "signatures need the package 'cryptography': pip install 'aetherra[sign]'"


class PathError(SigningError, ValueError):
    """A file cannot be used for what it is meant to be; ``path`` says which."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(path, problem)
        self.path, self.problem = path, problem

    def __str__(self) -> str:
        return f"{self.path!r}: {self.problem}"


class KeyFileError(PathError):
    """A private or public key cannot be read from its file, or written to it."""


class PassphraseNeededError(KeyFileError):
    """A private key is encrypted, and no passphrase was given."""


class KeyRingError(PathError):
    """A key ring cannot be read, trusted or written; nobody's signature is valid by it."""


class UnsignableError(PathError):
    """A file or folder cannot be signed as it is."""


class UnknownKeyError(SigningError, LookupError):
    """There is no key of that name in the ring."""

    def __init__(self, key: str, known: tuple[str, ...] = ()) -> None:
        super().__init__(key, known)
        self.key, self.known = key, known

    def __str__(self) -> str:
        return f"there is no key {self.key!r} in the ring; there are: {', '.join(self.known) or 'none'}"


class WeakKeyError(SigningError, ValueError):
    """A public key cannot be used: it is none, or anybody could sign in its name."""
