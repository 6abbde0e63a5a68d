"""Loading code: imports that hang, that need each other, and code that cannot be used."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import anyio

from aetherra.kernel import Config, Kernel
from aetherra.kernel.testing import FakeClock
from tests.kernel.conftest import HEADER, files, offer, reason, states


class TestLoad:
    async def test_a_hanging_import_delays_another(self, tmp_path: Path) -> None:
        """It is given up after its deadline, named with its line; those that do not need it have long started."""
        clock = FakeClock()
        release = threading.Event()
        sys.release, sys.hanging = release, threading.Event()  # type: ignore[attr-defined]  # seen by the plugin
        config = files(
            tmp_path,
            bad="def hang_in_import():\n    sys.hanging.set(), sys.release.wait(30)  # the line\n"
            "hang_in_import()\nclass Bad(Plugin): ...",
            good="pass",
            needy="requires = ('bad',)",
        )
        async with anyio.create_task_group() as group:
            kernel = Kernel(config, clock=clock)

            async def host() -> None:
                async with kernel:
                    assert states(kernel) == {"bad": "failed", "good": "serving", "needy": "failed"}
                    assert "still ran after 15 s, at" in reason(kernel, "bad")
                    assert "in hang_in_import" in reason(kernel, "bad")
                    assert "# the line" in reason(kernel, "bad")

            group.start_soon(host)
            while kernel.registry.get_service_info("good") is None or not sys.hanging.is_set():  # type: ignore[attr-defined]
                await anyio.lowlevel.checkpoint()
            await clock.advance(14.0)
            assert states(kernel) == {"bad": "loading", "good": "serving", "needy": "loading"}
            await clock.advance(1.0)
        release.set()
        for thread in threading.enumerate():
            if thread.name == "aetherra import bad":
                thread.join(10)
        assert not any(name.startswith("bad@") for name in sys.modules)
        del sys.release, sys.hanging  # type: ignore[attr-defined]

    async def test_imports_that_wait_for_each_other_fail(self, site: Path) -> None:
        """Where the import system says that two threads wait for each other's modules, one of them tries again."""
        (site / "tangled.py").write_text(
            f"{HEADER}from importlib._bootstrap import _DeadlockError\nsys.tries.append(1)\n"
            "if len(sys.tries) < 2: raise _DeadlockError('deadlock detected by _ModuleLock')\n"
            "class P(Plugin):\n    name = 'tangled'\n"
        )
        sys.tries = []  # type: ignore[attr-defined]
        offer(site, "tangled", "tangled = tangled:P")
        ours = ("governance", "hmr", "homeostasis", "self_improvement", "self_incorporation")
        document = {"kernel": {"data_dir": None}, "plugins": {name: {"enabled": False} for name in ours}}
        async with Kernel(Config.parse(document, path=site / "config.json")) as kernel:
            assert states(kernel) == {"tangled": "serving"}
        del sys.tries  # type: ignore[attr-defined]


class TestRead:
    async def test_another_name_than_its_own_is_taken(self, tmp_path: Path) -> None:
        """The configured name and the class's are one."""
        async with Kernel(files(tmp_path, room="class Hall(Plugin): pass")) as kernel:
            assert "it is configured as 'room' and calls itself 'hall'; use one name" in reason(kernel, "room")
