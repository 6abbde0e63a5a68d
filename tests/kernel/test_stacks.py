"""Stacks: the text names the function in which something waits, whatever lies in between."""

from __future__ import annotations

import threading
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from typing import Any

import anyio

from aetherra.kernel.stacks import coroutine_frames, coroutine_stack, thread_stack


async def innermost_wait() -> None:
    await anyio.sleep_forever()


async def outer_wait() -> None:
    await innermost_wait()


async def stack_of(coroutine: Any) -> str:
    """Run a coroutine until it waits and return its stack then."""

    async def run() -> None:
        await coroutine

    async with anyio.create_task_group() as group:
        group.start_soon(run)
        await anyio.wait_all_tasks_blocked()
        stack = coroutine_stack(coroutine)
        group.cancel_scope.cancel()
    return stack


class TestCoroutineStack:
    async def test_it_names_only_the_outermost_function(self) -> None:
        """All frames down to the innermost are named, outermost first, with the source line."""
        stack = await stack_of(outer_wait())
        assert stack.index("outer_wait") < stack.index("in innermost_wait")
        assert "await anyio.sleep_forever()" in stack
        assert __file__ in stack

    async def test_it_ends_at_an_async_context_manager(self) -> None:
        """A wait inside an async generator's body is found behind the interpreter's opaque awaitables."""

        @asynccontextmanager
        async def manager() -> AsyncGenerator[None]:
            await innermost_wait()
            yield

        async def enter() -> None:
            async with manager():
                pass

        assert "in innermost_wait" in await stack_of(enter())

    async def test_it_ends_at_an_async_for(self) -> None:
        """A wait inside an async generator that is iterated is found."""

        async def numbers() -> AsyncGenerator[int]:
            await innermost_wait()
            yield 1

        async def iterate() -> None:
            async for _ in numbers():
                pass

        assert "in innermost_wait" in await stack_of(iterate())

    async def test_it_ends_at_an_awaitable_object(self) -> None:
        """A wait behind ``__await__`` is found."""

        class Awaitable:
            def __await__(self) -> Generator[Any, Any, None]:
                return innermost_wait().__await__()

        async def wait() -> None:
            await Awaitable()

        assert "in innermost_wait" in await stack_of(wait())

    def test_one_that_never_began_or_is_over_raises(self) -> None:
        """A coroutine without frames has a text, too."""
        coroutine = outer_wait()
        assert "outer_wait" in coroutine_stack(coroutine)
        coroutine.close()
        assert coroutine_frames(coroutine) == []
        assert coroutine_stack(None) == "  (it had not begun)"


class TestThreadStack:
    def test_it_names_another_function_than_the_thread_is_in(self) -> None:
        """Frames come innermost first, the text outermost first, without the import machinery."""
        begun, release = threading.Event(), threading.Event()

        def hang_in_a_thread() -> None:
            begun.set()
            release.wait()

        thread = threading.Thread(target=hang_in_a_thread)
        thread.start()
        begun.wait()
        frames, text = thread_stack(thread.ident or 0)
        release.set()
        thread.join()
        names = [frame.f_code.co_name for frame in frames]
        assert names.index("hang_in_a_thread") < names.index("run")
        assert text.index("in run") < text.index("in hang_in_a_thread")
        assert "<frozen" not in text

    def test_a_thread_that_is_gone_raises(self) -> None:
        """Nothing is said of a thread that is no more."""
        assert thread_stack(0) == ([], "")
