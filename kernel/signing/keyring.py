"""The key ring: whose keys are known here, from when to when, which are revoked, and which are trusted most."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal, Self

import msgspec

from aetherra.kernel.filelock import FileLock
from aetherra.kernel.signing.disk import make_folder, opened, read_bounded, why, write_whole
from aetherra.kernel.signing.errors import KeyRingError, UnknownKeyError
from aetherra.kernel.signing.keys import PublicKey

RING_NAME = "governance/keyring.json"
"""Where a host's ring is, in its data directory."""
LARGEST_RING = 1 << 22
PATIENCE = 10.0
"""Seconds that a change waits for another one."""


class RingKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A key in a ring. Times are Unix seconds.

    Attributes:
        public: The key, as its text.
        owner: Whose it is, for people.
        added_at: Since when it is in the ring.
        not_before: From when on it is valid; ``None``: from ever.
        not_after: Until when; ``None``: for ever.
        revoked_at: Since when it is not to be relied on; ``None``: it is. Nothing that it ever signed is valid then,
            as who has stolen a key can write any date.
        revoked_because: Why.
        pinned: Whether what it signed may have the highest tier.
    """

    public: str
    owner: str
    added_at: float
    not_before: float | None = None
    not_after: float | None = None
    revoked_at: float | None = None
    revoked_because: str = ""
    pinned: bool = False

    def __post_init__(self) -> None:
        self.public_key()

    def public_key(self) -> PublicKey:
        """The key itself."""
        return PublicKey.parse(self.public)

    @property
    def id(self) -> str:
        """What the key is called."""
        return self.public_key().id

    def state(self, now: float) -> Literal["revoked", "expired", "not yet valid", "pinned", "known"]:
        """How far it is relied on at a time; the first of these that is so."""
        if self.revoked_at is not None:
            return "revoked"
        if self.not_after is not None and now > self.not_after:
            return "expired"
        if self.not_before is not None and now < self.not_before:
            return "not yet valid"
        return "pinned" if self.pinned else "known"


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    format: Literal["aetherra-keyring/1"]
    changed_at: float = 0.0
    keys: tuple[RingKey, ...] = ()


class KeyRing:
    """Known keys, in a file that only its owner may write. Each change is one step; several processes may make some.

    Use ``load`` or ``in_memory``. What is read here is what the file said when it was loaded or last changed by this
    object; ``reload`` looks again.

    Args:
        path: The file, which need not be there yet; ``None`` keeps the ring in memory.
        clock: Tells the Unix time.
    """

    def __init__(self, path: Path | None, *, clock: Callable[[], float] = time.time) -> None:
        self.path = path
        self.changed_at = 0.0
        self._clock = clock
        self._keys: dict[str, RingKey] = {}

    @classmethod
    def load(cls, path: Path, *, clock: Callable[[], float] = time.time) -> Self:
        """Read a ring; where there is no file, nobody is known.

        Raises:
            KeyRingError: It cannot be read, is no ring, or others may write it.
        """
        ring = cls(path, clock=clock)
        ring.reload()
        return ring

    @classmethod
    def in_memory(cls, *, clock: Callable[[], float] = time.time) -> Self:
        """A ring that ends with the process."""
        return cls(None, clock=clock)

    @property
    def keys(self) -> tuple[RingKey, ...]:
        """All keys, in the order they were added."""
        return tuple(self._keys.values())

    def get(self, key_id: str) -> RingKey | None:
        """The key of that name, if it is in the ring."""
        return self._keys.get(key_id)

    def reload(self) -> None:
        """Read the file again.

        Raises:
            KeyRingError: As ``load``; then nobody is known.
        """
        if self.path is not None:
            try:
                file = _read(self.path)
                keys = _by_id(file.keys, self.path)
            except KeyRingError:
                self._keys = {}
                raise
            self.changed_at, self._keys = file.changed_at, keys

    def add(
        self,
        public: PublicKey,
        owner: str,
        *,
        not_before: float | None = None,
        not_after: float | None = None,
        pinned: bool = False,
    ) -> RingKey:
        """Take a key in.

        Raises:
            KeyRingError: It is in the ring already, also if revoked; it would never be valid; nobody is named as its
                owner; or the ring cannot be read or written.
        """
        now = self._clock()
        added = RingKey(
            public=public.text,
            owner=owner.strip(),
            added_at=now,
            not_before=not_before,
            not_after=not_after,
            pinned=pinned,
        )
        if not added.owner:
            raise KeyRingError(self._where, "a key needs an owner, so that people know whom they rely on")
        if not_before is not None and not_after is not None and not_after <= not_before:
            raise KeyRingError(self._where, f"key {public.id!r} would end before it begins")

        def change(keys: dict[str, RingKey]) -> RingKey:
            there = keys.get(public.id)
            if there is not None:
                is_revoked = there.revoked_at is not None
                state = "it is revoked, which is not taken back" if is_revoked else f"its owner is {there.owner!r}"
                raise KeyRingError(self._where, f"key {public.id!r} is in the ring already: {state}")
            return added

        return self._change(change)

    def pin(self, key_id: str) -> RingKey:
        """Trust a key most: what it signed may have the highest tier.

        Raises:
            UnknownKeyError: It is not in the ring.
            KeyRingError: It is revoked, or the ring cannot be read or written.
        """

        def change(keys: dict[str, RingKey]) -> RingKey:
            key = self._known(keys, key_id)
            if key.revoked_at is not None:
                raise KeyRingError(
                    self._where, f"key {key_id!r} is revoked ({key.revoked_because}) and cannot be pinned"
                )
            return msgspec.structs.replace(key, pinned=True)

        return self._change(change)

    def unpin(self, key_id: str) -> RingKey:
        """Trust a key no more than any other.

        Raises:
            UnknownKeyError: It is not in the ring.
            KeyRingError: The ring cannot be read or written.
        """
        return self._change(lambda keys: msgspec.structs.replace(self._known(keys, key_id), pinned=False))

    def revoke(self, key_id: str, reason: str) -> RingKey:
        """Rely on a key no more, nor on anything that it ever signed. The first reason stays, and this is not undone.

        Raises:
            UnknownKeyError: It is not in the ring.
            KeyRingError: No reason is given, or the ring cannot be read or written.
        """
        if not reason.strip():
            raise KeyRingError(self._where, "a revocation needs a reason, for those who read it later")

        def change(keys: dict[str, RingKey]) -> RingKey:
            key = self._known(keys, key_id)
            if key.revoked_at is not None:
                return key
            return msgspec.structs.replace(key, revoked_at=self._clock(), revoked_because=reason.strip(), pinned=False)

        return self._change(change)

    # Inside

    @property
    def _where(self) -> str:
        return "the ring in memory" if self.path is None else str(self.path)

    def _known(self, keys: dict[str, RingKey], key_id: str) -> RingKey:
        if key_id not in keys:
            raise UnknownKeyError(key_id, tuple(keys))
        return keys[key_id]

    def _change(self, change: Callable[[dict[str, RingKey]], RingKey]) -> RingKey:
        """Replace or add one key, given all that are there."""
        if self.path is None:
            return self._put(change(self._keys))
        try:
            make_folder(self.path.parent)
        except OSError as exc:
            raise KeyRingError(self._where, f"its folder cannot be made: {why(exc)}") from exc
        lock = FileLock(self.path.with_name(self.path.name + ".lock"))
        try:
            with lock.held(PATIENCE):
                self.reload()
                changed = self._put(change(self._keys))
                file = _File(format="aetherra-keyring/1", changed_at=self.changed_at, keys=self.keys)
                write_whole(self.path, msgspec.json.format(msgspec.json.encode(file), indent=2) + b"\n", mode=0o600)
        except OSError as exc:
            self.reload()
            raise KeyRingError(self._where, f"cannot be written: {why(exc)}") from exc
        finally:
            lock.close()
        return changed

    def _put(self, key: RingKey) -> RingKey:
        self._keys[key.id] = key
        self.changed_at = max(self.changed_at, self._clock())
        return key


def _read(path: Path) -> _File:
    try:
        with opened(path, follow=True) as (descriptor, told):
            _check_access(path, told)
            return msgspec.json.decode(read_bounded(descriptor, LARGEST_RING), type=_File)
    except FileNotFoundError:
        return _File(format="aetherra-keyring/1")
    except OSError as exc:
        raise KeyRingError(str(path), f"cannot be read: {why(exc)}") from exc
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise KeyRingError(str(path), f"is no key ring: {exc}; put a good copy there, or move it away") from exc


def _check_access(path: Path, told: os.stat_result) -> None:
    """See that nobody else may put a key in."""
    if told.st_uid not in (os.geteuid(), 0):
        raise KeyRingError(str(path), "is somebody else's file; what it says of keys is not to be relied on")
    if told.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise KeyRingError(str(path), f"others may write it (mode {stat.S_IMODE(told.st_mode):04o}); 'chmod 600' it")
    folder = path.resolve().parent.stat()
    if folder.st_mode & stat.S_IWOTH and not folder.st_mode & stat.S_ISVTX:
        raise KeyRingError(str(path), "others may write its folder, and so replace it; 'chmod o-w' the folder")


def _by_id(keys: tuple[RingKey, ...], path: Path) -> dict[str, RingKey]:
    found: dict[str, RingKey] = {}
    for key in keys:
        if key.id in found:
            raise KeyRingError(str(path), f"has key {key.id!r} twice")
        found[key.id] = key
    return found
