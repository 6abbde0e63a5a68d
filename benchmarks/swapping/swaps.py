"""Single swaps: of 200 lines, without calls and with, and of one module among fifty, beside what Python takes."""

from __future__ import annotations

import gc
import importlib
import py_compile
import statistics
import sys
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from types import ModuleType
from typing import Any

import anyio

from aetherra.hmr import Reload
from aetherra.kernel import Kernel
from measuring.figures import Case, Effort, Run, measure
from measuring.report import Amount, Sections
from swapping.load import RATE, Load
from swapping.sources import EDITED, FIRST, LARGE, MODULE, MODULES, module, package, plugin
from swapping.stage import PATIENCE, folder, hosting, version, write

BOUND_MS, BOUND_PACKAGE = 2.5, 3.0
numbers = count(1)
"""Versions: none is loaded twice, so that each is compiled."""


async def reload(kernel: Kernel, root: Path, files: Mapping[str, str], number: int) -> tuple[float, float]:
    """Swap these in; return ``Swapped.seconds``, and the seconds from the request to its reply."""
    write(root, files)
    begun = time.perf_counter()
    swapped = await kernel.call(Reload("counter"), timeout=PATIENCE)
    taken = time.perf_counter() - begun
    if await version(kernel) != FIRST + number:
        raise AssertionError("the swap was made, and another version answers")
    return swapped.seconds, taken


# One file


def bare(lines: int) -> Run:
    """The floor: the same source, compiled and executed."""

    async def run(times: int) -> float:
        samples: list[float] = []
        for _ in range(times):
            source, begun = plugin(next(numbers), lines).encode(), time.perf_counter()
            exec(compile(source, "counter.py", "exec"), {"__name__": "bare"})  # what a load is at least
            samples.append(time.perf_counter() - begun)
            await anyio.sleep(0.005)
        return statistics.median(samples)

    return run


def swapped(kernel: Kernel, root: Path, lines: int, kept: list[float]) -> Run:
    """Swaps by ``hmr.reload``, as ``Swapped.seconds`` has them."""

    async def run(times: int) -> float:
        samples: list[float] = []
        for _ in range(times):
            number = next(numbers)
            seconds, _ = await reload(kernel, root, {"counter.py": plugin(number, lines)}, number)
            samples.append(seconds)
            await anyio.sleep(0.005)
        kept.extend(samples)
        return statistics.median(samples)

    return run


def under_load(run: Run, kernel: Kernel) -> Run:
    """The same, while calls come."""

    async def run_loaded(times: int) -> float:
        load = Load(kernel, room=int(PATIENCE * RATE))
        async with load.running():
            told = await run(times)
        if load.failed:
            raise AssertionError(f"{load.failed} calls failed: {load.problem}")
        return float(told)  # type: ignore[arg-type]  # it tells

    return run_loaded


async def of_a_file(effort: Effort, title: str) -> Sections:
    """Measure the plugin of 200 lines."""
    times = 10 if effort.quick else 40
    alone: list[float] = []
    loaded: list[float] = []
    with folder({"counter.py": plugin(0, LARGE)}) as root:
        async with hosting(root) as kernel:
            floor = f"floor: compile and exec of the same {LARGE} lines"
            told = partial(Case, floor=floor, unit="swap", count=times, tells=True)
            cases = [
                Case(floor, bare(LARGE), unit="swap", count=times, tells=True),
                told("hmr.reload, no calls", swapped(kernel, root, LARGE, alone)),
                told(f"hmr.reload under {RATE:,.0f} calls/s", under_load(swapped(kernel, root, LARGE, loaded), kernel)),
            ]
            figures = await measure(cases, effort)
    return {
        f"{title}A swap of {LARGE} lines, as Swapped.seconds has it": figures,
        f"{title}A swap of {LARGE} lines, in all rounds": [
            Amount("median, no calls", statistics.median(alone) * 1e3, "ms", BOUND_MS),
            Amount(f"median under {RATE:,.0f} calls/s", statistics.median(loaded) * 1e3, "ms", BOUND_MS),
        ],
    }


# A package


@contextmanager
def fresh(name: str) -> Generator[None]:
    """Have a package forgotten when the block is left."""
    importlib.invalidate_caches()
    try:
        yield
    finally:
        for known in [known for known in sys.modules if known.partition(".")[0] == name]:
            del sys.modules[known]
        gc.collect()


def imported(*, bytecode: bool) -> Run:
    """The floor: the same files under another package's name, imported in this process."""

    async def run(times: int) -> float:
        samples: list[float] = []
        for _ in range(times):
            name = f"bench_fresh_{next(numbers)}"
            with folder({f"{name}/{file}": text for file, text in package(0).items()}) as root, fresh(name):
                for file in (root / name).iterdir() if bytecode else ():
                    py_compile.compile(str(file), doraise=True)
                samples.append(import_of(name, root))
        return statistics.median(samples)

    return run


def import_of(name: str, root: Path) -> float:
    """Import a package from a folder, and return the seconds; no bytecode is written."""
    kept, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    sys.path.insert(0, str(root))
    try:
        begun = time.perf_counter()
        found: ModuleType = importlib.import_module(name)
        taken = time.perf_counter() - begun
        if len(vars(found).keys() & {file.removesuffix(".py") for file in package(0)}) != MODULES:
            raise AssertionError(f"{name} has not imported all its modules")
        return taken
    finally:
        sys.path.remove(str(root))
        sys.dont_write_bytecode = kept


def edited(kernel: Kernel, root: Path) -> Run:
    """One module is edited, and the package swapped: from the request until the reply, the old one being stopped."""

    async def run(times: int) -> float:
        samples: list[float] = []
        for _ in range(times):
            number = next(numbers)
            text = module(MODULES // 2, number)
            write(root, {f"package/{EDITED}.py": text})
            begun = time.perf_counter()
            await kernel.call(Reload("counter"), timeout=PATIENCE)
            samples.append(time.perf_counter() - begun)
            answer: Any = await kernel.call_tag("bench.ask")
            if answer["helper"] != FIRST + number:
                raise AssertionError("the swap was made, and another version of the module answers")
        return statistics.median(samples)

    return run


async def of_a_package(effort: Effort, title: str) -> Sections:
    """Measure the package of 50 modules."""
    times = 1 if effort.quick else 5
    floor = "floor: import of the same files under another name, without .pyc"
    case = partial(Case, unit="swap", count=times, tells=True)
    with folder({f"package/{name}": text for name, text in package(0).items()}) as root:
        async with hosting(root, "package") as kernel:
            cases = [
                case(floor, imported(bytecode=False)),
                case("hmr.reload after one module was edited", edited(kernel, root), floor, BOUND_PACKAGE),
                case("beside: import of the same files with .pyc", imported(bytecode=True), floor),
            ]
            figures = await measure(cases, effort)
    return {f"{title}A package of {MODULES} modules of {MODULE} lines": figures}


async def measured(effort: Effort, title: str = "") -> Sections:
    """Measure both; on trio, in a hurry, the file alone."""
    file = await of_a_file(effort, title)
    return file if effort.quick and title else {**file, **await of_a_package(effort, title)}


on_asyncio = measured
on_trio = partial(measured, title="On trio: ")
