"""Tasks that run beside a body for as long as it lasts, and do not change what it raises."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
from anyio.abc import TaskGroup


@asynccontextmanager
async def tasks_beside() -> AsyncGenerator[TaskGroup]:
    """Lend a group whose tasks are cancelled when the body ends; what that raises is raised as it is, in no group."""
    failure: Exception | None = None
    async with anyio.create_task_group() as group:
        try:
            yield group
        except Exception as exc:  # noqa: BLE001  # raised again below, not wrapped in the task group's own
            failure = exc
        finally:
            group.cancel_scope.cancel()
    if failure is not None:
        raise failure
