"""The actions of an earlier run: each is taken up, or waits for its plugin, or is dead."""

from __future__ import annotations

from aetherra.kernel.actions.envelope import ActionEnvelope
from aetherra.kernel.actions.journal import Unfinished
from aetherra.kernel.actions.queue import ActionQueue
from aetherra.kernel.actions.records import Accepted
from aetherra.kernel.errors import ActionCancelledError
from aetherra.registry import Bus, NoHandlerError, ServiceRegistered


class Resumption:
    """Hands to a queue what its journal has of an earlier run.

    An action whose tag nobody answers yet waits ``default_timeout`` for its plugin. One that nobody can read any more
    is dead-lettered, and so is one whose attempts are used up: each was under way when a host died, and might kill this
    one, too.

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
        self._queue.unclaimed = [entry for entry in unfinished.actions if not self._take_up(*entry)]

    async def run(self) -> None:
        """Take up the others as their plugins come; dead-letter those whose plugin does not."""
        with self._bus.subscribe(ServiceRegistered) as events, self._bus.clock.move_on_after(self._bus.default_timeout):
            while self._queue.unclaimed and not self._queue.is_stopping:
                self._queue.unclaimed = [entry for entry in self._queue.unclaimed if not self._take_up(*entry)]
                if self._queue.unclaimed:
                    await anext(events)
        if not self._queue.is_stopping:
            for record, attempts in self._queue.unclaimed:
                self._queue.bury_record(record, "no_handler", attempts, NoHandlerError(record.action_type))
        self._queue.unclaimed.clear()

    def _take_up(self, record: Accepted, attempts: int) -> bool:
        """See an action into its lane or to its end; ``False`` if nobody answers its tag."""
        try:
            envelope = record.envelope(self._bus.request_type(record.action_type))
        except NoHandlerError:
            return False
        except ValueError as exc:
            self._queue.bury_record(record, "invalid", attempts, exc)
            return True
        if attempts >= envelope.retry.max_attempts:
            self._queue.bury_record(record, "failed", attempts, _died_with(envelope, attempts))
        else:
            self._queue.resume(envelope, attempts)
        return True


def _died_with(envelope: ActionEnvelope, attempts: int) -> ActionCancelledError:
    why = f"the host died during attempt {attempts} of {envelope.retry.max_attempts}"
    return ActionCancelledError(envelope.trace_id, envelope.action_type, why)
