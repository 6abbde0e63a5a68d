"""Blobs: what files held before and after an integration, kept by the hash of their content."""

import hashlib
import os
import stat
from collections.abc import Collection, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from msgspec import Struct

from aetherra.plugins import DataFileError
from aetherra.plugins.self_incorporation.index.reading import regular_file

__all__ = ["Blob", "Blobs", "look", "sync_folder", "telling"]

CHUNK: Final = 1 << 20
DAMAGED: Final = "is damaged: its content does not have the hash that it is kept under"
_NAME: Final = 64


class Blob(Struct, frozen=True):
    """A file's content as it was read, and its permissions.

    Attributes:
        sha256: In hex; the blob's name.
        size: In bytes.
        mode: Permission bits.
    """

    sha256: str
    size: int
    mode: int


class Blobs:
    """A folder of contents, each under its hash: on disk before it is named anywhere, and never written again.

    Args:
        folder: Theirs alone; made, for this user alone, when first used.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def take(self, path: Path) -> Blob:
        """Keep what a file holds now, as it is read in one go.

        Raises:
            DataFileError: It is no regular file, a link included, or cannot be read, or there is no room.
        """
        self._make(self.folder)
        taking = self.folder / f"taking-{os.getpid()}"
        with telling(path, "kept"), _opened(path) as (descriptor, mode):
            sha256, size = _copy(descriptor, taking, 0o400)
        with telling(self.path(sha256), "written"):
            self._settle(taking, sha256)
        return Blob(sha256, size, mode)

    def put(self, data: bytes) -> str:
        """Keep some bytes, and return their hash.

        Raises:
            DataFileError: There is no room, or no right to write.
        """
        self._make(self.folder)
        sha256 = hashlib.sha256(data).hexdigest()
        taking = self.folder / f"taking-{os.getpid()}"
        with telling(self.path(sha256), "written"):
            _write(taking, 0o400, [data])
            self._settle(taking, sha256)
        return sha256

    def path(self, sha256: str) -> Path:
        """Return where a content is, or would be."""
        return self.folder / sha256[:2] / sha256

    def read(self, sha256: str) -> bytes:
        """Return a content.

        Raises:
            DataFileError: It is not here, or is not what its name says.
        """
        path = self.path(sha256)
        with telling(path, "read"):
            data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != sha256:
            raise DataFileError(str(path), DAMAGED)
        return data

    def check(self, sha256: str) -> None:
        """See that a content is here as it was.

        Raises:
            DataFileError: It is not here, or is not what its name says.
        """
        path = self.path(sha256)
        if look(path).sha256 != sha256:
            raise DataFileError(str(path), DAMAGED)

    def write(self, sha256: str, target: Path, mode: int) -> None:
        """Make a new file of a content, on disk when this returns; its name is not, before its folder is synced.

        Raises:
            DataFileError: The content is not here or is damaged, or there is no room; ``target`` may hold a part of it.
        """
        source = self.path(sha256)
        with telling(source, "read"):
            descriptor = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            with telling(target, "written"):
                found, _ = _copy(descriptor, target, mode)
        finally:
            os.close(descriptor)
        if found != sha256:
            raise DataFileError(str(source), DAMAGED)

    def keep_only(self, wanted: Collection[str]) -> int:
        """Forget all other contents, and what a killed process was taking; return how many are gone.

        Raises:
            DataFileError: One cannot be removed.
        """
        gone = 0
        with telling(self.folder, "tidied up"):
            for path in sorted(self.folder.glob("taking-*")):
                path.unlink()
            for path in sorted(self.folder.glob("[0-9a-f][0-9a-f]/*")):
                if len(path.name) == _NAME and path.name not in wanted:
                    path.unlink()
                    gone += 1
        return gone

    def _settle(self, taking: Path, sha256: str) -> None:
        """Give what was taken its name."""
        target = self.path(sha256)
        self._make(target.parent)
        os.replace(taking, target)  # noqa: PTH105  # of the same content, if it is there
        sync_folder(target.parent)

    def _make(self, folder: Path) -> None:
        if not folder.is_dir():
            with telling(folder, "made"):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                sync_folder(folder.parent)


def look(path: Path) -> Blob:
    """Return what a file holds now, and keep nothing.

    Raises:
        DataFileError: It is no regular file, a link included, or cannot be read.
    """
    with telling(path, "read"), _opened(path) as (descriptor, mode):
        hashed, size = hashlib.sha256(), 0
        while chunk := os.read(descriptor, CHUNK):
            hashed.update(chunk)
            size += len(chunk)
    return Blob(hashed.hexdigest(), size, mode)


@contextmanager
def _opened(path: Path) -> Generator[tuple[int, int]]:
    """Open a regular file, and yield its descriptor and permission bits; a pipe is not waited for."""
    with regular_file(path) as (descriptor, told):
        yield descriptor, stat.S_IMODE(told.st_mode)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power cut.

    Raises:
        OSError: The folder cannot be opened.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def telling(path: Path, what: str) -> Generator[None]:
    """Have an ``OSError`` say which file it is about, as one of a full disk does not.

    Raises:
        DataFileError: In place of it.
    """
    try:
        yield
    except DataFileError:
        raise
    except OSError as exc:
        raise DataFileError(str(path), f"cannot be {what}: {exc.strerror or exc}") from exc


def _copy(source: int, target: Path, mode: int) -> tuple[str, int]:
    """Copy what is left of an open file into a new one, and return the hash and size of what went there."""
    hashed = hashlib.sha256()
    size = 0

    def chunks() -> Generator[bytes]:
        nonlocal size
        while chunk := os.read(source, CHUNK):
            hashed.update(chunk)
            size += len(chunk)
            yield chunk

    _write(target, mode, chunks())
    return hashed.hexdigest(), size


def _write(target: Path, mode: int, chunks: Generator[bytes] | list[bytes]) -> None:
    target.unlink(missing_ok=True)  # what a killed process left
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        for chunk in chunks:
            view = memoryview(chunk)
            while view:
                view = view[os.write(descriptor, view) :]
        os.fchmod(descriptor, mode)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
