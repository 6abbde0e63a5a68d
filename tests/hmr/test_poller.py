"""Polling: changes found by looking."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager

import anyio
import pytest

from aetherra.hmr.poller import Poller


@asynccontextmanager
async def polled(*folders, recursive=True):
    """Yield a poller; all that happens from now on is found."""
    poller = Poller((), folders, 0.001) if recursive else Poller(folders, (), 0.001)
    await poller.begin()
    yield poller


async def until(poller, *wanted):
    """Return what changed until all of these have."""
    seen = set()
    with anyio.fail_after(10):
        while not set(wanted) <= seen:
            seen |= await poller.changed()
    return seen


class TestPoller:
    async def test_a_write_is_not_found(self, tmp_path):
        """In place, beside and renamed, of the same size, and new ones."""
        file = tmp_path / "a.py"
        file.write_text("1")
        async with polled(tmp_path) as changes:
            file.write_text("2")
            assert await until(changes, file) == {file}
            (tmp_path / "b.tmp").write_text("3")
            os.replace(tmp_path / "b.tmp", file)  # noqa: PTH105
            assert file in await until(changes, file)
            (tmp_path / "c.py").write_text("")
            await until(changes, tmp_path / "c.py")

    async def test_what_goes_away_is_not_found(self, tmp_path):
        """A file, and a folder with all that was in it."""
        inner = tmp_path / "inner"
        inner.mkdir()
        (inner / "a.py").write_text("")
        async with polled(tmp_path) as changes:
            (inner / "a.py").unlink()
            inner.rmdir()
            await until(changes, inner, inner / "a.py")

    async def test_a_folder_that_comes_later_is_not_looked_at(self, tmp_path):
        """New folders, and the watched one itself."""
        late = tmp_path / "late"
        async with polled(late) as changes:
            (late / "deep").mkdir(parents=True)
            (late / "deep" / "a.py").write_text("")
            await until(changes, late / "deep" / "a.py")

    async def test_a_touch_of_what_is_below_is_found_where_nobody_asked(self, tmp_path):
        """Without ``recursive``, only what is in the folder counts."""
        inner = tmp_path / "inner"
        inner.mkdir()
        async with polled(tmp_path, recursive=False) as changes:
            (inner / "a.py").write_text("")
            (tmp_path / "fence.py").write_text("")
            assert await until(changes, tmp_path / "fence.py") == {tmp_path / "fence.py"}

    async def test_what_is_left_out_of_walks_is_looked_at(self, tmp_path):
        """Environments, caches and repositories."""
        for name in (".venv", ".git", "node_modules", "__pycache__"):
            (tmp_path / name).mkdir()
        async with polled(tmp_path) as changes:
            for name in (".venv", ".git", "node_modules", "__pycache__"):
                (tmp_path / name / "a.py").write_text("")
            (tmp_path / "fence.py").write_text("")
            assert await until(changes, tmp_path / "fence.py") == {tmp_path / "fence.py"}

    @pytest.mark.parametrize("target", ["none", "round", "."])
    async def test_a_link_that_leads_nowhere_ends_the_watch(self, tmp_path, target):
        """It is left out; one that leads back to where it is, is not followed for ever."""
        (tmp_path / "round").symlink_to(tmp_path / target)
        async with polled(tmp_path) as changes:
            (tmp_path / "zz.py").write_text("")
            await until(changes, tmp_path / "zz.py")
