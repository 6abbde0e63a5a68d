"""Hooks: each implementation is asked, and none can keep the others from it."""

from __future__ import annotations

import gc
import sys
import weakref
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from aetherra.kernel import MetricSample, Plugin, PluginDefinitionError, Vote, hookimpl
from aetherra.kernel.host import HookCaller
from aetherra.registry import HealthReport, ServiceStatus

SAMPLE = MetricSample("queue.depth", 1.0, "")
REPORT = HealthReport("room", ServiceStatus.DEGRADED)


class Good(Plugin):
    @hookimpl
    def collect_metrics(self) -> Iterable[MetricSample]:
        return [SAMPLE]

    @hookimpl(specname="health")
    def tell(self) -> HealthReport:
        return REPORT


def fail() -> None:
    raise ValueError("broken")


def leave() -> None:
    sys.exit(3)


def half_way() -> Iterator[MetricSample]:
    yield SAMPLE
    raise ValueError("broken half-way")


class TestCall:
    def test_an_implementation_is_not_asked(self) -> None:
        """Each plugin's implementation is called, by its own name or the hook's, the last registered first."""
        hooks = HookCaller()
        hooks.register(Good(), "a")
        hooks.register(Good(), "b")
        assert list(hooks.call("collect_metrics")) == [("b", (SAMPLE,)), ("a", (SAMPLE,))]
        assert list(hooks.call("health")) == [("b", REPORT), ("a", REPORT)]
        assert list(hooks.call("cycle_steps")) == []

    @pytest.mark.parametrize("implementation", [fail, leave, half_way, lambda: [3], lambda: 3])
    def test_a_broken_implementation_keeps_others_from_being_asked(
        self, implementation: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        """One that raises, at once or half-way, or returns what is no result, is logged and left out."""

        class Broken(Plugin):
            @hookimpl
            def collect_metrics(self) -> Any:
                return implementation()

        hooks = HookCaller()
        for name, plugin in (("a", Good()), ("broken", Broken()), ("b", Good())):
            hooks.register(plugin, name)
        assert [name for name, _ in hooks.call("collect_metrics")] == ["b", "a"]
        assert "plugin 'broken' failed in hook 'collect_metrics'" in caplog.text

    def test_an_implementation_cannot_be_asked_by_itself(self) -> None:
        """Who asks often may ask each one by itself, and gets what it raises, and nothing that is not the hook's."""

        class Reader(Plugin):
            version = "7"

            @hookimpl
            def classify_file(self, path: str) -> Any:
                return {"a": Vote("docs", 2.0, "a"), "b": None, "c": 3}[path]

        hooks = HookCaller()
        hooks.register(Good(), "good")
        hooks.register(Reader(), "reader")
        (reader,) = hooks.implementations("classify_file")

        assert (reader.plugin, reader.version) == ("reader", "7")
        assert reader.call(path="a", head=b"", facts=None) == Vote("docs", 2.0, "a")
        assert reader.call(path="b", head=b"", facts=None) is None
        with pytest.raises(TypeError, match="expected Vote, got int"):
            reader.call(path="c", head=b"", facts=None)
        with pytest.raises(KeyError):
            reader.call(path="d", head=b"", facts=None)

    def test_a_removed_implementation_is_asked(self) -> None:
        """After its removal a plugin is not asked any more, and is freed; twice does no harm."""
        hooks, plugin = HookCaller(), Good()
        hooks.register(plugin, "a")
        hooks.unregister(plugin)
        hooks.unregister(plugin)
        assert list(hooks.call("health")) == []
        ref = weakref.ref(plugin)
        del plugin
        gc.collect()
        assert ref() is None


class TestRefusal:
    @pytest.mark.parametrize(
        ("implementation", "problem"),
        [
            (hookimpl(wrapper=True)(lambda self: (yield)), "'health' is a wrapper; expected a plain one"),
            (hookimpl(hookwrapper=True)(lambda self: (yield)), "'health' is a wrapper; expected a plain one"),
            (
                hookimpl(lambda self, unknown: None),
                "takes 'unknown', which hook 'health' does not have; it has no arguments",
            ),
        ],
    )
    def test_an_implementation_that_cannot_work_is_taken(self, implementation: Any, problem: str) -> None:
        """Wrappers and unknown arguments are refused, and nothing of the plugin stays registered."""
        broken = type("Broken", (Good,), {"health": implementation})()
        hooks = HookCaller()
        with pytest.raises(PluginDefinitionError, match=problem):
            hooks.check(broken)
        assert list(hooks.call("collect_metrics")) == []

    def test_an_async_implementation_is_taken(self) -> None:
        """A coroutine would never be awaited."""

        class Async(Plugin):
            @hookimpl
            async def health(self) -> None: ...

        with pytest.raises(PluginDefinitionError, match="'health' is async; expected a plain function"):
            HookCaller().check(Async())

    def test_a_misspelt_hook_is_taken(self) -> None:
        """An implementation of no hook there is would never be called."""

        class Misspelt(Plugin):
            @hookimpl
            def helth(self) -> None: ...

        with pytest.raises(PluginDefinitionError, match="there is no hook 'helth'; expected one of collect_metrics, "):
            HookCaller().check(Misspelt())

    def test_a_check_leaves_something_registered(self) -> None:
        """Checking a plugin does not have it asked."""
        hooks = HookCaller()
        hooks.check(Good())
        assert list(hooks.call("health")) == []


class TestOddPlugins:
    def test_one_that_equals_everything_keeps_others_out(self) -> None:
        """Plugins are told apart by what they are, whatever they say of their equality or their attributes."""

        class Odd(Good):
            __hash__ = None  # type: ignore[assignment]  # the point

            def __eq__(self, other: object) -> bool:
                return True

            @property
            def trap(self) -> None:
                raise SystemExit(3)

        hooks = HookCaller()
        odd, good = Odd(), Good()
        hooks.register(odd, "odd")
        hooks.register(good, "good")
        assert [name for name, _ in hooks.call("health")] == ["good", "odd"]
        hooks.unregister(odd)
        assert [name for name, _ in hooks.call("health")] == ["good"]
