"""The actuator on memory: asks plugins to let go of what they can do without, and gives it back to the system."""

from __future__ import annotations

import gc

from aetherra.plugins.homeostasis.actuators.actuator import Actuator, Applied, NoArguments
from aetherra.plugins.homeostasis.actuators.heap import trim
from aetherra.plugins.homeostasis.sensors import resident_bytes

LEAST = 2**20
"""Bytes less that are a change: a process breathes by as much as some hundred KiB by itself."""


class ReleaseMemory(Actuator[NoArguments]):
    """Asks all plugins by the hook ``release_memory``, collects garbage, and trims the heap where the libc can."""

    name = "release_memory"
    description = (
        "ask plugins to let go of memory, collect garbage, trim the heap; what they forget is not brought back"
    )
    arguments_type = NoArguments
    seconds = 30.0

    def component(self, target: str) -> str:
        """Return what it is done to: the whole process, whatever it is done for."""
        del target
        return "process.memory"

    async def plan(self, target: str, arguments: NoArguments) -> Applied:
        """Say what it is; what it brings, nobody knows before."""
        del target, arguments
        return Applied(True, "ask all plugins to release memory")

    async def apply(self, target: str, arguments: NoArguments) -> Applied:
        """Measure the memory before and after: what plugins say that they released is not what counts."""
        del target, arguments
        before = resident_bytes()
        answered = dict(self.ctx.hooks.call("release_memory"))
        gc.collect()
        await trim()
        after = resident_bytes()
        if before is None or after is None:
            return Applied(True, f"{len(answered)} plugins asked; nobody knows what it brought")
        freed = before - after
        return Applied(freed >= LEAST, f"{len(answered)} plugins asked, {freed / 2**20:.1f} MiB less in use")
