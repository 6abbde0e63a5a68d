"""A gate before a handler: so many calls inside at a time, so many before it, in the order in which they came."""

from __future__ import annotations

from collections import deque

import anyio

from aetherra.registry.errors import HandlerBusyError


class Gate:
    """Bounds one handler's concurrency.

    Args:
        tag: What the handler answers; for errors.
        limit: Calls inside at a time.
        queue: Calls that may wait; one more is refused.
        kept: Whether the handler itself leaves, when it is done: a worker thread outlasts who waits for it.
    """

    __slots__ = ("_inside", "_waiting", "kept", "limit", "queue", "tag")

    def __init__(self, tag: str, limit: int, queue: int, *, kept: bool = False) -> None:
        self.kept = kept
        self.tag = tag
        self.limit = limit
        self.queue = queue
        self._inside = 0
        self._waiting: deque[anyio.Event] = deque()

    @property
    def waiting(self) -> int:
        """Calls that wait."""
        return len(self._waiting)

    async def enter(self) -> None:
        """Go inside, waiting for a place if need be; cancelled, the place goes to the next.

        Raises:
            HandlerBusyError: As many wait already as may.
        """
        if self._inside < self.limit:
            self._inside += 1
            return
        if len(self._waiting) >= self.queue:
            raise HandlerBusyError(self.tag, self.limit, self.queue)
        turn = anyio.Event()
        self._waiting.append(turn)
        try:
            await turn.wait()
        except BaseException:
            if turn.is_set():
                self.leave()
            else:
                self._waiting.remove(turn)
            raise

    def leave(self) -> None:
        """Go outside; who has waited longest takes the place."""
        if self._waiting:
            self._waiting.popleft().set()
        else:
            self._inside -= 1
