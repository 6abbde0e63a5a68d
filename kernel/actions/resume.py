"""The actions of an earlier run: each is taken up, or waits for its plugin, or is dead."""

from __future__ import annotations

import anyio.lowlevel

from aetherra.kernel.actions.dlq import DeadLetterQueue
from aetherra.kernel.actions.journal import Journal, Unfinished
from aetherra.kernel.actions.queue import ActionQueue
from aetherra.kernel.actions.records import Accepted
from aetherra.registry import Bus, NoHandlerError, ServiceRegistered

AT_ONCE = 500
"""Actions that are taken up before other tasks have a turn."""


def without_buried(journal: Journal, dlq: DeadLetterQueue, unfinished: Unfinished) -> Unfinished:
    """Leave out, and finish, the actions whose dead letters are on disk: the host died between letter and journal.

    A letter of an earlier submission of the same envelope, which may be dated later if the clock was set back, is
    known by the time of its admission.
    """
    accepted = {record.trace_id: record.enqueued for record, _ in unfinished.actions}
    if not accepted:
        return unfinished
    letters = [
        letter
        for parked in (False, True)
        for letter in dlq.items(limit=len(accepted), trace_ids=accepted, since=min(accepted.values()), parked=parked)
    ]
    buried = {letter.trace_id for letter in letters if letter.enqueued == accepted[letter.trace_id] > 0}
    for trace_id in buried:
        journal.finish(trace_id)
    actions = [(record, attempts) for record, attempts in unfinished.actions if record.trace_id not in buried]
    return Unfinished(actions, unfinished.done)


class Resumption:
    """Hands to a queue what its journal has of an earlier run.

    An action whose tag nobody answers yet waits ``default_timeout`` for its plugin, or until it is submitted again
    under its key. One that nobody can read any more is dead-lettered, and so is one whose attempts are used up: each
    was under way when a host died, and might kill this one, too.

    Args:
        bus: Who tells what class a tag's requests have today.
        queue: Whoever sees them to their end.
    """

    def __init__(self, bus: Bus, queue: ActionQueue) -> None:
        self._bus = bus
        self._queue = queue

    def begin(self, unfinished: Unfinished) -> None:
        """Take up what can be taken up at once, in the order of acceptance, and honour the keys of what was done."""
        for finished in unfinished.done:
            self._queue.remember(finished)
        for record, attempts in unfinished.actions:
            self._queue.unclaimed.add(record, attempts)
            self._take_up(record)

    async def run(self) -> None:
        """Take up the others as their plugins come; dead-letter those whose plugin does not."""
        unclaimed = self._queue.unclaimed
        with self._bus.subscribe(ServiceRegistered) as events, self._bus.clock.move_on_after(self._bus.default_timeout):
            while unclaimed and not self._queue.is_stopping:
                for i, (record, _) in enumerate(unclaimed):
                    self._take_up(record)
                    if i % AT_ONCE == AT_ONCE - 1:
                        await anyio.lowlevel.checkpoint()
                if unclaimed:
                    await anext(events)
        if not self._queue.is_stopping:
            for record, attempts in unclaimed:
                self._queue.give_up(record, attempts, NoHandlerError(record.action_type))
        unclaimed.clear()

    def _take_up(self, record: Accepted) -> None:
        """See an action into its lane or to its end, unless nobody answers its tag yet."""
        route = self._bus.route(record.action_type)
        claimed = None if route is None else self._queue.unclaimed.claim(record.trace_id, record.action_type)
        if route is not None and claimed is not None:
            self._queue.take_up(*claimed, route.request_type)
