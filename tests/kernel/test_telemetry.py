"""Spans, as a real OpenTelemetry SDK records them."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from aetherra.kernel import Config, ConfigError, Kernel, Plugin, handler, telemetry
from aetherra.registry import HandlerError, Message, NoHandlerError, Request

RECORDED = InMemorySpanExporter()


class Told(Message, tag="spans.told"):
    pass


class Outer(Request[Told], tag="spans.outer"):
    fail: bool = False


class Inner(Request[Told], tag="spans.inner"):
    fail: bool = False


class Traced(Plugin):
    @handler
    async def outer(self, request: Outer) -> Told:
        return await self.ctx.call(Inner(request.fail))

    @handler
    async def inner(self, request: Inner) -> Told:
        if request.fail:
            raise ValueError("no")
        await self.ctx.publish(Told())
        return Told()


@pytest.fixture(scope="module", autouse=True)
def provider() -> None:
    """Record spans in memory; OpenTelemetry takes one provider a process."""
    recording = TracerProvider()
    recording.add_span_processor(SimpleSpanProcessor(RECORDED))
    trace.set_tracer_provider(recording)


def config() -> Config:
    kernel = {"data_dir": None, "discover": False, "durability": "none", "telemetry": "opentelemetry"}
    return Config.parse({"kernel": kernel})


async def spans_of(fail: bool) -> dict[str, ReadableSpan]:
    RECORDED.clear()
    async with Kernel(config()) as kernel:
        await kernel.add_plugin(Traced)
        RECORDED.clear()
        if fail:
            with pytest.raises(HandlerError):
                await kernel.call(Outer(fail))
        else:
            await kernel.call(Outer(fail))
        return {span.name: span for span in RECORDED.get_finished_spans()}


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


class TestSpans:
    async def test_spans_do_not_nest_as_calls_do(self) -> None:
        """An inner call's span, and an event's, is a child of the outer call's; all are of one conversation."""
        spans = await spans_of(fail=False)
        assert set(spans) == {"spans.outer", "spans.inner", "publish spans.told"}
        outer, inner, told = spans["spans.outer"], spans["spans.inner"], spans["publish spans.told"]
        assert outer.parent is None
        assert outer.context is not None
        assert inner.context is not None
        assert inner.parent is not None
        assert told.parent is not None
        assert (inner.parent.span_id, told.parent.span_id) == (outer.context.span_id, inner.context.span_id)
        assert attributes(outer)["aetherra.caller"] == "the host"
        assert attributes(inner)["aetherra.caller"] == "plugin 'traced' (generation 1)"
        assert attributes(inner)["aetherra.conversation"] == attributes(outer)["aetherra.conversation"]
        assert not trace.get_current_span().is_recording()

    async def test_an_error_is_not_in_the_span(self) -> None:
        """Both calls end with the error that their callers got."""
        spans = await spans_of(fail=True)
        assert {name: span.status.status_code.name for name, span in spans.items()} == {
            "spans.outer": "ERROR",
            "spans.inner": "ERROR",
        }
        assert [event.name for event in spans["spans.inner"].events] == ["exception"]

    async def test_a_refusal_goes_unseen(self) -> None:
        """It is noted in the span that was current."""
        RECORDED.clear()
        async with Kernel(config()) as kernel:
            with trace.get_tracer("test").start_as_current_span("mine"), pytest.raises(NoHandlerError):
                await kernel.call_tag("spans.outr")
        (mine,) = [span for span in RECORDED.get_finished_spans() if span.name == "mine"]
        assert [event.name for event in mine.events] == ["aetherra.refused"]


class TestExtra:
    def test_a_missing_extra_is_not_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Who asks for spans without the package hears what to install."""
        monkeypatch.setitem(sys.modules, "opentelemetry", None)
        with pytest.raises(ConfigError, match=r"pip install 'aetherra\[otel\]'"):
            telemetry.Spans()

    def test_it_is_imported_unasked(self) -> None:
        """A host without telemetry imports nothing of it."""
        code = "import sys, aetherra.kernel, aetherra.hmr; print([m for m in sys.modules if 'opentelemetry' in m])"
        printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        assert printed.strip() == "[]"
