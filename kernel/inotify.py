"""Linux's own watch on folders: inotify, read by the event loop itself, without a tick.

watchfiles waits at least one of its steps for further events; here a save is told as soon as the file is closed.
"""

from __future__ import annotations

import ctypes
import errno
import logging
import os
import struct
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Self

import anyio
import anyio.to_thread

IN_CLOSE_WRITE, IN_MOVED_FROM, IN_MOVED_TO, IN_CREATE, IN_DELETE = 0x8, 0x40, 0x80, 0x100, 0x200
IN_DELETE_SELF, IN_MOVE_SELF, IN_Q_OVERFLOW, IN_IGNORED = 0x400, 0x800, 0x4000, 0x8000
IN_ONLYDIR, IN_ISDIR = 0x1000000, 0x40000000
_TOLD = IN_CLOSE_WRITE | IN_MOVED_FROM | IN_MOVED_TO | IN_CREATE | IN_DELETE | IN_DELETE_SELF | IN_MOVE_SELF
_LIMITS = {errno.ENOSPC: "fs.inotify.max_user_watches", errno.EMFILE: "fs.inotify.max_user_instances"}
_EXHAUSTED = (errno.ENOSPC, errno.EMFILE, errno.ENFILE, errno.ENOMEM)
_EVENT = struct.Struct("iIII")
_BYTES = 64 * 1024
log = logging.getLogger("aetherra.kernel.inotify")
Listing = Callable[[Path], Iterable[tuple[Path, bool]]]
"""Returns what is in a folder, and of each whether it is a folder to be watched; nothing of one that cannot be read."""


class Inotify:
    """A watch on folders, and on what is below some of them; on from when its block is entered until it is left.

    A write is told when its writer closes the file. Folders that come later are watched as they come, and what is in
    them by then is told; so are links to folders. What has left a place is told under that no more. If the system loses
    events, the folders themselves are told, as anything may have changed, and watched anew. Below, what cannot be read
    is left out.

    Args:
        flat: Folders to watch alone.
        deep: Folders to watch with all that is below.
        listing: Tells what is below.

    Raises:
        OSError: The system has no inotify, or no more of it; ``ENOSPC`` where its limit of watches is reached.
        FileNotFoundError: A folder is not there. Both are raised as the block is entered.
    """

    def __init__(self, flat: Iterable[Path], deep: Iterable[Path], listing: Listing) -> None:
        self._deep_roots = set(deep)
        self._listing = listing
        self._roots = {*flat, *self._deep_roots}
        self._paths: dict[int, set[Path]] = {}
        self._watches: dict[Path, int] = {}
        self._deep: set[int] = set()

    async def __aenter__(self) -> Self:
        if not sys.platform.startswith("linux"):
            raise OSError("inotify is Linux's")
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = self._call("inotify_init1", os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            await anyio.to_thread.run_sync(self._watch_all)
        except BaseException:
            os.close(self._descriptor)
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def _call(self, name: str, *args: object) -> int:
        result: int = getattr(self._libc, name)(*args)
        if result < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), *(os.fsdecode(arg) for arg in args if isinstance(arg, bytes)))
        return result

    def _watch_all(self) -> None:
        for folder in self._roots:
            try:
                self._watch(folder)
            except PermissionError as exc:
                log.warning("changes in %s are not noticed: %s", folder, exc)
        for _ in self._watch_below(self._deep_roots):
            pass

    def _watch(self, folder: Path) -> int:
        mask = ctypes.c_uint32(_TOLD | IN_ONLYDIR)
        watch = self._call("inotify_add_watch", self._descriptor, os.fsencode(folder), mask)
        if self._watches.get(folder, watch) != watch:  # another folder was there before
            self._forget(folder)
        self._paths.setdefault(watch, set()).add(folder)  # links may lead to one folder by two ways
        self._watches[folder] = watch
        return watch

    def _watch_anew(self) -> None:
        """Watch all that there is now, whatever was missed."""
        before = list(self._paths)
        for kept in (self._paths, self._watches, self._deep):
            kept.clear()
        for folder in self._roots - self._deep_roots:
            with suppress(PermissionError, FileNotFoundError, NotADirectoryError):
                self._watch(folder)
        for _ in self._watch_below(self._deep_roots):
            pass
        for watch in before:
            if watch not in self._paths:
                self._remove(watch)

    def _forget(self, gone: Path) -> None:
        """Have nothing told under a path, or below it, as what was there is elsewhere."""
        if gone not in self._watches:
            return
        for path in [path for path in self._watches if path == gone or gone in path.parents]:
            watch = self._watches.pop(path)
            self._paths[watch].discard(path)
            if not self._paths[watch]:
                self._remove(watch)

    def _remove(self, watch: int) -> None:
        self._paths.pop(watch, None)
        self._deep.discard(watch)
        with suppress(OSError):  # its folder is gone, and it with that
            self._call("inotify_rm_watch", self._descriptor, watch)

    def _watch_below(self, folders: Iterable[Path]) -> Iterator[Path]:
        """Watch folders and those below, and yield all that is in them."""
        ahead = list(folders)
        entered: set[int] = set()
        while ahead:
            folder = ahead.pop()
            try:
                watch = self._watch(folder)  # before it is listed, so that nothing comes in between
            except OSError as exc:
                if exc.errno in _EXHAUSTED:
                    raise
                continue  # it went away, or is not ours to read
            self._deep.add(watch)
            for path, is_watched in self._listing(folder) if watch not in entered else ():
                yield path
                if is_watched:
                    ahead.append(path)
            entered.add(watch)

    def _watch_new(self, folders: set[Path]) -> set[Path]:
        """Watch those of some folders that have come, and are to be watched, and return all that is in them."""
        above = {folder.parent for folder in folders}
        watched = {path for folder in above for path, is_watched in self._listing(folder) if is_watched}
        return set(self._watch_below(folders & watched))

    async def changed(self) -> set[Path]:
        """Return the paths that were written, came or went since the last call, waiting for one if need be.

        Raises:
            OSError: The system has no more watches for folders that have come.
        """
        while True:
            await anyio.wait_readable(self._descriptor)
            changed, folders, is_whole = self._read()
            if not is_whole:
                await anyio.to_thread.run_sync(self._watch_anew)
            elif folders:
                changed |= await anyio.to_thread.run_sync(self._watch_new, folders)
            if changed:
                return changed

    def _read(self) -> tuple[set[Path], set[Path], bool]:
        """Return what was told, the folders of that whose inside is to be watched, and whether all was told."""
        changed: set[Path] = set()
        folders: set[Path] = set()
        is_whole = True
        try:
            data = os.read(self._descriptor, _BYTES)
        except BlockingIOError:
            return changed, folders, is_whole
        offset = 0
        while offset < len(data):
            watch, mask, _, length = _EVENT.unpack_from(data, offset)
            offset += _EVENT.size
            name = os.fsdecode(data[offset : offset + length].rstrip(b"\0"))
            offset += length
            is_whole &= not mask & IN_Q_OVERFLOW
            told = self._told(watch, mask, name)
            changed |= told
            if watch in self._deep and mask & (IN_CREATE | IN_MOVED_TO):
                folders |= {path for path in told if mask & IN_ISDIR or os.path.islink(path)}  # noqa: PTH114  # a call a file
            if name and mask & (IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE):
                for path in told:
                    self._forget(path)
        return changed, folders, is_whole

    def _told(self, watch: int, mask: int, name: str) -> set[Path]:
        if mask & IN_Q_OVERFLOW:
            return set(self._roots)
        if mask & IN_IGNORED:
            for path in self._paths.pop(watch, ()):
                del self._watches[path]
            self._deep.discard(watch)
            return set()
        return {folder / name if name else folder for folder in self._paths.get(watch, ())}


def remedy_of(exc: OSError) -> str:
    """Return what is to be done where the system gives no watch, to stand behind the error; empty if none is known."""
    return f"; raise {_LIMITS[exc.errno]}" if exc.errno in _LIMITS else ""
