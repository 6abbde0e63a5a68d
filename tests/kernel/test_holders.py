"""What keeps an object alive: the way to it, in words."""

from __future__ import annotations

import contextvars
import functools
import gc
import sys
import threading
import types
import typing
import weakref
from collections.abc import Callable, Generator

import anyio
import pytest

from aetherra.kernel.holders import UNSEEN, holder_of

Cache = dict[str, object]


class Counter:
    """Something that is kept alive."""

    def tick(self) -> None:
        """Be a method."""


class Slotted:
    """A holder without a ``__dict__``."""

    __slots__ = ("counter",)

    def __init__(self, counter: Counter) -> None:
        self.counter = counter


@pytest.fixture(autouse=True)
def all_is_seen() -> Generator[None]:
    """Let the collector see what stood when the tests began, which is where some holders are."""
    gc.unfreeze()
    yield
    gc.freeze()


@pytest.fixture
def cache() -> Generator[Cache]:
    """A module of a host, in which things are kept."""
    module = types.ModuleType("host_cache")
    sys.modules["host_cache"] = module
    yield vars(module)
    del sys.modules["host_cache"]


def kept_by(keep: Callable[[Counter], object]) -> weakref.ref[Counter]:
    """Have something keep a counter, and return a weak reference to it."""
    counter = Counter()
    keep(counter)
    return weakref.ref(counter)


class TestWays:
    def test_a_module_is_not_named(self, cache: Cache) -> None:
        """From the module's attribute over lists and methods to the object."""
        ghost = kept_by(lambda counter: cache.update(CALLBACKS=[0, 1, 2, counter.tick]))
        way = "module 'host_cache' attribute 'CALLBACKS' -> list[3] -> method Counter.tick -> "
        assert holder_of(ghost) == f"{way}{__name__}.Counter object"

    def test_an_attribute_is_not_named(self, cache: Cache) -> None:
        """Objects name the attribute, with and without a ``__dict__``; dicts the key."""
        ghost = kept_by(lambda counter: cache.update(x={"a": types.SimpleNamespace(slotted=Slotted(counter))}))
        assert holder_of(ghost) == (
            "module 'host_cache' attribute 'x' -> dict['a'] -> types.SimpleNamespace object attribute 'slotted' -> "
            f"{__name__}.Slotted object attribute 'counter' -> {__name__}.Counter object"
        )

    def test_a_class_is_not_told_from_its_objects(self, cache: Cache) -> None:
        """A class that is held by an object of its own, and one in a class attribute, are told as such."""
        kind = type("Kind", (), {})
        cache["one"] = kind()
        ghost = weakref.ref(kind)
        del kind
        way = f"module 'host_cache' attribute 'one' -> {__name__}.Kind object -> class {__name__}.Kind"
        assert holder_of(ghost) == way

        cache["Holder"] = type("Holder", (), {"kept": Counter(), "__module__": "host_cache"})
        ghost = weakref.ref(typing.cast("typing.Any", cache["Holder"]).kept)
        assert "module 'host_cache' attribute 'Holder' -> class host_cache.Holder attribute 'kept'" in holder_of(ghost)

    def test_a_closure_is_not_named(self, cache: Cache) -> None:
        """A function names the variable that it closes over."""

        def close_over(counter: Counter) -> None:
            cache["later"] = lambda: counter

        text = holder_of(kept_by(close_over))
        assert text.startswith("module 'host_cache' attribute 'later' -> function ")
        assert "variable 'counter' -> " in text

    def test_a_kept_exception_is_not_named(self, cache: Cache) -> None:
        """Its traceback holds the variables of the frames that it passed."""

        def fail(counter: Counter) -> None:
            try:
                raise ValueError(counter.tick.__name__)
            except ValueError as exc:
                cache["last"] = exc

        text = holder_of(kept_by(fail))
        assert text.startswith("module 'host_cache' attribute 'last' -> exception ValueError traceback -> ")
        assert "variable 'counter'" in text

    def test_caches_are_not_named(self) -> None:
        """``lru_cache`` of code that stays, and what ``typing`` remembers."""

        @functools.lru_cache
        def remember(counter: Counter) -> Counter:
            return counter

        ghost = kept_by(remember)
        assert holder_of(ghost) == f"cache of {__name__}.{remember.__qualname__} -> {__name__}.Counter object"

        kind = type("Kind", (), {})
        assert typing.Optional[kind] is not None  # noqa: UP045  # the old way is what is remembered
        ghost_of_kind = weakref.ref(kind)
        del kind
        gc.collect()
        assert holder_of(ghost_of_kind).startswith("cache of typing.")

    def test_a_registry_is_not_named(self, cache: Cache) -> None:
        """``singledispatch`` keeps the classes that were registered."""

        @functools.singledispatch
        def show(thing: object) -> str:
            return str(thing)

        cache["show"] = show
        kind = type("Kind", (), {})
        show.register(kind, str)
        ghost = weakref.ref(kind)
        del kind, show
        text = holder_of(ghost)
        assert text.startswith("module 'host_cache' attribute 'show' -> function ")
        assert text.endswith(f"dict key -> class {__name__}.Kind")

    def test_a_context_variable_is_not_named(self) -> None:
        """By the name of the variable."""
        variable: contextvars.ContextVar[Counter] = contextvars.ContextVar("host_counter")
        context = contextvars.copy_context()
        ghost = kept_by(lambda counter: context.run(variable.set, counter))
        assert holder_of(ghost) == f"ContextVar 'host_counter' -> {__name__}.Counter object"

    def test_a_threads_variable_is_not_named(self) -> None:
        """A running frame hides its variables from the garbage collector, and does not keep them longer for it."""
        inside, release, over, stop = (threading.Event() for _ in range(4))

        def work() -> None:
            counter: Counter | None = Counter()
            ghosts.append(weakref.ref(counter))
            inside.set()
            release.wait(10.0)
            counter = None  # let go of it
            over.set()
            stop.wait(10.0)

        ghosts: list[weakref.ref[Counter | None]] = []
        thread = threading.Thread(target=work, name="worker", daemon=True)
        thread.start()
        inside.wait(10.0)
        text = holder_of(ghosts[0])
        assert text.startswith("thread 'worker' in ")
        assert "variable 'counter' -> " in text
        release.set()
        over.wait(10.0)
        assert ghosts[0]() is None
        stop.set()
        thread.join(10.0)

    def test_a_search_changes_a_threads_variables(self, cache: Cache) -> None:
        """What a function has of its own ``locals()`` is as it was after a search."""
        inside, stop = threading.Event(), threading.Event()
        seen: list[dict[str, object]] = []

        def work(number: int) -> None:
            variables = locals()
            inside.set()
            stop.wait(10.0)
            seen.append(dict(variables))

        thread = threading.Thread(target=work, args=(7,), daemon=True)
        thread.start()
        inside.wait(10.0)
        assert holder_of(kept_by(lambda counter: cache.update(x=[counter])))
        stop.set()
        thread.join(10.0)
        assert seen[0]["number"] == 7

    async def test_a_task_is_not_named(self) -> None:
        """A coroutine that waits is told with its line, below the task that it is of."""
        ready = anyio.Event()
        ghosts: list[weakref.ref[Counter]] = []

        async def wait() -> None:
            counter = Counter()
            ghosts.append(weakref.ref(counter))
            ready.set()
            await anyio.sleep_forever()

        async with anyio.create_task_group() as group:
            group.start_soon(wait, name="waiting")
            await ready.wait()
            await anyio.wait_all_tasks_blocked()
            text = holder_of(ghosts[0])
            group.cancel_scope.cancel()
        assert text.startswith("task 'waiting' -> ")
        assert "coroutine " in text


class TestNothing:
    def test_garbage_is_held(self) -> None:
        """What only holds itself is held by nothing, without a collection; what is gone by nothing at all."""
        counter = Counter()
        vars(counter)["self"] = [counter]
        ghost = weakref.ref(counter)
        gc.disable()
        try:
            del counter
            assert holder_of(ghost) == UNSEEN
        finally:
            gc.enable()
        gc.collect()
        assert holder_of(ghost) == ""

    def test_a_search_goes_on_for_ever(self, cache: Cache) -> None:
        """Out of time, it says so."""
        ghost = kept_by(lambda counter: cache.update(x=[[[counter]]]))
        assert holder_of(ghost, seconds=-1.0).startswith("not found within the time for it")

    def test_a_proxy_breaks_the_search(self, cache: Cache) -> None:
        """Things that answer by code of their own may raise whatever they like."""

        class Proxy:
            def __init__(self, thing: object) -> None:
                object.__setattr__(self, "_thing", [thing])

            def __getattribute__(self, name: str) -> object:
                raise RuntimeError(name)

        ghost = kept_by(lambda counter: cache.update(x=Proxy(counter)))
        text = holder_of(ghost)
        assert text.startswith("module 'host_cache' attribute 'x' -> ")
        assert holder_of(ghost) == text

    def test_a_search_keeps_what_it_finds(self, cache: Cache) -> None:
        """After a search the object goes as soon as its holder does."""
        ghost = kept_by(lambda counter: cache.update(x=[counter]))
        assert holder_of(ghost)
        del cache["x"]
        gc.collect()
        assert ghost() is None
