"""Where actions are measured: a kernel whose lanes have room, and the bare loop that is its floor."""

from __future__ import annotations

import heapq
import tempfile
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel

from aetherra.kernel import ActionHandle, ActionPriority, Config, Kernel
from aetherra.kernel.config import Durability, KernelConfig, LaneConfig, LanesConfig
from aetherra.registry import Request
from measuring.figures import Run
from queueing.vocabulary import TOLD, Hold, Noops, Tally

WORKERS = 8
ROOM = 1_000_000
SAMPLED = 1000
"""Of so many actions one has its handle kept, and its result looked at."""
PATIENCE = 60.0
"""Seconds after which an action that has not ended is a defect, not a slow machine."""
DISK = Path(__file__).parents[2] / "build"
"""Where journals are written: beside the code, as a folder for temporary files may be no disk at all."""


@contextmanager
def folder_on_disk() -> Generator[Path]:
    """Lend a folder of its own on the disk."""
    DISK.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=DISK) as folder:
        yield Path(folder)


def file_system(path: Path) -> str:
    """Return the kind of file system that a path is on, where the system tells."""
    try:
        mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    except OSError:
        return "an unknown file system"
    above = [(len(point), kind) for _, point, kind, *_ in mounts if path.resolve().is_relative_to(point)]
    return max(above)[1]


def config(durability: Durability = "none", folder: Path | None = None, workers: int = WORKERS) -> Config:
    """Return a host with room for a million actions in each lane, and nothing on disk but for its journal."""
    lanes = LanesConfig(
        high=LaneConfig(capacity=ROOM, weight=5),
        normal=LaneConfig(capacity=ROOM, weight=3),
        background=LaneConfig(capacity=ROOM, weight=1),
    )
    data_dir = None if folder is None else str(folder / "data")
    return Config(
        kernel=KernelConfig(
            data_dir=data_dir,
            control_socket=False,
            discover=False,
            durability=durability,
            workers=workers,
            shutdown_timeout=60.0,
            block_threshold=3600.0,  # the benchmark's own loops stand still, and hold a handler, on purpose
            slow_call=3600.0,
            lanes=lanes,
        ),
        root=folder or Path().absolute(),
    )


@asynccontextmanager
async def serving(its: Config) -> AsyncGenerator[Kernel]:
    """Run a kernel with the plugin, which counts anew."""
    Noops.tally = Tally()
    async with Kernel(its) as kernel:
        await kernel.add_plugin(Noops)
        yield kernel


@asynccontextmanager
async def held(kernel: Kernel) -> AsyncGenerator[None]:
    """Keep a kernel's only worker busy, so that what is submitted stays in the queue; then let it be done."""
    tally = Noops.tally
    handle = await kernel.submit(Hold(), priority=ActionPriority.EMERGENCY, timeout=3600.0)
    await tally.held.wait()
    try:
        yield
    finally:
        tally.released.set()
    await handle.wait()


def submitted(kernel: Kernel, request: Request[Any], submitters: int = 1) -> Run:
    """Submit through the kernel by so many tasks at a time, and return when all has been done.

    That it has is looked at: handlers that ran are counted, and of each submitter's first, thousandth, ... and last
    action the result.
    """

    async def submit(share: int, kept: list[ActionHandle[Any]]) -> None:
        submit = kernel.submit
        for number in range(share - 1):
            handle = await submit(request)
            if not number % SAMPLED:
                kept.append(handle)
        kept.append(await submit(request))

    async def run(number: int) -> None:
        tally, kept = Noops.tally, list[ActionHandle[Any]]()
        expected = tally.ran + number
        if submitters == 1:
            await submit(number, kept)
        else:
            async with anyio.create_task_group() as group:
                for _ in range(submitters):
                    group.start_soon(submit, number // submitters, kept)
        with anyio.fail_after(PATIENCE):
            for handle in kept:
                if await handle.wait() is not TOLD or handle.status != "done":
                    raise AssertionError(f"{handle.trace_id} ended as {handle.status}")
            while tally.ran < expected:
                await anyio.lowlevel.checkpoint()
        if tally.ran != expected:
            raise AssertionError(f"{number} actions, but the handler ran {number + tally.ran - expected} times")

    return run


class BareLoop:
    """The floor: a heap, an event and workers that call the handler.

    Args:
        event_type: The event loop's own event.
        handler: What is called with each request.
        waits: Whether it is to be awaited.
    """

    def __init__(self, event_type: Callable[[], Any], handler: Callable[[Any], Any], *, waits: bool = True) -> None:
        self._event_type = event_type
        self._handler = handler
        self._heap: list[tuple[int, int, Any]] = []
        self._sequence = count()
        self._bell, self._empty = event_type(), event_type()
        self.work = self._await_each if waits else self._call_each

    async def _await_each(self) -> None:
        """One worker."""
        heap, handler, pop = self._heap, self._handler, heapq.heappop
        while True:
            while heap:
                await handler(pop(heap)[2])
            await self._rest()

    async def _call_each(self) -> None:
        """One worker, for a plain function."""
        heap, handler, pop = self._heap, self._handler, heapq.heappop
        while True:
            while heap:
                handler(pop(heap)[2])
            await self._rest()

    async def _rest(self) -> None:
        self._empty.set()
        if self._bell.is_set():
            self._bell = self._event_type()
        await self._bell.wait()

    def submitted(self, request: Request[Any]) -> Run:
        """Push so many, let the workers take them, and return when all has been done."""

        async def run(number: int) -> None:
            tally, heap, sequence, push = Noops.tally, self._heap, self._sequence, heapq.heappush
            expected, priority = tally.ran + number, int(ActionPriority.MEDIUM)
            self._empty = self._event_type()
            for _ in range(number):
                push(heap, (priority, next(sequence), request))
            self._bell.set()
            await self._empty.wait()
            while tally.ran < expected:
                await anyio.lowlevel.checkpoint()

        return run
