"""Where swaps are measured: a folder with a plugin, the host over it, and what is known of a run's samples."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

import anyio
import anyio.to_thread

from aetherra.hmr import GetHmrStatus, HmrController
from aetherra.kernel import Config, Kernel

T = TypeVar("T")
PATIENCE = 60.0
"""Seconds after which what has not happened is a defect, not a slow machine."""


@contextmanager
def folder(files: Mapping[str, str]) -> Generator[Path]:
    """Lend a folder of its own with these files."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        root = Path(name).resolve()
        write(root, files)
        yield root


def write(root: Path, files: Mapping[str, str]) -> None:
    """Write files in place."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())


@asynccontextmanager
async def hosting(root: Path, source: str = "counter.py", *, watch: bool = False) -> AsyncGenerator[Kernel]:
    """Run a host with the plugin, and hot swap with its defaults; a watch is on when the body begins."""
    patient = {"block_threshold": 3600.0, "slow_call": 3600.0}  # the floors hold the event loop, on purpose
    document: dict[str, Any] = {
        "kernel": {"data_dir": None, "discover": False, "durability": "none", **patient},
        "plugins": {"counter": {"source": source}},
    }
    async with Kernel(Config.parse(document, root=root)) as kernel:
        await kernel.add_plugin(HmrController, settings={"watch": watch})
        with anyio.fail_after(PATIENCE):
            while watch and not (await kernel.call(GetHmrStatus())).watching:  # noqa: ASYNC110  # it tells nobody
                await anyio.sleep(0.01)
        yield kernel


async def version(kernel: Kernel) -> int:
    """Return which version of the plugin answers."""
    answer = await kernel.call_tag("bench.ask")
    return int(answer["entry"])


async def in_process(function: Callable[..., T], *args: Any) -> T:
    """Call a function in a process of its own, where nothing else was measured."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return await anyio.to_thread.run_sync(pool.submit(function, *args).result)


def percentile(samples: Sequence[float], share: float) -> float:
    """Return the sample below which so much of them is; 0 if there is none."""
    return sorted(samples)[min(len(samples) - 1, int(len(samples) * share))] if samples else 0.0
