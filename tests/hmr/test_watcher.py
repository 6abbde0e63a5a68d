"""The watcher: every way of noticing notices the same."""

from __future__ import annotations

import errno
import os
import shutil
import sys
import threading
from contextlib import asynccontextmanager

import anyio
import pytest

from aetherra.hmr import watcher as watcher_module
from aetherra.hmr.walk import listing
from aetherra.hmr.watcher import Watcher
from aetherra.kernel.inotify import Inotify

WAYS = ["inotify", "watchfiles", "polling"] if sys.platform == "linux" else ["watchfiles", "polling"]


@pytest.fixture(params=WAYS)
def watch(request):
    """Make a watcher of the way that is tested."""
    how = {"poll_interval": 0.002} if request.param == "polling" else {"backend": request.param}

    def make(*places):
        return Watcher(places, **how)

    return make


async def until(watcher, *wanted):
    """Return what changed until all of these have."""
    seen = set()
    with anyio.fail_after(10):
        while not set(wanted) <= seen:
            seen |= await watcher.changed()
    return seen


@pytest.fixture
def package(tmp_path):
    folder = tmp_path / "package"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    return folder


class TestWatcher:
    async def test_a_write_is_not_told(self, watch, package):
        """In place, by renaming, and of a file that is new; to a package and to a single file."""
        single = package.parent / "single.py"
        single.write_text("1")
        async with watch(package, single) as watcher:
            single.write_text("2")
            await until(watcher, single)
            (package / "new.py").write_text("")
            await until(watcher, package / "new.py")
            (package.parent / "beside").write_text("3")
            os.replace(package.parent / "beside", single)  # noqa: PTH105
            await until(watcher, single)
            single.unlink()
            await until(watcher, single)

    async def test_a_folder_that_comes_later_is_not_watched(self, watch, package):
        """What is in it when it comes is told, and what is written to it later."""
        (package.parent / "ready" / "deep").mkdir(parents=True)
        (package.parent / "ready" / "deep" / "a.py").write_text("")
        async with watch(package) as watcher:
            (package.parent / "ready").rename(package / "moved")
            await until(watcher, package / "moved")
            (package / "made" / "deeper").mkdir(parents=True)
            (package / "made" / "deeper" / "b.py").write_text("1")
            await until(watcher, package / "made")
            for file in ("made/deeper/b.py", "moved/deep/a.py"):
                with anyio.fail_after(10):
                    seen = set()
                    while package / file not in seen:  # the watch below may need a moment to be on
                        (package / file).write_text(f"{len(seen)}")
                        with anyio.move_on_after(0.5):
                            seen |= await watcher.changed()

    async def test_a_link_is_watched_only_where_it_is(self, watch, package):
        """Where it leads to counts, of a file and of a folder."""
        elsewhere = package.parent / "elsewhere"
        shutil.copytree(package, elsewhere / "real")
        (elsewhere / "target.py").write_text("1")
        (package.parent / "link").symlink_to(elsewhere / "real")
        (package.parent / "single.py").symlink_to(elsewhere / "target.py")
        async with watch(package.parent / "link", package.parent / "single.py") as watcher:
            for file in (elsewhere / "target.py", elsewhere / "real" / "more.py"):
                file.write_text("2")
                with anyio.fail_after(10):
                    while file not in {path.resolve() for path in await watcher.changed()}:
                        pass

    async def test_a_link_on_the_way_that_leads_elsewhere_is_not_noticed(self, watch, package):
        """As of a deployment that is switched: another watcher is to be made."""
        shutil.copytree(package, package.parent / "other")
        link = package.parent / "current"
        link.symlink_to(package)
        async with watch(link / "single.py") as watcher:
            (package.parent / "new").symlink_to(package.parent / "other")
            (package.parent / "new").replace(link)
            assert watcher.outdated_by(await until(watcher, link))

    async def test_what_concerns_nobody_is_told(self, watch, package):
        """Compiled files, editors' own files, and what is beside a single file and no code."""
        single = package.parent / "single.py"
        single.write_text("")
        async with watch(single, package) as watcher:
            (package / "__init__.cpython-311.pyc").write_text("")
            (package / ".x.py.swp").write_text("")
            (package.parent / "notes.txt").write_text("")
            (package / "page.html").write_text("")
            seen = await until(watcher, package / "page.html")
        assert {path.name for path in seen} <= {"page.html", "package"}

    async def test_a_watched_folder_that_goes_away_ends_the_watch(self, watch, package):
        """It is told, so that another watcher is made."""
        async with watch(package) as watcher:
            shutil.rmtree(package)
            assert watcher.outdated_by(await until(watcher, package))

    async def test_leaving_waits_for_a_change(self, watch, package):
        """It ends at once, though nothing happens."""
        with anyio.fail_after(10):
            for _ in range(20):
                async with watch(package):
                    pass

    async def test_what_is_not_there_yet_cannot_be_watched(self, watch, tmp_path):
        """The way to it is."""
        place = tmp_path / "some" / "where" / "late.py"
        async with watch(place) as watcher:
            place.parent.mkdir(parents=True)
            place.write_text("")
            assert watcher.outdated_by(await until(watcher, tmp_path / "some"))

    @pytest.mark.parametrize("places", [["mine"], ["mine/deep/late.py"]])
    async def test_what_comes_while_the_watch_is_made_is_not_watched(self, watch, tmp_path, places):
        """A place, or a folder on the way to one, that is a folder meanwhile: another watcher is to be made."""
        watcher = watch(*(tmp_path / place for place in places))
        (tmp_path / "mine").mkdir()
        async with watcher:
            with anyio.fail_after(10):
                assert watcher.outdated_by(await watcher.changed())

    async def test_a_pattern_has_all_that_is_below_told(self, watch, package):
        """Files that fit are, and nothing else; a save of one is no reason for another watcher."""
        (package / "words").mkdir()
        async with watch(package.parent / "package" / "words" / "*.txt", package / "prices.json") as watcher:
            (package / "words" / "no.json").write_text("")
            (package / "other.json").write_text("")
            (package / "words" / "deep").mkdir()
            (package / "prices.json").write_text("")
            (package / "words" / "a.txt").write_text("")
            seen = await until(watcher, package / "prices.json", package / "words" / "a.txt")
            assert seen == {package / "prices.json", package / "words" / "a.txt"}
            assert not watcher.outdated_by(seen)

    @pytest.mark.parametrize("name", [".venv", "node_modules", ".git"])
    async def test_what_is_left_out_of_walks_is_told(self, watch, package, name):
        """Environments, caches and repositories that are below a package, at once or later."""
        (package / name).mkdir()
        async with watch(package) as watcher:
            (package / name / "a.txt").write_text("")
            (package / "sub" / name).mkdir(parents=True)
            await until(watcher, package / "sub")
            (package / "sub" / name / "b.txt").write_text("")
            (package / "fence").write_text("")
            seen = await until(watcher, package / "fence")
        assert not {path.name for path in seen} & {"a.txt", "b.txt"}


@asynccontextmanager
async def watching(*folders):
    async with Inotify((), folders, listing) as inotify:
        yield inotify


@pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux's")
class TestInotify:
    async def test_half_a_file_is_told(self, tmp_path):
        """A write is told when the file is closed, not before."""
        file = tmp_path / "a.py"
        file.write_text("")
        async with watching(tmp_path) as inotify:
            with file.open("w") as writer:
                writer.write("half")
                writer.flush()
                (tmp_path / "fence.py").write_text("")
                assert await until(inotify, tmp_path / "fence.py") == {tmp_path / "fence.py"}
            assert await inotify.changed() == {file}

    async def test_lost_events_are_lost(self, tmp_path):
        """Where there were more than the system keeps, the folders are told: anything may have changed."""
        most = int(await anyio.Path("/proc/sys/fs/inotify/max_queued_events").read_text())
        if most > 20_000:
            pytest.skip("this system keeps too many events")
        async with watching(tmp_path) as inotify:
            for number in range(most // 2 + 10):
                os.close(os.open(tmp_path / f"{number % 50}.txt", os.O_CREAT | os.O_WRONLY))
                if number % 50 == 49:
                    for gone in range(50):
                        (tmp_path / f"{gone}.txt").unlink()
            await until(inotify, tmp_path)
            (tmp_path / "after.py").write_text("")
            await until(inotify, tmp_path / "after.py")

    async def test_links_in_a_circle_are_followed_for_ever(self, tmp_path):
        """Each folder is watched once."""
        (tmp_path / "a" / "b").mkdir(parents=True)
        (tmp_path / "a" / "b" / "up").symlink_to(tmp_path / "a")
        async with watching(tmp_path) as inotify:
            (tmp_path / "a" / "x.py").write_text("")
            assert tmp_path / "a" / "x.py" in await inotify.changed()

    @pytest.mark.parametrize("late", [False, True])
    async def test_a_system_that_is_out_of_watches_is_not_watched(self, package, monkeypatch, caplog, late):
        """The watcher looks for itself, and says so; what it missed meanwhile is looked for."""
        real = Inotify._watch
        watched = []

        def scarce(self, folder):
            watched.append(folder)
            if len(watched) > (3 if late else 1):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))
            return real(self, folder)

        monkeypatch.setattr(Inotify, "_watch", scarce)
        monkeypatch.setattr(watcher_module, "FALLBACK_SEC", 0.002)
        async with Watcher([package], backend="inotify") as watcher:
            if late:
                (package / "more").mkdir()
                assert package.parent in await until(watcher, package.parent)
            (package / "fresh.py").write_text("")
            await until(watcher, package / "fresh.py")
        assert "No space left on device" in caplog.text
        assert "files are looked at every 0.002 s instead; raise fs.inotify.max_user_watches" in caplog.text

    async def test_what_cannot_be_read_ends_the_watch(self, package, monkeypatch, caplog):
        """A link to itself, and a folder that is not ours to read, are left out, at the beginning and later."""
        real = Inotify._watch

        def forbidding(self, folder):
            if folder.name.startswith("secret"):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))
            return real(self, folder)

        monkeypatch.setattr(Inotify, "_watch", forbidding)
        (package / "round").symlink_to("round")
        (package / "secret").mkdir()
        async with Watcher([package], backend="inotify") as watcher:
            (package / "late").mkdir()
            (package / "late" / "round").symlink_to("round")
            (package / "secret2").mkdir()
            (package / "fresh.py").write_text("")
            await until(watcher, package / "fresh.py", package / "late")
            (package / "late" / "fresh.py").write_text("")
            await until(watcher, package / "late" / "fresh.py")
        assert "instead" not in caplog.text

    async def test_a_root_that_cannot_be_read_is_left_out_in_silence(self, package, monkeypatch, caplog):
        """It is said that changes there are not noticed; others are."""
        real = Inotify._watch

        def forbidding(self, folder):
            if folder == package:
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))
            return real(self, folder)

        monkeypatch.setattr(Inotify, "_watch", forbidding)
        async with Watcher([package, package.parent / "single.py"], backend="inotify") as watcher:
            (package.parent / "single.py").write_text("")
            await until(watcher, package.parent / "single.py")
        assert f"changes in {package} are not noticed" in caplog.text

    @pytest.mark.parametrize("late", [False, True])
    async def test_the_event_loop_walks_through_folders(self, package, monkeypatch, late):
        """That is done in a thread, at the beginning and when folders come."""
        walkers = []
        real = Inotify._watch_below

        def walk(self, folders):
            walkers.append(threading.current_thread())
            return real(self, folders)

        monkeypatch.setattr(Inotify, "_watch_below", walk)
        async with Watcher([package], backend="inotify") as watcher:
            if late:
                walkers.clear()
                (package / "sub").mkdir()
                await until(watcher, package / "sub")
        assert walkers
        assert threading.main_thread() not in walkers

    async def test_a_folder_that_is_not_there_is_watched(self, tmp_path):
        """It says which, and leaves nothing open."""
        before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
        with pytest.raises(FileNotFoundError, match="none"):
            async with Inotify([tmp_path / "none"], (), listing):
                pass
        assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
