"""Redrive: dead letters' actions are sent again, and their letters leave the queue."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from functools import partial
from typing import Any

import anyio
import anyio.to_thread

from aetherra.kernel.actions.dlq import DeadLetterQueue
from aetherra.kernel.actions.envelope import ActionEnvelope
from aetherra.kernel.actions.handle import ActionHandle
from aetherra.kernel.actions.letter import DeadLetter
from aetherra.kernel.actions.queue import ActionQueue
from aetherra.kernel.errors import ActionQueueFullError, ActionRunningError, DataFileError, LetterNotFoundError
from aetherra.registry import AetherraError, Bus, Message

log = logging.getLogger("aetherra.kernel.dlq")
AT_ONCE = 100
"""Letters that leave together, as each time whole files are rewritten."""


class Redriven(Message, tag="kernel.dlq_redriven"):
    """A dead letter's action was submitted again, under a new trace id; ``""`` if it only would have been."""

    trace_id: str
    new_trace_id: str


class RedriveRefused(Message, tag="kernel.dlq_refused"):
    """A dead letter's action was not submitted again; the letter stays.

    Attributes:
        trace_id: Which letter.
        action_type: The tag of its request; ``""`` if there is no such letter.
        error: The type of the error.
        message: Its text.
    """

    trace_id: str
    action_type: str
    error: str
    message: str


class RedriveReport(Message, tag="kernel.dlq_redrive_report"):
    """What became of the letters that were meant, in the order in which they were dealt with: the oldest first."""

    redriven: tuple[Redriven, ...]
    refused: tuple[RedriveRefused, ...]
    dry_run: bool


class Redriver:
    """Sends dead letters' actions again, each as a new action with all its attempts and no deadline.

    An action is accepted first, and then its letter leaves: a crash between the two leaves both, and as the envelope
    carries an idempotency key, sending the letter again then is the same action. One redrive goes on at a time.

    Args:
        bus: Whose handlers say what a request looks like today.
        queue: Where actions are sent.
        dlq: Where letters are.
    """

    def __init__(self, bus: Bus, queue: ActionQueue, dlq: DeadLetterQueue) -> None:
        self._bus = bus
        self._queue = queue
        self._dlq = dlq
        self._turn = anyio.Lock()

    async def redrive(self, trace_id: str) -> ActionHandle[Any]:
        """Send one letter's action again. Refused, the letter stays, and there is no second one.

        Cancelled, it has sent the action and removed the letter, or neither.

        Raises:
            LetterNotFoundError: There is no such letter.
            NoHandlerError: Nothing answers its tag today.
            MessageValidationError: Today's request has other fields.
            ActionQueueFullError: No room.
            ActionRunningError: A handler that ignored its cancellation is still at work for it.
            ActionCancelledError: The host stops.
            DataFileError: The letters cannot be read, or the journal cannot be written.
        """
        async with self._turn:
            letter = await anyio.to_thread.run_sync(self._dlq.find, trace_id)
            handle = await self._send(letter)
            await self._forget({trace_id})
            return handle

    async def redrive_where(
        self,
        *,
        trace_ids: Iterable[str] | None = None,
        reason: str | None = None,
        action_type: str | None = None,
        since: float | None = None,
        before: float | None = None,
        limit: int = 1000,
        dry_run: bool = False,
    ) -> RedriveReport:
        """Send the actions of the newest letters that fit all that is given, the oldest of them first.

        Cancelled, it has sent some of them, whose letters are gone; the others stay.

        Args:
            trace_ids: These letters; one that is not there is refused.
            reason: Letters with this reason.
            action_type: Actions of this tag.
            since: Letters from this Unix time on.
            before: Letters older than this Unix time.
            limit: How many at most.
            dry_run: Send nothing, and tell who would have been sent or refused; whether there is room shows only then.

        Raises:
            DataFileError: The letters cannot be read.
        """
        named = None if trace_ids is None else list(dict.fromkeys(trace_ids))
        read = partial(
            self._dlq.items,
            limit=limit,
            trace_ids=named,
            reason=reason,
            action_type=action_type,
            since=since,
            before=before,
        )
        done: list[Redriven] = []
        refused: list[RedriveRefused] = []
        async with self._turn:
            found = {letter.trace_id: letter for letter in reversed(await anyio.to_thread.run_sync(read))}
            missing = [trace_id for trace_id in named or () if trace_id not in found]
            refused.extend(_refusal(trace_id, "", LetterNotFoundError(trace_id)) for trace_id in missing)
            letters = list(found.values())
            for i in range(0, len(letters), AT_ONCE):
                await self._redrive_all(letters[i : i + AT_ONCE], done, refused, dry_run=dry_run)
        return RedriveReport(tuple(done), tuple(refused), dry_run)

    async def _redrive_all(
        self, letters: list[DeadLetter], done: list[Redriven], refused: list[RedriveRefused], *, dry_run: bool
    ) -> None:
        gone: set[str] = set()
        try:
            for letter in letters:
                try:
                    if dry_run:
                        self._envelope(letter)
                        done.append(Redriven(letter.trace_id, ""))
                    else:
                        handle = await self._send(letter)
                        gone.add(letter.trace_id)
                        done.append(Redriven(letter.trace_id, handle.trace_id))
                except AetherraError as exc:
                    refused.append(_refusal(letter.trace_id, letter.action_type, exc))
        finally:
            await self._forget(gone)

    def _envelope(self, letter: DeadLetter) -> ActionEnvelope:
        if self._queue.lingers(letter.trace_id):
            raise ActionRunningError(letter.trace_id)
        return letter.envelope(self._bus.request_type(letter.action_type))

    async def _send(self, letter: DeadLetter) -> ActionHandle[Any]:
        try:
            return await self._queue.submit_envelope(self._envelope(letter), bury=False)
        except ActionQueueFullError as exc:
            raise ActionQueueFullError(
                exc.lane, exc.capacity, letter.trace_id, exc.shed
            ) from None  # the letter that is there

    async def _forget(self, trace_ids: set[str]) -> None:
        """Remove the letters of actions that were accepted; one that cannot be removed is said, and does no harm."""
        if not trace_ids:
            return
        try:
            with anyio.CancelScope(shield=True):
                # wherever they are: somebody may have parked them meanwhile
                await anyio.to_thread.run_sync(partial(self._dlq.remove, trace_ids, also_parked=True))
        except DataFileError as exc:
            log.error(  # noqa: TRY400  # no traceback needed
                "%d letters, whose actions are on their way again, cannot be removed: %s", len(trace_ids), exc
            )


def _refusal(trace_id: str, action_type: str, error: AetherraError) -> RedriveRefused:
    return RedriveRefused(trace_id, action_type, type(error).__name__, str(error))
