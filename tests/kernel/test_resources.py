"""Resources: entered and left by tasks of their own, in reverse, whatever they do."""

from __future__ import annotations

import gc
import stat
import tempfile
import threading
import weakref
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import anyio
import pytest

from aetherra.kernel.resources import ResourceOwner


class Log:
    """What happened, and a report that notes faults."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.faults: list[tuple[str, BaseException]] = []
        self.reported = anyio.Event()

    def report(self, what: str, fault: BaseException) -> None:
        self.faults.append((what, fault))
        self.reported.set()

    @asynccontextmanager
    async def note(self, name: str) -> AsyncGenerator[str]:
        self.lines.append(f"enter {name}")
        try:
            yield name
        finally:
            self.lines.append(f"leave {name}")

    @contextmanager
    def note_sync(self, name: str) -> Generator[str]:
        self.lines.append(f"enter {name}")
        yield name
        self.lines.append(f"leave {name}")


class TestOrder:
    async def test_resources_are_left_in_another_order_than_reverse(self) -> None:
        """Async and plain context managers and callbacks are undone last in first out."""
        log = Log()
        async with anyio.create_task_group() as group:
            owner = ResourceOwner(group, log.report)
            assert await owner.enter(log.note("a")) == "a"
            assert await owner.enter(log.note_sync("b")) == "b"
            owner.defer(lambda: log.lines.append("callback"))
            await owner.enter(log.note("c"))
            await owner.close()
        assert log.lines == ["enter a", "enter b", "enter c", "leave c", "callback", "leave b", "leave a"]
        assert log.faults == []

    async def test_one_that_opens_a_task_group_is_left_by_another_task(self) -> None:
        """A context manager with a task group and a cancel scope inside works, beside others of its kind."""
        ended: list[str] = []

        @asynccontextmanager
        async def working(name: str) -> AsyncGenerator[None]:
            task = anyio.get_current_task()
            with anyio.CancelScope():
                async with anyio.create_task_group() as inner:
                    inner.start_soon(anyio.sleep_forever)
                    yield
                    inner.cancel_scope.cancel()
            assert anyio.get_current_task() == task
            ended.append(name)

        log = Log()
        async with anyio.create_task_group() as group:
            owner = ResourceOwner(group, log.report)
            await owner.enter(working("a"))
            await owner.enter(working("b"))
            await owner.close()
        assert ended == ["b", "a"]
        assert log.faults == []

    async def test_something_is_taken_after_the_close(self) -> None:
        """A closed owner takes nothing more, as nobody would give it back."""
        log = Log()
        async with anyio.create_task_group() as group:
            owner = ResourceOwner(group, log.report)
            await owner.close()
            with pytest.raises(RuntimeError, match="can take nothing more"):
                await owner.enter(log.note("a"))
            with pytest.raises(RuntimeError, match="can take nothing more"):
                owner.defer(lambda: None)
        assert log.lines == []


class TestFaults:
    async def test_an_enter_that_raises_is_reported_elsewhere(self) -> None:
        """What entering raises comes to the caller, and the others are not touched."""

        @asynccontextmanager
        async def broken() -> AsyncGenerator[None]:
            raise OSError("no such probe")
            yield

        log = Log()
        async with anyio.create_task_group() as group:
            owner = ResourceOwner(group, log.report)
            await owner.enter(log.note("a"))
            with pytest.raises(OSError, match="no such probe"):
                await owner.enter(broken())
            await owner.close()
        assert log.lines == ["enter a", "leave a"]
        assert log.faults == []

    @pytest.mark.parametrize("fault", [OSError("gone"), SystemExit(3)])
    async def test_a_leave_that_raises_keeps_the_others_from_being_left(self, fault: BaseException) -> None:
        """What leaving raises is reported with its name, and everything else is left."""

        @asynccontextmanager
        async def broken() -> AsyncGenerator[None]:
            yield
            raise fault

        def bad_callback() -> None:
            raise fault

        log = Log()
        async with anyio.create_task_group() as group:
            owner = ResourceOwner(group, log.report)
            await owner.enter(log.note("a"))
            await owner.enter(broken())
            owner.defer(bad_callback)
            await owner.close()
        assert log.lines == ["enter a", "leave a"]
        assert [raised for _, raised in log.faults] == [fault, fault]
        assert "bad_callback" in log.faults[0][0]

    async def test_one_that_breaks_while_it_is_held_takes_others_along(self) -> None:
        """A task group of a resource that crashes is reported at once, and ends that resource alone."""
        go = anyio.Event()

        @asynccontextmanager
        async def crashing() -> AsyncGenerator[None]:
            async def crash() -> None:
                await go.wait()
                raise OSError("lost the probe")

            async with anyio.create_task_group() as inner:
                inner.start_soon(crash)
                yield

        log = Log()
        async with anyio.create_task_group() as group:
            owner = ResourceOwner(group, log.report)
            await owner.enter(log.note("a"))
            await owner.enter(crashing())
            go.set()
            await log.reported.wait()
            assert len(log.faults) == 1
            assert log.lines == ["enter a"]
            await owner.close()
        assert log.lines == ["enter a", "leave a"]

    async def test_what_is_no_context_manager_is_taken_for_one(self) -> None:
        """Something else than a context manager is a ``TypeError`` for the caller."""
        async with anyio.create_task_group() as group:
            owner = ResourceOwner(group, Log().report)
            with pytest.raises(TypeError):
                await owner.enter(3)  # type: ignore[arg-type]  # the point
            await owner.close()


class TestHanging:
    async def test_an_enter_that_hangs_holds_up_another(self) -> None:
        """Two can be entered at a time, and a close cancels what is still being entered."""
        log = Log()

        @asynccontextmanager
        async def never() -> AsyncGenerator[None]:
            log.lines.append("trying")
            await anyio.sleep_forever()
            yield

        async def hang() -> None:
            with pytest.raises(RuntimeError, match="stopped before"):
                await owner.enter(never())

        async with anyio.create_task_group() as group:
            owner = ResourceOwner(group, log.report)
            group.start_soon(hang)
            await anyio.wait_all_tasks_blocked()
            assert await owner.enter(log.note("a")) == "a"
            await owner.close()
        assert log.lines == ["trying", "enter a", "leave a"]

    async def test_a_cancelled_enter_leaves_its_resource_behind(self) -> None:
        """A caller that gives up on entering has nothing entered later."""
        log = Log()
        release = anyio.Event()

        @asynccontextmanager
        async def slow() -> AsyncGenerator[None]:
            await release.wait()
            log.lines.append("entered after all")
            yield

        async with anyio.create_task_group() as group:
            owner = ResourceOwner(group, log.report)
            async with anyio.create_task_group() as entering:
                entering.start_soon(owner.enter, slow())
                await anyio.wait_all_tasks_blocked()
                entering.cancel_scope.cancel()
            await anyio.wait_all_tasks_blocked()
            release.set()
            await owner.close()
        assert log.lines == []

    async def test_a_leave_that_hangs_keeps_the_rest_from_being_left_in_order(self) -> None:
        """A close that was cancelled says where it hung; another in a hurry goes on from there, in order."""
        log = Log()

        @asynccontextmanager
        async def hanging_at_the_end() -> AsyncGenerator[None]:
            try:
                yield
                await anyio.sleep_forever()
            finally:
                log.lines.append("torn away")

        async with anyio.create_task_group() as group:
            owner = ResourceOwner(group, log.report)
            await owner.enter(log.note("a"))
            await owner.enter(hanging_at_the_end())
            await owner.enter(log.note("c"))
            async with anyio.create_task_group() as closing:
                closing.start_soon(owner.close)
                await anyio.wait_all_tasks_blocked()
                assert "hanging_at_the_end" in owner.stack()
                closing.cancel_scope.cancel()
            assert log.lines == ["enter a", "enter c", "leave c"]
            await owner.close(hurry=True)
        assert log.lines[3:] == ["torn away", "leave a"]

    async def test_an_abort_waits(self) -> None:
        """An abort cancels all that is held without waiting for any."""
        log = Log()
        async with anyio.create_task_group() as group:
            owner = ResourceOwner(group, log.report)
            await owner.enter(log.note("a"))
            await owner.enter(log.note("b"))
            owner.abort()
        assert sorted(log.lines) == ["enter a", "enter b", "leave a", "leave b"]


class TestThreads:
    async def test_a_thread_does_not_end_in_its_turn(self) -> None:
        """It is told to end and awaited after what was taken later, and before what was taken earlier."""
        log = Log()

        def work(stop: threading.Event, name: str) -> None:
            stop.wait(10.0)
            log.lines.append(f"{name} ended")

        async with anyio.create_task_group() as group:
            owner = ResourceOwner(group, log.report)
            await owner.enter(log.note("below"))
            owner.start_thread(work, "thread", name="worker")
            owner.defer(lambda: log.lines.append("above"))
            await owner.close()
        assert log.lines == ["enter below", "above", "thread ended", "leave below"]
        assert log.faults == []

    async def test_a_thread_that_raises_is_silent(self) -> None:
        """What it raises, ``SystemExit`` too, is reported under the thread's name."""
        log = Log()

        def leave(_: threading.Event) -> None:
            raise SystemExit(3)

        async with anyio.create_task_group() as group:
            owner = ResourceOwner(group, log.report)
            owner.start_thread(leave, name="worker")
            with anyio.fail_after(10):
                await log.reported.wait()
            await owner.close()
        ((what, fault),) = log.faults
        assert what == "thread 'worker'"
        assert isinstance(fault, SystemExit)

    async def test_a_thread_that_has_ended_is_kept(self) -> None:
        """One that ended by itself is held no more, nor are its arguments."""
        log = Log()

        class Argument:
            pass

        argument = Argument()
        ghost = weakref.ref(argument)

        def work(_: threading.Event, argument: Argument) -> None:
            raise ValueError(argument)

        async with anyio.create_task_group() as group:
            owner = ResourceOwner(group, log.report)
            owner.start_thread(work, argument, name="worker")
            del argument
            with anyio.fail_after(10):
                await log.reported.wait()
            log.faults.clear()
            with anyio.fail_after(10):
                while ghost() is not None:  # the thread's last frame goes when it likes
                    gc.collect()
                    await anyio.sleep(0.001)
            await owner.close()

    async def test_a_thread_that_does_not_end_holds_up_the_rest(self) -> None:
        """In a hurry it is given up, the rest is left, and its stack tells where it is."""
        log = Log()
        release = threading.Event()

        def hang(_: threading.Event) -> None:
            release.wait(30.0)

        try:
            async with anyio.create_task_group() as group:
                owner = ResourceOwner(group, log.report)
                await owner.enter(log.note("below"))
                owner.start_thread(hang, name="worker")
                with anyio.move_on_after(0.01) as scope:
                    await owner.close()
                assert scope.cancelled_caught
                assert "'worker'" in owner.stack()
                assert "release.wait(30.0)" in owner.stack()
                await owner.close(hurry=True)
            assert log.lines == ["enter below", "leave below"]
        finally:
            release.set()


def late_folders() -> set[Path]:
    """What a folder made too late would be among."""
    return set(Path(tempfile.gettempdir()).glob("aetherra-late-*"))


class TestTemporaryFolders:
    async def test_a_temporary_folder_stays(self) -> None:
        """It is private, empty, there at once, and gone with all in it at the end."""
        log = Log()
        async with anyio.create_task_group() as group:
            owner = ResourceOwner(group, log.report)
            first, second = owner.temporary_folder("aetherra-test-"), owner.temporary_folder("aetherra-test-")
            assert first != second
            assert first.name.startswith("aetherra-test-")
            assert stat.S_IMODE(first.stat().st_mode) == 0o700
            (first / "a" / "b").mkdir(parents=True)
            (first / "a" / "b" / "file").write_text("x")
            (first / "a").chmod(0o500)
            await owner.close()
            assert not first.exists()
            assert not second.exists()
        assert log.faults == []

    async def test_a_folder_that_cannot_be_removed_is_not_told_of(self) -> None:
        """The report has the path and what the system said."""
        log = Log()
        async with anyio.create_task_group() as group:
            owner = ResourceOwner(group, log.report)
            folder = owner.temporary_folder("aetherra-test-")
            folder.rmdir()
            folder.write_text("somebody else's")
            await owner.close()
        folder.unlink()
        ((what, fault),) = log.faults
        assert what == f"removing the temporary folder {folder}"
        assert isinstance(fault, NotADirectoryError)

    async def test_what_ended_takes_more(self) -> None:
        """After the end no folder is made and no thread started."""
        log = Log()
        async with anyio.create_task_group() as group:
            owner = ResourceOwner(group, log.report)
            await owner.close()
            threads, folders = set(threading.enumerate()), late_folders()
            with pytest.raises(RuntimeError, match="stopping"):
                owner.start_thread(print, name="late")
            with pytest.raises(RuntimeError, match="stopping"):
                owner.temporary_folder("aetherra-late-")
            assert set(threading.enumerate()) <= threads
            assert late_folders() == folders
