"""Actions: what the queue knows of one, and how code finds the one that it runs for."""

from __future__ import annotations

from math import inf
from typing import Any

import anyio
import pytest

from aetherra.kernel import ActionEnvelope
from aetherra.kernel.actions.action import Action, AttemptCall, Owner, current_action
from aetherra.kernel.actions.lanes import Lane
from aetherra.kernel.actions.tally import Tally
from aetherra.kernel.testing import FakeClock
from aetherra.registry import HOST, Bus, Identity, Request, Route, current_call
from aetherra.registry.call import CURRENT, IN_A_SCOPE, OVER, Origin


class Step(Request[None], tag="action.step"):
    pass


class Stride(Request[None], tag="action.stride"):
    pass


class Queue:
    """Sees actions to their end, in name."""

    def __init__(self) -> None:
        self.cancelled: list[Action] = []

    def cancel(self, action: Action) -> bool:
        self.cancelled.append(action)
        return len(self.cancelled) == 1

    def left_behind(self, action: Action) -> None:
        raise NotImplementedError

    def thread_returned(self, action: Action) -> None:
        raise NotImplementedError


def action(owner: Owner | None = None, **fields: Any) -> Action:
    envelope = ActionEnvelope(Step(), trace_id="t", **fields)
    return Action(envelope, owner=owner, tally=Tally("action.step", Lane("high", 1, 1, 1)))


def attempt(of: Action) -> AttemptCall:
    return AttemptCall(of.tally.line, inf, 0.0, None, 0, IN_A_SCOPE, action=of)


class TestAction:
    def test_its_key_is_that_of_its_type(self) -> None:
        """Two types may use the same word; without a word there is no key."""
        assert action(idempotency_key="k").key == ("action.step", "k")
        assert action().key is None

    def test_cancelling_is_its_queues_part(self) -> None:
        """Which says whether there was anything left to cancel."""
        queue = Queue()
        one = action(queue)

        assert [one.cancel(), one.cancel()] == [True, False]
        assert queue.cancelled == [one, one]
        assert not action().cancel()


class TestCurrentAction:
    def test_outside_of_any_there_is_none(self) -> None:
        """Not an error: whoever asks may be called by anybody."""
        assert current_action() is None

    async def test_a_handler_finds_its_action_however_deep_it_is_called(self) -> None:
        """In its own call, in the calls that it makes, whether they wait or not, and in tasks that it starts."""
        found: list[Any] = []
        bus = Bus(clock=FakeClock())

        async def step(_: Step) -> None:
            found.append(current_action())
            await anyio.lowlevel.checkpoint()
            async with anyio.create_task_group() as group:
                group.start_soon(ask)
            await bus.call(Stride())

        async def ask() -> None:
            found.append(current_action())

        def stride(_: Stride) -> None:
            found.append(current_action())

        bus.add_routes([Route(Step, step, HOST), Route(Stride, stride, Identity("plugin", "p", 1))])
        one = action()
        token = CURRENT.set(attempt(one))
        try:
            await bus.caller(HOST).call(Step())
        finally:
            CURRENT.reset(token)

        assert found == [one, one, one]
        assert current_action() is None

    async def test_a_call_that_is_no_actions_has_none(self) -> None:
        """Somebody who calls a handler is not an action."""
        found: list[Any] = []
        bus = Bus(clock=FakeClock())

        async def step(_: Step) -> None:
            found.append((current_action(), current_call() is None))

        bus.add_routes([Route(Step, step, HOST)])
        await bus.call(Step())

        assert found == [(None, False)]

    def test_what_is_over_is_nobodys(self) -> None:
        """A task that outlives the attempt that started it does not act for its action."""
        one = action()
        call = attempt(one)
        token = CURRENT.set(call)
        try:
            assert current_action() is one
            call.task, call.line, call.action = None, OVER, None
            assert current_action() is None
        finally:
            CURRENT.reset(token)


class TestAttemptCall:
    @pytest.mark.parametrize("correlation_id", ["", "talk"])
    def test_what_it_does_belongs_to_its_actions_conversation(self, correlation_id: str) -> None:
        """Its id is the action's, which is the causation id of all that its handler sends."""
        call = attempt(action(correlation_id=correlation_id, causation_id="cause"))

        assert call.names() == Origin("t", correlation_id or "t", "cause")
        assert (call.id, call.trace_id, call.causation_id) == ("t", correlation_id or "t", "cause")
        assert (call.kind, call.tag, call.caller) == ("action", "action.step", HOST)
