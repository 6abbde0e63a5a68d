"""Signatures: who made a file or folder, and whether it is as they made it.

Ed25519 over a manifest of all files; ``docs/signatures.md`` explains it for its users.
"""

from aetherra.kernel.signing.errors import (
    KeyFileError,
    KeyRingError,
    PassphraseNeededError,
    SigningError,
    SigningUnavailableError,
    UnknownKeyError,
    UnsignableError,
    WeakKeyError,
)
from aetherra.kernel.signing.keyring import RING_NAME, KeyRing, RingKey
from aetherra.kernel.signing.keys import PublicKey, SigningKey, signing_available
from aetherra.kernel.signing.manifest import Manifest, manifest_of
from aetherra.kernel.signing.signature import Signature, Status, Verified, sign, signature_file, verify
from aetherra.kernel.signing.tree import ManifestFile

__all__ = [
    "RING_NAME",
    "KeyFileError",
    "KeyRing",
    "KeyRingError",
    "Manifest",
    "ManifestFile",
    "PassphraseNeededError",
    "PublicKey",
    "RingKey",
    "Signature",
    "SigningError",
    "SigningKey",
    "SigningUnavailableError",
    "Status",
    "UnknownKeyError",
    "UnsignableError",
    "Verified",
    "WeakKeyError",
    "manifest_of",
    "sign",
    "signature_file",
    "signing_available",
    "verify",
]
