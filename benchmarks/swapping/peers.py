"""Peers: the same saves of the same plugin, taken in by others that are installed, each with its defaults.

They have no host: the plugin is an object that the caller makes of the module's class, and asks itself. When a peer
says that it is done, one call is made, as with ours.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import anyio
import anyio.from_thread
import anyio.to_thread
from anyio.lowlevel import current_token

from measuring.figures import Effort
from measuring.report import Sections, installed
from swapping.saves import FLOOR, OURS, Save, figures, sampled, swapped, told_by_watchfiles
from swapping.sources import FIRST, SMALL, plugin
from swapping.stage import folder

MODULES = {"hmr": "reactivity.hmr", "jurigged": "jurigged"}
"""Distributions, and what of each is imported; hmr needs Python 3.12."""


@contextmanager
def importable(path: Path) -> Generator[None]:
    """Have the modules of a folder importable, and forget the plugin at the end."""
    sys.path.insert(0, str(path.parent))
    try:
        yield
    finally:
        sys.path.remove(str(path.parent))
        sys.modules.pop(path.stem, None)


class Ear:
    """Hears that a peer is done, and asks the plugin then."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._done = anyio.Event()

    def hear(self) -> None:
        """Be told."""
        self._done.set()

    async def save(self, number: int) -> None:
        """Save once, and return when a call has the new answer."""
        self._path.write_bytes(plugin(number).encode())
        while True:
            await self._done.wait()
            self._done = anyio.Event()
            module: Any = sys.modules[self._path.stem]
            answer = await module.Counter().ask(module.Ask())
            if answer.entry == FIRST + number:
                return


@asynccontextmanager
async def jurigged(path: Path) -> AsyncGenerator[Save]:
    """jurigged: patches the module's functions and values in place; a thread watches."""
    import jurigged

    ear, token = Ear(path), current_token()
    watcher = jurigged.watch(str(path.parent / "*.py"), logger=lambda _: None)
    watcher.postrun.register(lambda *_: anyio.from_thread.run_sync(ear.hear, token=token))
    with importable(path):
        importlib.import_module(path.stem)
        try:
            yield ear.save
        finally:
            watcher.stop()
            await anyio.to_thread.run_sync(watcher.join)


@asynccontextmanager
async def hmr(path: Path) -> AsyncGenerator[Save]:
    """hmr: runs the modules anew that have read what has changed; watches in the same event loop."""
    from reactivity.hmr.core import HMR_CONTEXT, AsyncReloader
    from reactivity.hmr.hooks import use_post_reload

    entry, ear = path.with_name("entry.py"), Ear(path)
    entry.write_text(f"from {path.stem} import VERSION\n")
    reloader = AsyncReloader(str(entry), [str(path.parent)])
    with importable(path), use_post_reload(ear.hear), HMR_CONTEXT.effect(reloader.run_entry_file):
        async with anyio.create_task_group() as group:
            group.start_soon(reloader.start_watching)
            await anyio.sleep(0.1)  # until it watches
            try:
                yield ear.save
            finally:
                reloader.stop_watching()


SETUPS: dict[str, tuple[Callable[[Path], AbstractAsyncContextManager[Save]], str]] = {
    "hmr": (hmr, "calls in hand on one version, state, a candidate proved apart, going back; all in one module tree"),
    "jurigged": (
        jurigged,
        "calls in hand on one version, a candidate proved apart, going back; objects keep their state",
    ),
}
"""Each peer, and what it lacks."""


async def measured(effort: Effort) -> Sections:
    """Measure ours and theirs, in the same rounds."""
    async with AsyncExitStack() as stack:
        here = installed(MODULES)
        names = {name: f"{name}/peer_{name}.py" for name in here}
        root = stack.enter_context(
            folder({file: plugin(0) for file in ("counter.py", "bare/bare.py", *names.values())})
        )
        saves = {FLOOR: await stack.enter_async_context(told_by_watchfiles(root / "bare" / "bare.py"))}
        saves[f"aetherra, {OURS}"] = await stack.enter_async_context(swapped(root))
        lacks: dict[str, str] = {}
        for name, file in names.items():
            setup, missing = SETUPS[name]
            title = f"{name} {version(name)}"
            saves[title], lacks[title] = await stack.enter_async_context(setup(root / file)), missing
        return {
            f"Peers: from save to new answer, {SMALL} lines, median": figures(
                await sampled(saves, effort), 0.5, lacks=lacks
            )
        }
