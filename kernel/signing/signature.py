"""Signatures: made beside what they are of, and checked against a ring of keys."""

from __future__ import annotations

import base64
import binascii
import os
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from aetherra.kernel.signing.disk import opened, placed, read_bounded, why, write_whole
from aetherra.kernel.signing.errors import UnsignableError
from aetherra.kernel.signing.keyring import KeyRing, RingKey
from aetherra.kernel.signing.keys import SIGNATURE_SIZE, SigningKey
from aetherra.kernel.signing.manifest import FILE_SIGNATURE, FOLDER_SIGNATURE, Manifest, canonical, manifest_of
from aetherra.kernel.signing.tree import Fault, ManifestFile, folders_of, read, walk

SKEW = 300.0
"""Seconds that two clocks may differ by."""
LARGEST_SIGNATURE = 1 << 26
"""Bytes of a signature file: some 400,000 files."""
NAMED = 5
"""Files that a reason names at most."""
PURPOSE = b"aetherra-signature/1\n"
"""What stands before the bytes that are signed: nothing else that a key signs is taken for a signature of ours."""

Status = Literal[
    "valid",
    "unsigned",
    "unknown_key",
    "revoked",
    "expired",
    "not_yet_valid",
    "changed",
    "missing_file",
    "extra_file",
    "malformed",
]


class _Statement(msgspec.Struct, frozen=True, kw_only=True):
    """What the bytes of a signature are over."""

    key: str
    manifest: Manifest
    signed_at: int


class Signature(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A signature, as its file has it.

    Attributes:
        key: The name of the key that made it.
        signed_at: When, by the signer's clock; Unix seconds.
        manifest: What of.
        signature: The signature itself, in base64.
    """

    format: Literal["aetherra-signature/1"]
    key: Annotated[str, Meta(pattern="^ed25519:[0-9a-f]{16}$")]
    signed_at: Annotated[int, Meta(ge=0, lt=2**53)]
    manifest: Manifest
    signature: str

    def signed_bytes(self) -> bytes:
        """What the key signed: all that the file says, but for the signature."""
        return PURPOSE + canonical(_Statement(key=self.key, manifest=self.manifest, signed_at=self.signed_at))

    def raw(self) -> bytes:
        """The signature's 64 bytes.

        Raises:
            ValueError: It is no base64, or of another length.
        """
        try:
            made = base64.b64decode(self.signature, validate=True)
        except binascii.Error as exc:
            raise ValueError(f"`$.signature`: no base64: {exc}") from exc
        if len(made) != SIGNATURE_SIZE:
            raise ValueError(f"`$.signature`: expected {SIGNATURE_SIZE} bytes, got {len(made)}")
        return made


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """What came of checking a signature.

    Attributes:
        status: Whether it holds, or the first thing that keeps it from it.
        reason: That in words, for people.
        key: The name of the key that is said to have signed it; empty if it is not signed.
        owner: Whose key the ring says that is.
        pinned: Whether it is pinned there; never if the signature does not hold.
        signed_at: When, by the signer's word.
        manifest: What was signed; ``None`` unless the signature holds. A caller who uses the files later compares them
            with this: what was checked a moment ago may have been changed since.
    """

    status: Status
    reason: str
    key: str = ""
    owner: str = ""
    pinned: bool = False
    signed_at: int = 0
    manifest: Manifest | None = None

    @property
    def ok(self) -> bool:
        """Whether the signature holds."""
        return self.status == "valid"


def signature_file(path: Path) -> Path:
    """Where the signature of a file or folder is: ``x.py.sig`` beside ``x.py``, ``SIGNATURE.json`` in a folder."""
    path = placed(path)
    return path / FOLDER_SIGNATURE if _is_folder(path) else path.with_name(path.name + FILE_SIGNATURE)


def sign(
    path: Path,
    key: SigningKey,
    *,
    version: str = "",
    capabilities: tuple[str, ...] = (),
    now: float | None = None,
) -> Signature:
    """Sign a file, or all files below a folder, and put the signature in its place, instead of one that is there.

    Args:
        path: Of what.
        key: By whom.
        version: Of the item, if it has one.
        capabilities: What it needs, by its author's word.
        now: The Unix time, if not the clock's.

    Raises:
        UnsignableError: It cannot be signed as it is, or the signature cannot be written; says which file, and why.
    """
    manifest = manifest_of(path, version=version, capabilities=capabilities)
    bare = Signature(
        format="aetherra-signature/1",
        key=key.public.id,
        signed_at=int(time.time() if now is None else now),
        manifest=manifest,
        signature="",
    )
    try:
        made = base64.b64encode(key.sign(bare.signed_bytes())).decode("ascii")
    except UnicodeEncodeError as exc:
        raise UnsignableError(str(path), f"what is not UTF-8 cannot be signed: {exc.object!r}") from exc
    signature = msgspec.structs.replace(bare, signature=made)
    place = signature_file(path)
    try:
        write_whole(place, msgspec.json.format(msgspec.json.encode(signature), indent=2) + b"\n", mode=0o666)
    except OSError as exc:
        raise UnsignableError(str(place), f"the signature cannot be written: {why(exc)}") from exc
    return signature


def verify(path: Path, ring: KeyRing, now: float | None = None, *, only: Collection[str] | None = None) -> Verified:
    """Check the signature of a file or folder, and that it is as it was signed.

    A clock that was set back to before the last change of the ring brings no expired key to life again, and what is
    said to be signed later than now is not valid yet. What is wrong with files or signature is an answer, no error.

    Args:
        path: Of what.
        ring: The keys that are known.
        now: The Unix time, if not the clock's.
        only: The files in a folder that the caller is going to use, by path; others are not looked at. Each that was
            signed has to be there and unchanged all the same. Without it, one file more than was signed is one too
            many.

    Raises:
        SigningUnavailableError: The extra ``sign`` is not installed, and it is signed by a key that the ring has.
    """
    path = placed(path)
    now = time.time() if now is None else now
    if os.path.islink(path):  # noqa: PTH114  # this one raises nothing
        return Verified(status="changed", reason=f"{str(path)!r} is a symbolic link; check what it leads to")
    signature = _read(path)
    if isinstance(signature, Verified):
        return signature
    key = ring.get(signature.key)
    refused = _authentic(signature, key, ring, now)
    if refused is None:
        refused = _same(path, signature.manifest, only)
    status, reason = refused or ("valid", f"signed by {key.owner!r}" if key else "")
    return Verified(
        status=status,
        reason=reason,
        key=signature.key,
        owner=key.owner if key is not None else "",
        pinned=refused is None and key is not None and key.pinned,
        signed_at=signature.signed_at,
        manifest=signature.manifest if refused is None else None,
    )


_Refusal = tuple[Status, str]


def _is_folder(path: Path) -> bool:
    return os.path.isdir(path)  # noqa: PTH112  # this one raises nothing


def _read(path: Path) -> Signature | Verified:
    """Read the signature that is beside or in something, or say why there is none to go by."""
    place = signature_file(path)
    if not os.path.lexists(path):
        return Verified(status="missing_file", reason=f"there is nothing at {str(path)!r}")
    try:
        with opened(place) as (descriptor, _):
            signature = msgspec.json.decode(read_bounded(descriptor, LARGEST_SIGNATURE), type=Signature)
        signature.raw()
        signature.signed_bytes()
    except FileNotFoundError:
        return Verified(status="unsigned", reason=f"there is no {place.name!r}")
    except OSError as exc:
        return Verified(status="malformed", reason=f"{place.name!r} cannot be read: {why(exc)}")
    except (msgspec.MsgspecError, ValueError, RecursionError) as exc:
        return Verified(status="malformed", reason=f"{place.name!r} is no signature: {exc}")
    return signature


def _authentic(signature: Signature, key: RingKey | None, ring: KeyRing, now: float) -> _Refusal | None:
    """Say why the signature is not one to rely on now."""
    if key is None:
        return "unknown_key", f"signed by {signature.key}, which is not in the key ring"
    if key.revoked_at is not None:
        return "revoked", f"the key of {key.owner!r} is revoked: {key.revoked_because}"
    if not key.public_key().verify(signature.raw(), signature.signed_bytes()):
        return "changed", "the signature is not of this manifest by this key: one of them was changed"
    if signature.signed_at > now + SKEW:
        return "not_yet_valid", "signed later than now: is the clock right?"
    latest = max(now, ring.changed_at)
    if key.not_before is not None and min(now, signature.signed_at) < key.not_before:
        return "not_yet_valid", f"the key of {key.owner!r} is not valid yet, or was not when this was signed"
    if key.not_after is not None and max(latest, signature.signed_at) > key.not_after:
        is_behind = max(now, signature.signed_at) <= key.not_after
        clock = "; the ring was changed later than now: is the clock right?" if is_behind else ""
        return "expired", f"the key of {key.owner!r} has expired{clock}"
    return None


def _same(path: Path, manifest: Manifest, only: Collection[str] | None) -> _Refusal | None:
    """Say in what a file or folder differs from what was signed."""
    is_folder = _is_folder(path)
    if manifest.name != path.name or (manifest.kind == "folder") != is_folder:
        here = "folder" if is_folder else "file"
        return "changed", f"the signature is of the {manifest.kind} {manifest.name!r}, not of the {here} {path.name!r}"
    signed = {file.path: file for file in manifest.files}
    used = None if only is None else {*only} - {FOLDER_SIGNATURE}
    wanted = None if used is None else used | set(signed)
    there = {found.path: found for found in (walk(path, wanted) if is_folder else [read(path)])}
    if is_folder:
        there.pop(FOLDER_SIGNATURE, None)
    folders = folders_of(signed)
    changed = [found for found in there.values() if _differs(found, signed, folders)]
    if changed:
        return "changed", f"not as it was signed: {_names(changed)}"
    missing = [file for name, file in signed.items() if name not in there]
    if missing:
        return "missing_file", f"signed, but not there: {_names(missing)}"
    extra = [name for name in sorted(there if used is None else used) if name not in signed]
    if extra:
        return "extra_file", f"not signed: {_names([there.get(name, name) for name in extra])}"
    return None


def _differs(found: ManifestFile | Fault, signed: Mapping[str, ManifestFile], folders: set[str]) -> bool:
    """Whether something is not what was signed; what was not signed at all is another matter."""
    if isinstance(found, Fault):
        return not found.path or found.path in signed or found.path in folders
    return found.path in signed and found != signed[found.path]


def _names(found: Sequence[ManifestFile | Fault | str]) -> str:
    more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
    return ", ".join(map(_name, found[:NAMED])) + more


def _name(found: ManifestFile | Fault | str) -> str:
    if isinstance(found, str):
        return repr(found)
    return repr(found.path) + (f" ({found.problem})" if isinstance(found, Fault) else "")
