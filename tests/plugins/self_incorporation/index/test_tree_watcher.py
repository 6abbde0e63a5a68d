"""What a watch on trees tells."""

from __future__ import annotations

import errno
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from aetherra.plugins.self_incorporation.index import tree_watcher
from aetherra.plugins.self_incorporation.index.tree_watcher import ANYTHING, TreeWatcher
from aetherra.plugins.watching import Inotify

WAYS = ["inotify", "watchfiles"] if sys.platform == "linux" else ["watchfiles"]
Watch = Callable[..., TreeWatcher]


@pytest.fixture(params=WAYS)
def watch(request: pytest.FixtureRequest) -> Watch:
    """Make a watcher of the way that is tested."""
    return lambda *roots, **more: TreeWatcher(roots, backend=request.param, **{"settle": 0.03, **more})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for folder in ("root/pkg", "root/.git", "root/env", "state"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "root" / "env" / "pyvenv.cfg").touch()
    return tmp_path / "root"


async def until(watcher: TreeWatcher, root: Path, *wanted: str) -> set[str]:
    """Return what was told of a root until all of these were."""
    told: set[str] = set()
    with anyio.fail_after(30):
        while not told.issuperset(wanted):
            told.update((await watcher.changed()).get(root, ()))
    return told


class TestTreeWatcher:
    async def test_what_is_made_changed_or_removed_is_told(self, watch: Watch, root: Path) -> None:
        """By its path below the root, in written form."""
        async with watch(root) as watcher:
            (root / "pkg" / "a\nb.py").touch()
            await until(watcher, root, r"pkg/a\x0ab.py")
            (root / "pkg" / "a\nb.py").write_text("x = 1\n")
            await until(watcher, root, r"pkg/a\x0ab.py")
            (root / "pkg" / "a\nb.py").rename(root / "c.py")
            await until(watcher, root, r"pkg/a\x0ab.py", "c.py")
            (root / "c.py").unlink()
            await until(watcher, root, "c.py")

    async def test_changes_that_come_together_are_told_together(self, watch: Watch, root: Path) -> None:
        """A checkout is one change: it is told once all is quiet."""
        names, told = ("a.py", "b.py"), frozenset[str]()
        async with watch(root, settle=0.3) as watcher:
            with anyio.fail_after(60):
                for _ in range(20):  # a machine that stands still for so long in between may part them
                    for name in names:  # as the system tells them, which may part real ones as it likes
                        watcher._send.send_nowait({root / name})
                    told = frozenset((await watcher.changed())[root])
                    if told == set(names):
                        break
                    await watcher.changed()

        assert told == set(names)

    async def test_what_never_rests_is_told_all_the_same(self, watch: Watch, root: Path) -> None:
        """After so many seconds at most, however much goes on."""
        async with watch(root, settle=60.0, longest=0.2) as watcher:
            (root / "a.py").touch()
            with anyio.fail_after(30):
                assert (await watcher.changed())[root] == {"a.py"}

    async def test_a_folder_that_comes_is_watched(self, watch: Watch, root: Path) -> None:
        """With what is in it by then, and what comes later."""
        async with watch(root) as watcher:
            (root / "new" / "deep").mkdir(parents=True)
            (root / "new" / "deep" / "a.py").touch()
            told = await until(watcher, root, "new")
            (root / "new" / "deep" / "b.py").touch()
            told |= await until(watcher, root, "new/deep/b.py")

        assert "new" in told

    async def test_what_a_scan_does_not_enter_is_not_told(self, watch: Watch, root: Path) -> None:
        """Else a scan would be told of what it wrote itself, for ever."""
        state = root / "state"
        state.mkdir()
        async with watch(root, apart=[state]) as watcher:
            (root / ".git" / "index").touch()
            (root / "pkg" / "__pycache__").mkdir()
            (root / "pkg" / "__pycache__" / "a.pyc").touch()
            (state / "index.sqlite3").touch()
            (root / "fence.py").touch()
            told = await until(watcher, root, "fence.py")

        assert {path for path in told if path.endswith(("index", ".pyc", ".sqlite3"))} == set()

    async def test_roots_are_told_apart(self, watch: Watch, root: Path) -> None:
        """Under the path that each was given by, links on the way or not; a file may be one."""
        link, file = root.parent / "link", root.parent / "one.py"
        file.touch()
        link.symlink_to(root)
        async with watch(link / "pkg", root.parent / "state", file) as watcher:
            (root / "pkg" / "a.py").touch()
            (root.parent / "state" / "b.py").touch()
            (root / "beside.py").touch()
            file.write_text("x = 1\n")
            told: dict[Path, set[str]] = {}
            with anyio.fail_after(30):
                while len(told) < 3:
                    for place, paths in (await watcher.changed()).items():
                        told.setdefault(place, set()).update(paths)

        assert told == {link / "pkg": {"a.py"}, root.parent / "state": {"b.py"}, file: ANYTHING}

    async def test_a_root_that_is_replaced_is_watched_on(self, watch: Watch, root: Path) -> None:
        """A checkout may take it away and make it anew: then anything may have changed."""
        async with watch(root, fallback=0.05) as watcher:
            shutil.rmtree(root)
            await until(watcher, root, *ANYTHING)
            await anyio.Path(root).mkdir()
            with anyio.fail_after(30):
                while "a.py" not in (await watcher.changed()).get(root, ()):
                    (root / "a.py").write_text("x = 1\n")

    async def test_nothing_goes_on_after_the_block(self, watch: Watch, root: Path) -> None:
        """It is left at once, and holds nothing open."""
        with anyio.fail_after(30):
            async with watch(root) as watcher:
                pass

        assert watcher._stop.is_set()  # for watchfiles, which would heed the cancellation after seconds


@pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux's")
class TestInotify:
    async def test_a_folder_that_is_left_out_takes_no_watch(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Version control, caches and environments hold most folders of a tree."""
        (root / "env" / "lib").mkdir()
        (root / ".git" / "objects").mkdir()
        watched: list[Path] = []
        real: Any = Inotify._watch
        monkeypatch.setattr(Inotify, "_watch", lambda self, folder: watched.append(folder) or real(self, folder))
        async with TreeWatcher([root]):
            pass

        assert {path.name for path in watched} == {root.parent.name, "root", "pkg", "env"}

    async def test_where_the_system_gives_no_watch_anything_may_have_changed(
        self, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Again and again, and it is said, once, with the remedy."""

        def scarce(self: Inotify, folder: Path) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))

        monkeypatch.setattr(Inotify, "_watch", scarce)
        said: list[str] = []
        async with TreeWatcher([root], settle=0.001, fallback=0.005, say=said.append) as watcher:
            with anyio.fail_after(30):
                assert [await watcher.changed() for _ in range(3)] == [{root: ANYTHING}] * 3

        assert len(said) == 1
        assert said[0].startswith("changes are looked for every 0.005 s instead of being told: ")
        assert said[0].endswith("raise fs.inotify.max_user_watches")

    async def test_events_that_the_system_lost_are_made_up_for(
        self, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What it could not keep may have been anything."""
        real: Any = Inotify.changed
        lost = True

        async def changed(self: Inotify) -> set[Path]:
            nonlocal lost
            found: set[Path] = await real(self)
            if lost:
                lost = False
                return set(self._roots)
            return found

        monkeypatch.setattr(Inotify, "changed", changed)
        async with TreeWatcher([root], settle=0.01) as watcher:
            (root / "a.py").touch()
            with anyio.fail_after(30):
                assert (await watcher.changed())[root] == ANYTHING
            (root / "b.py").touch()
            await until(watcher, root, "b.py")

    async def test_a_reader_that_is_late_misses_nothing(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """What is told waits, within bounds; beyond them it waits in the system."""
        monkeypatch.setattr(tree_watcher, "_BATCHES", 1)
        async with TreeWatcher([root], settle=0.05) as watcher:
            for number in range(20):
                (root / f"{number}.py").touch()
                await anyio.wait_all_tasks_blocked()
            await until(watcher, root, *(f"{number}.py" for number in range(20)))
