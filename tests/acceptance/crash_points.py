"""Death at a chosen moment: before, in the middle of, or after the n-th thing that a process does to a folder."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

How = Literal["before", "half", "after"]
BY_DESCRIPTOR = ("write", "writev", "pwrite", "fsync", "fdatasync", "ftruncate")
BY_PATH = ("open", "replace", "rename", "unlink", "remove", "truncate", "link")


class Fate:
    """Kills this process at its n-th call that writes, syncs, renames or opens something in a folder.

    It stands before the functions of ``os``, which is how the project writes; whoever has a call counted hears of it.

    Args:
        folder: Nothing elsewhere counts.
        number: The call to die at, from 1 on; 0 never dies.
        how: ``half`` writes half of the bytes first, where bytes are written, and is ``before`` where none are.
        tell: Called once before death, with the name of the call.
    """

    def __init__(self, folder: str, number: int, how: How, tell: Callable[[str], object]) -> None:
        self._folder = os.path.realpath(folder) + os.sep
        self._number = number
        self._how = how
        self._tell = tell
        self._count = 0
        self._real = {name: getattr(os, name) for name in (*BY_DESCRIPTOR, *BY_PATH)}

    def arm(self) -> None:
        """From now on, count."""
        for name in (*BY_DESCRIPTOR, *BY_PATH):
            setattr(os, name, self._instead(name))

    def _instead(self, name: str) -> Callable[..., Any]:
        real = self._real[name]

        def call(where: Any, *args: Any, **more: Any) -> Any:
            if not self._counts(name, where, args):
                return real(where, *args, **more)
            self._count += 1
            if self._count != self._number:
                return real(where, *args, **more)
            self._tell(name)
            if self._how == "half" and name == "write":
                real(where, args[0][: len(args[0]) // 2])
            elif self._how == "after":
                real(where, *args, **more)
            os.kill(os.getpid(), signal.SIGKILL)
            raise AssertionError("still alive")

        return call

    def _counts(self, name: str, where: Any, args: tuple[Any, ...]) -> bool:
        if name in BY_PATH:
            if name == "open" and not args[0] & (os.O_WRONLY | os.O_RDWR):
                return False
            path = os.path.abspath(os.fsdecode(where)) if isinstance(where, (str, bytes, os.PathLike)) else ""  # noqa: PTH100  # asks no disk
        else:
            try:
                path = str(Path(f"/proc/self/fd/{where}").readlink())
            except OSError:
                return False
        return path.startswith(self._folder)
