"""Being alone with the state: one integrator at a time, also beside another generation of the plugin that has one."""

import fcntl
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio

from aetherra.plugins.self_incorporation.integration.blobs import telling
from aetherra.plugins.self_incorporation.integration.errors import BusyError

__all__ = ["Alone"]

LOCK_NAME = "integrator.lock"


class Alone:
    """A lock among the tasks of one integrator, and among integrators over one folder.

    The lock between them is the operating system's and ends with the process, however that ends.

    Args:
        folder: Where the lock file is; it must be there when the lock is asked for.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / LOCK_NAME
        self._tasks = anyio.Lock()

    @asynccontextmanager
    async def held(self, *, wait: bool = True) -> AsyncGenerator[None]:
        """Be the only one who changes the state, or relies on it.

        Args:
            wait: Whether to wait for the tasks of this integrator that came before.

        Raises:
            BusyError: Another integrator is in the middle of something, as during a swap of its plugin; without
                ``wait``, also this one.
            DataFileError: The lock file cannot be made.
        """
        if not wait and self._tasks.locked():
            raise BusyError("integrator", "it is in the middle of an integration; try again after it")
        await self._tasks.acquire()
        try:
            descriptor = self._lock()
            try:
                yield
            finally:
                os.close(descriptor)
        finally:
            self._tasks.release()

    def _lock(self) -> int:
        with telling(self._path, "locked"):
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as exc:
                os.close(descriptor)
                problem = "another generation of the plugin is in the middle of an integration; try again after it"
                raise BusyError("integrator", problem) from exc
            except BaseException:
                os.close(descriptor)
                raise
        return descriptor
