"""Idempotency keys: which work is known already, for as long as its key counts."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any, cast

from aetherra.kernel.actions.envelope import ActionEnvelope
from aetherra.kernel.actions.handle import ActionHandle
from aetherra.kernel.actions.records import Finished
from aetherra.kernel.errors import ReplyLostError
from aetherra.registry import Clock, Message, MessageValidationError, Request
from aetherra.registry.messages import TAG_FIELD, message_classes, read_reply, reply_annotation

MOST = 100_000
"""Keys of finished work that are kept; the one that would count no longer first goes first."""
Key = tuple[str, str]
"""An action type, and the submitter's key."""


class Keys:
    """Handles by key: of actions that are not finished, and of those done whose window has not passed.

    An action that is dead lets its key go: the work was not done.

    Args:
        clock: Where time comes from.
        forgotten: Told of the trace id of work whose key counts no more.
    """

    def __init__(self, clock: Clock, forgotten: Callable[[str], object] = lambda _: None) -> None:
        self.duplicates = 0
        self._forgotten = forgotten
        self._clock = clock
        self._handles: dict[Key, ActionHandle[Any] | Finished] = {}
        self._until: list[tuple[float, Key, str]] = []

    def __len__(self) -> int:
        self._expire()
        return len(self._handles)

    def find(self, key: Key, request: Request[Any]) -> ActionHandle[Any] | None:
        """Return the handle of the work that a key stands for, ``None`` if it is new; counts a duplicate."""
        known = self._handles.get(key)
        if isinstance(known, ActionHandle) and not known.is_ended:
            self.duplicates += 1
            return known
        self._expire()
        known = self._handles.get(key)
        if known is None:
            return None
        self.duplicates += 1
        return known if isinstance(known, ActionHandle) else _restored(known, request)

    def hold(self, key: Key, handle: ActionHandle[Any]) -> None:
        """Let a key stand for an action that is not finished."""
        self._handles[key] = handle

    def keep(self, key: Key, known: ActionHandle[Any] | Finished, until: float) -> None:
        """Let a key stand for work that is done, until a Unix time; a clock that is put right later moves nothing."""
        self._handles[key] = known
        ends = self._clock.monotonic() + until - self._clock.time()
        heapq.heappush(self._until, (ends, key, known.trace_id))
        self._expire()
        while len(self._until) > MOST:
            self._let_go(*heapq.heappop(self._until)[1:])

    def release(self, key: Key, handle: ActionHandle[Any]) -> None:
        """Let a key of an action that is dead stand for nothing."""
        if self._handles.get(key) is handle:
            del self._handles[key]

    def _expire(self) -> None:
        now = self._clock.monotonic()
        while self._until and self._until[0][0] <= now:
            self._let_go(*heapq.heappop(self._until)[1:])

    def _let_go(self, key: Key, trace_id: str) -> None:
        known = self._handles.get(key)
        if known is not None and known.trace_id == trace_id:
            del self._handles[key]
        self._forgotten(trace_id)


def _restored(finished: Finished, request: Request[Any]) -> ActionHandle[Any]:
    """Return the handle of work that an earlier run has done, with the reply as today's request names it."""
    handle: ActionHandle[Any] = ActionHandle(ActionEnvelope(request, trace_id=finished.trace_id))
    try:
        handle.settle(_reply_of(finished, request))
    except (ReplyLostError, MessageValidationError) as exc:
        handle.settle(error=exc)
        handle.status = "done"
    return handle


def _reply_of(finished: Finished, request: Request[Any]) -> Any:
    if finished.lost:
        raise ReplyLostError(finished.trace_id, "the journal could not hold it")
    reply = finished.reply
    tag = cast("dict[str, Any]", reply).get(TAG_FIELD) if isinstance(reply, dict) else None
    if tag is not None:
        classes = message_classes(reply_annotation(type(request)))
        if tag not in [cls.__codec__.tag for cls in classes if issubclass(cls, Message)]:
            raise ReplyLostError(finished.trace_id, f"it was a {tag!r}, which today's request does not know")
    return read_reply(type(request), finished.reply)
