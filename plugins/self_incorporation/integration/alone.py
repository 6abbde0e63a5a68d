"""Being alone with the state: one integrator at a time, also beside another generation of the plugin that has one."""

import fcntl
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio

from aetherra.plugins.self_incorporation.integration.blobs import telling
from aetherra.plugins.self_incorporation.integration.errors import IntegrationError

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
    async def held(self) -> AsyncGenerator[None]:
        """Be the only one who changes the state, or relies on it; tasks of this integrator wait for their turn.

        Raises:
            IntegrationError: Another integrator is in the middle of something, as during a swap of its plugin.
            DataFileError: The lock file cannot be made.
        """
        async with self._tasks:
            descriptor = self._lock()
            try:
                yield
            finally:
                os.close(descriptor)

    def _lock(self) -> int:
        with telling(self._path, "locked"):
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as exc:
                os.close(descriptor)
                problem = "another generation of the plugin is in the middle of an integration; try again after it"
                raise IntegrationError("integrator", problem) from exc
            except BaseException:
                os.close(descriptor)
                raise
        return descriptor
