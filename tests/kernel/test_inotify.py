"""Linux's watch on folders: what it tells, and under which names."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import anyio
import pytest

from aetherra.kernel import inotify
from aetherra.kernel.inotify import Inotify

if sys.platform != "linux":
    pytest.skip("inotify is Linux's", allow_module_level=True)


def listing(folder: Path) -> list[tuple[Path, bool]]:
    """Return what is in a folder, and of each whether it is a folder, or leads to one."""
    try:
        with os.scandir(folder) as entries:
            return [(folder / entry.name, entry.is_dir()) for entry in entries]
    except OSError:
        return []


async def until(watch: Inotify, wanted: Path) -> set[Path]:
    """Return what was told until this was."""
    told: set[Path] = set()
    with anyio.fail_after(10):
        while wanted not in told:
            told |= await watch.changed()
    return told


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root" / "a" / "deep").mkdir(parents=True)
    return tmp_path / "root"


class TestNames:
    async def test_a_renamed_folder_is_told_under_all_the_names_it_had(self, root: Path) -> None:
        """What is saved in it, and below, is told under its name of now alone."""
        async with Inotify([], [root], listing) as watch:
            for number in range(5):
                (root / ("a" if not number else f"a{number}")).rename(root / f"a{number + 1}")
                await until(watch, root / f"a{number + 1}" / "deep")
            (root / "a5" / "deep" / "x.py").touch()

            told = await until(watch, root / "a5" / "deep" / "x.py")

        assert {path for path in told if path.name == "x.py"} == {root / "a5" / "deep" / "x.py"}

    async def test_what_left_the_tree_is_told(self, root: Path) -> None:
        """A folder that was moved out of it is watched no more."""
        async with Inotify([], [root], listing) as watch:
            (root / "a").rename(root.parent / "b")
            await until(watch, root / "a")
            (root.parent / "b" / "deep" / "x.py").touch()
            (root / "fence").touch()

            told = await until(watch, root / "fence")

        assert "x.py" not in {path.name for path in told}

    async def test_a_folder_that_took_the_place_of_another_is_not_told(self, root: Path) -> None:
        """As a checkout does: one is moved away, and another one comes under its name."""
        async with Inotify([], [root], listing) as watch:
            (root / "new" / "deep").mkdir(parents=True)
            await until(watch, root / "new" / "deep")
            (root / "a").rename(root.parent / "old")
            (root / "new").rename(root / "a")
            await until(watch, root / "a" / "deep")
            (root.parent / "old" / "deep" / "of_old.py").touch()
            (root / "a" / "deep" / "of_new.py").touch()

            told = await until(watch, root / "a" / "deep" / "of_new.py")

        assert {path for path in told if path.suffix} == {root / "a" / "deep" / "of_new.py"}

    async def test_a_link_that_leads_elsewhere_now_is_not_followed(self, root: Path) -> None:
        """What it led to is told under its name no more; what it leads to now is."""
        for name in ("one", "other"):
            (root.parent / name).mkdir()
        (root / "link").symlink_to(root.parent / "one")
        async with Inotify([], [root], listing) as watch:
            (root / "another").symlink_to(root.parent / "other")
            (root / "another").rename(root / "link")
            await until(watch, root / "link")
            (root.parent / "one" / "of_one.py").touch()
            (root.parent / "other" / "of_other.py").touch()

            told = await until(watch, root / "link" / "of_other.py")

        assert "of_one.py" not in {path.name for path in told}


class TestLostEvents:
    async def test_folders_that_came_meanwhile_are_never_watched(
        self, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Where the system has lost events, all is told to have changed, and all that there is then is watched."""
        async with Inotify([], [root], listing) as watch:
            (root / "new").mkdir()
            (root / "a").rename(root / "b")
            really, lost = os.read, inotify._EVENT.pack(-1, inotify.IN_Q_OVERFLOW, 0, 0)
            with monkeypatch.context() as patched:
                patched.setattr(inotify.os, "read", lambda *args: really(*args) and lost)
                assert await watch.changed() == {root}
            (root / "new" / "x.py").touch()
            told = await until(watch, root / "new" / "x.py")
            (root / "b" / "deep" / "y.py").touch()
            told |= await until(watch, root / "b" / "deep" / "y.py")

        assert {path for path in told if path.suffix} == {root / "new" / "x.py", root / "b" / "deep" / "y.py"}
