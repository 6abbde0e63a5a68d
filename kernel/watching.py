"""What the bus tells a watcher, passed on to the plugins that implement the hooks for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from aetherra.registry import Call, Identity, Message, Request


class HookObserver:
    """Calls ``before_call``, ``after_call``, ``event_published`` and ``act_refused``; one that raises is logged.

    Args:
        call: Calls each implementation of a hook with these arguments, and yields what they return.
    """

    def __init__(self, call: Callable[..., Iterator[tuple[str, Any]]]) -> None:
        self._call = call

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
        for _ in self._call(hook, **arguments):
            pass
