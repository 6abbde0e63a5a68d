"""What the bus tells a watcher, passed on to the plugins that implement the hooks for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from aetherra.registry import Call, Identity, Message, Request


class _Hooks(Protocol):
    def call(self, hook: str, **arguments: Any) -> Iterator[tuple[str, Any]]:
        """Call each implementation of a hook."""
        ...


class HookObserver:
    """Calls ``before_call``, ``after_call``, ``event_published`` and ``act_refused``; one that raises is logged."""

    def __init__(self, hooks: _Hooks) -> None:
        self._hooks = hooks

    def before_call(self, call: Call, request: Request[Any]) -> None:
        """Tell of a request that is about to reach its handler."""
        self._tell("before_call", call=call, request=request)

    def after_call(self, call: Call, seconds: float, error: BaseException | None) -> None:
        """Tell of a call that is over."""
        self._tell("after_call", call=call, seconds=seconds, error=error)

    def event_published(self, event: Message, publisher: Identity, kept: int) -> None:
        """Tell of an event that was published."""
        self._tell("event_published", event=event, publisher=publisher, kept=kept)

    def act_refused(self, who: Identity, tag: str, error: Exception) -> None:
        """Tell of what was refused."""
        self._tell("act_refused", who=who, tag=tag, error=error)

    def _tell(self, hook: str, **arguments: Any) -> None:
        for _ in self._hooks.call(hook, **arguments):
            pass
