"""Linux's own watch on folders: inotify, read by the event loop itself, without a thread and without a tick.

watchfiles waits at least one of its steps for further events; here a save is told as soon as the file is closed.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Self

import anyio

IN_CLOSE_WRITE, IN_MOVED_FROM, IN_MOVED_TO, IN_CREATE, IN_DELETE = 0x8, 0x40, 0x80, 0x100, 0x200
IN_DELETE_SELF, IN_MOVE_SELF, IN_Q_OVERFLOW, IN_IGNORED = 0x400, 0x800, 0x4000, 0x8000
IN_ONLYDIR, IN_ISDIR = 0x1000000, 0x40000000
_TOLD = IN_CLOSE_WRITE | IN_MOVED_FROM | IN_MOVED_TO | IN_CREATE | IN_DELETE | IN_DELETE_SELF | IN_MOVE_SELF
_LEFT_OUT = frozenset({"__pycache__", ".git", ".hg", ".venv", "node_modules"})
"""Folders of which a change is no change of code, and which can be large."""
_EVENT = struct.Struct("iIII")
_BYTES = 64 * 1024


class Inotify:
    """A watch on folders, and on what is below some of them; a context manager that ends it.

    A write is told when its writer closes the file. Folders that come later are watched as they come, and what is in
    them by then is told. If the system loses events, the folders themselves are told, as anything may have changed.

    Args:
        flat: Folders to watch alone.
        deep: Folders to watch with all that is below.

    Raises:
        OSError: The system has no inotify, or no more of it; ``ENOSPC`` where its limit of watches is reached.
        FileNotFoundError: A folder is not there.
    """

    def __init__(self, flat: Iterable[Path], deep: Iterable[Path]) -> None:
        if not sys.platform.startswith("linux"):
            raise OSError("inotify is Linux's")
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = self._call("inotify_init1", os.O_NONBLOCK | os.O_CLOEXEC)
        self._paths: dict[int, set[Path]] = {}
        self._deep: set[int] = set()
        self._roots = {*flat, *deep}
        try:
            for folder in self._roots:
                self._watch(folder)
            for folder in deep:
                self._watch_below(folder)
        except BaseException:
            os.close(self._descriptor)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def _call(self, name: str, *args: object) -> int:
        result: int = getattr(self._libc, name)(*args)
        if result < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), *(os.fsdecode(arg) for arg in args if isinstance(arg, bytes)))
        return result

    def _watch(self, folder: Path) -> int:
        mask = ctypes.c_uint32(_TOLD | IN_ONLYDIR)
        watch = self._call("inotify_add_watch", self._descriptor, os.fsencode(folder), mask)
        self._paths.setdefault(watch, set()).add(folder)  # links may lead to one folder by two ways
        return watch

    def _watch_below(self, folder: Path) -> set[Path]:
        """Watch a folder and those below, and return all that is in them."""
        found: set[Path] = set()
        ahead = [folder]
        entered: set[int] = set()
        while ahead:
            folder = ahead.pop()
            try:
                watch = self._watch(folder)  # before it is listed, so that nothing comes in between
                entries = [] if watch in entered else list(os.scandir(folder))
            except (FileNotFoundError, NotADirectoryError):
                continue
            entered.add(watch)
            self._deep.add(watch)
            for entry in entries:
                found.add(folder / entry.name)
                if entry.name not in _LEFT_OUT and entry.is_dir():
                    ahead.append(folder / entry.name)
        return found

    async def changed(self) -> set[Path]:
        """Return the paths that were written, came or went since the last call, waiting for one if need be.

        Raises:
            OSError: The system has no more watches for folders that have come.
        """
        while True:
            await anyio.wait_readable(self._descriptor)
            if changed := self._read():
                return changed

    def _read(self) -> set[Path]:
        try:
            data = os.read(self._descriptor, _BYTES)
        except BlockingIOError:
            return set()
        changed: set[Path] = set()
        offset = 0
        while offset < len(data):
            watch, mask, _, length = _EVENT.unpack_from(data, offset)
            offset += _EVENT.size
            name = os.fsdecode(data[offset : offset + length].rstrip(b"\0"))
            offset += length
            changed |= self._told(watch, mask, name)
        return changed

    def _told(self, watch: int, mask: int, name: str) -> set[Path]:
        if mask & IN_Q_OVERFLOW:
            return set(self._roots)
        folders = self._paths.get(watch, set())
        if mask & IN_IGNORED:
            self._paths.pop(watch, None)
            self._deep.discard(watch)
            return set()
        changed = {folder / name if name else folder for folder in folders}
        if mask & IN_ISDIR and mask & (IN_CREATE | IN_MOVED_TO) and watch in self._deep:
            for folder in list(changed):
                changed |= self._watch_below(folder)
        return changed
