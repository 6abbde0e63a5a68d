"""Edits of a person's files: each with the bytes from before in a file of its own, so that it can be undone."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
import threading
from contextlib import suppress
from pathlib import Path

import msgspec

from aetherra.plugins import AetherraError

FOLDER = "edits"


class EditError(AetherraError, RuntimeError):
    """A file was not edited, or not put back, and is as it was."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(path, problem)
        self.path, self.problem = path, problem

    def __str__(self) -> str:
        return f"{self.path} was left as it is: {self.problem}"


class _Record(msgspec.Struct, frozen=True):
    """One edit: the file, what its bytes were and became, by their SHA-256, and where those from before are kept."""

    path: str
    before: str
    after: str
    backup: str


class Edits:
    """Replaces files whole, and puts them back; a folder of the data directory keeps the last bytes of each.

    One edit is made at a time, and none that was withdrawn before it was made: whoever asked for it may have given up
    while a thread was still on its way to the file. Any thread may call.

    Args:
        data_dir: The folder to keep them below.
    """

    def __init__(self, data_dir: Path) -> None:
        self._folder = data_dir / FOLDER
        self._one = threading.Lock()
        self._withdrawn: dict[Path, bytes] = {}

    def want(self, path: Path) -> None:
        """Let a file be edited whose edit was withdrawn."""
        with self._one:
            self._withdrawn.pop(path, None)

    def withdraw(self, path: Path, before: bytes) -> None:
        """Have a file hold what it did before an edit that is wanted no more, though a thread may yet come to make it.

        Raises:
            EditError: As for `restore`.
            OSError: It cannot be read or written.
        """
        with self._one:
            self._withdrawn[path] = before
            if path.read_bytes() != before:
                self._restore(path, before)

    def replace(self, path: Path, before: bytes, after: bytes) -> str:
        """Write ``after`` to a file that holds ``before``, and return where that is kept.

        Raises:
            EditError: The file holds something else by now, or the edit was withdrawn.
            OSError: The backup or the file cannot be written.
        """
        with self._one:
            if self._withdrawn.get(path) == before:
                raise EditError(str(path), "the edit was withdrawn, as nobody had seen it to work")
            return self._replace(path, before, after)

    def _replace(self, path: Path, before: bytes, after: bytes) -> str:
        digest = _digest(before)
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        backup = self._folder / f"{path.name}.{digest[:16]}"
        _write(backup, before, 0o600)
        record = _Record(str(path), digest, _digest(after), str(backup))
        _write(self._record_of(path), msgspec.json.encode(record), 0o600)
        if path.read_bytes() != before:
            raise EditError(str(path), "somebody has edited it meanwhile")
        _write(path, after, stat.S_IMODE(path.stat().st_mode))
        return str(backup)

    def restore(self, path: Path) -> None:
        """Put back what a file held before its last edit.

        Raises:
            EditError: There was none, its backup is gone or damaged, or somebody has edited the file since.
            OSError: It cannot be written.
        """
        with self._one:
            self._restore(path)

    def _restore(self, path: Path, only: bytes | None = None) -> None:
        try:
            record = msgspec.json.decode(self._record_of(path).read_bytes(), type=_Record)
            before = Path(record.backup).read_bytes()
            now = path.read_bytes()
        except (OSError, msgspec.DecodeError) as exc:
            raise EditError(str(path), f"there is no edit of it to undo: {exc}") from exc
        if only is not None and before != only:
            raise EditError(str(path), "the last edit of it is another one")
        if _digest(before) != record.before:
            raise EditError(str(path), f"its backup {record.backup} is damaged")
        if _digest(now) != record.after:
            raise EditError(str(path), f"somebody has edited it since; what it was is in {record.backup}")
        _write(path, before, stat.S_IMODE(path.stat().st_mode))

    def _record_of(self, path: Path) -> Path:
        return self._folder / f"{_digest(os.fsencode(path))[:32]}.json"


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _write(path: Path, content: bytes, mode: int) -> None:
    """Have a file hold these bytes, whole, in one step."""
    handle, beside = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            os.fchmod(file.fileno(), mode)
            file.flush()
            os.fsync(file.fileno())
        Path(beside).replace(path)
    except BaseException:
        with suppress(FileNotFoundError):
            Path(beside).unlink()
        raise
