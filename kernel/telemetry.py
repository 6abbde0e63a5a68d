"""Spans for OpenTelemetry: one for each call, and a moment for each event and refusal; made by the hooks that watch."""

from __future__ import annotations

from typing import Any

from aetherra.kernel.errors import ConfigError
from aetherra.kernel.hookspecs import hookimpl
from aetherra.registry import Call, Identity, Message, Request, tag_of

INSTALL = "pip install 'aetherra[otel]'"


class Spans:
    """Makes spans by whatever OpenTelemetry provider the host has set up; without one they cost little and go nowhere.

    A call's span is the current one while its handler runs, so that what the handler does with instrumented libraries
    comes under it. Attributes follow the messaging conventions as far as they fit; ours begin with ``aetherra.``.

    Raises:
        ConfigError: OpenTelemetry's API is not installed.
    """

    def __init__(self) -> None:
        try:
            from opentelemetry import context, trace  # noqa: PLC0415  # an extra, imported only where it is asked for
        except ImportError as exc:
            raise ConfigError("config", f"`$.kernel.telemetry`: OpenTelemetry is not installed: {INSTALL}") from exc
        self._context: Any = context
        self._trace: Any = trace
        self._tracer: Any = trace.get_tracer("aetherra")
        self._open: dict[int, tuple[Any, Any]] = {}

    @hookimpl
    def before_call(self, call: Call, request: Request[Any]) -> None:
        """Begin a span, under the one that is current."""
        del request
        provider: Identity = call.line.route.provider
        attributes = {
            "messaging.operation.type": "process",
            "messaging.destination.name": call.tag,
            "aetherra.caller": str(call.caller),
            "aetherra.plugin": provider.name,
            "aetherra.generation": provider.generation,
            "aetherra.conversation": call.trace_id,
            "aetherra.causation": call.causation_id,
        }
        span = self._tracer.start_span(call.tag, kind=self._trace.SpanKind.SERVER, attributes=attributes)
        self._open[id(call)] = (span, self._context.attach(self._trace.set_span_in_context(span)))

    @hookimpl
    def after_call(self, call: Call, seconds: float, error: BaseException | None) -> None:
        """End a call's span; an error is recorded in it."""
        del seconds
        span, token = self._open.pop(id(call), (None, None))
        if span is None:
            return
        self._context.detach(token)
        if error is not None:
            span.record_exception(error)
            span.set_status(self._trace.Status(self._trace.StatusCode.ERROR, f"{type(error).__name__}: {error}"))
        span.end()

    @hookimpl
    def event_published(self, event: Message, publisher: Identity, kept: int) -> None:
        """Make a span without length."""
        tag = tag_of(type(event))
        attributes = {
            "messaging.operation.type": "send",
            "messaging.destination.name": tag,
            "aetherra.publisher": str(publisher),
            "aetherra.subscribers": kept,
        }
        self._tracer.start_span(f"publish {tag}", kind=self._trace.SpanKind.PRODUCER, attributes=attributes).end()

    @hookimpl
    def act_refused(self, who: Identity, tag: str, error: Exception) -> None:
        """Note a refusal in the span that is current."""
        self._trace.get_current_span().add_event(
            "aetherra.refused", {"aetherra.caller": str(who), "messaging.destination.name": tag, "error": str(error)}
        )
