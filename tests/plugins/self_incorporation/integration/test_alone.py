"""One at a time: among tasks by waiting, among generations by refusing."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from aetherra.plugins.self_incorporation.integration.alone import Alone
from aetherra.plugins.self_incorporation.integration.errors import IntegrationError


async def test_tasks_wait_and_other_generations_are_refused(tmp_path: Path) -> None:
    """Nobody comes in while somebody is in, and it is free again afterwards, also after an error."""
    mine, theirs = Alone(tmp_path), Alone(tmp_path)
    order: list[str] = []

    async def second() -> None:
        async with mine.held():
            order.append("second")

    async with anyio.create_task_group() as group, mine.held():
        group.start_soon(second)
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(IntegrationError, match="another generation"):
            await theirs.held().__aenter__()
        order.append("first")
    async with theirs.held():
        order.append("theirs")
    with pytest.raises(ZeroDivisionError):
        await fail_in(mine)
    async with mine.held(), anyio.create_task_group():
        order.append("again")
    assert order == ["first", "second", "theirs", "again"]


async def fail_in(alone: Alone) -> None:
    async with alone.held():
        _ = 1 / 0
