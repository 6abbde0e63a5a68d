"""One attempt: every way a call can end is an outcome that says whether to try again."""

from __future__ import annotations

from typing import Any

import anyio
import anyio.lowlevel
import pytest

from aetherra.kernel import ActionEnvelope, Reject, RetryLater
from aetherra.kernel.actions.dispatch import Dead, Done, Retry, attempt
from aetherra.kernel.testing import FakeClock
from aetherra.registry import Bus, Identity, MessageValidationError, NoHandlerError, Request, Route


class Knock(Request[None], tag="dispatch.knock"):
    times: int = 1


class OtherKnock(Request[None], tag="dispatch.knock"):
    fist: str


def bus_that(answer: Any, request_type: type[Request[Any]] = Knock) -> tuple[Bus, Route]:
    bus = Bus(clock=FakeClock())
    route = Route(request_type, answer, Identity("plugin", "door", 1))
    bus.add_routes([route])
    return bus, route


class TestAttempt:
    @pytest.mark.parametrize(
        ("error", "kind", "reason"),
        [
            (OSError("stuck"), Retry, "failed"),
            (SystemExit(1), Retry, "failed"),
            (RetryLater(3.0), Retry, "failed"),
            (NoHandlerError("other.tag"), Retry, "failed"),
            (MessageValidationError("other.tag", "x"), Retry, "failed"),
            (Reject("no"), Dead, "rejected"),
        ],
    )
    async def test_what_a_handler_raises_says_whether_to_try_again(
        self, error: BaseException, kind: type[Retry | Dead], reason: str
    ) -> None:
        """Only ``Reject`` is final; an error of another call that the handler made is its own failure."""

        async def answer(_: Knock) -> None:
            raise error

        bus, _ = bus_that(answer)
        outcome = await attempt(bus, ActionEnvelope(Knock()), 5.0)

        assert isinstance(outcome, kind)
        assert outcome.reason == reason
        assert outcome.error.__cause__ is error
        if isinstance(outcome, Retry):
            assert outcome.asked == (3.0 if isinstance(error, RetryLater) else None)

    async def test_a_reply_is_done(self) -> None:
        """Also where the reply is nothing."""

        async def answer(_: Knock) -> None:
            return None

        assert await attempt(bus_that(answer)[0], ActionEnvelope(Knock()), 5.0) == Done(None)

    async def test_no_time_no_handler_and_a_stopped_plugin_may_go_better_later(self) -> None:
        """Each is a reason of its own."""
        bus, route = bus_that(lambda _: anyio.sleep_forever())
        outcomes: list[Any] = []

        async def try_it() -> None:
            outcomes.append(await attempt(bus, ActionEnvelope(Knock()), 5.0))

        clock = bus.clock
        assert isinstance(clock, FakeClock)
        async with anyio.create_task_group() as group:
            group.start_soon(try_it)
            await clock.advance(5.0)
            group.start_soon(try_it)
            await clock.advance(1.0)
            bus.abandon(route)
            await clock.advance(1.0)
            bus.remove_routes([route])
            await try_it()

        assert [type(outcome) for outcome in outcomes] == [Retry] * 3
        assert [outcome.reason for outcome in outcomes] == ["timeout", "failed", "no_handler"]

    async def test_a_request_that_the_handler_cannot_read_is_dead(self) -> None:
        """The next attempt would carry the same fields."""

        async def answer(_: OtherKnock) -> None:
            return None

        bus, _ = bus_that(answer, OtherKnock)
        outcome = await attempt(bus, ActionEnvelope(Knock()), 5.0)

        assert isinstance(outcome, Dead)
        assert (outcome.reason, type(outcome.error)) == ("invalid", MessageValidationError)

    async def test_a_cancelled_attempt_cancels_the_handler_and_is_no_outcome(self) -> None:
        """Cancellation passes."""
        cancelled = anyio.Event()

        async def answer(_: Knock) -> None:
            try:
                await anyio.sleep_forever()
            finally:
                cancelled.set()

        bus, _ = bus_that(answer)
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:
                group.start_soon(attempt, bus, ActionEnvelope(Knock()), 5.0)
                await FakeClock().advance(0)
                scope.cancel()

        assert cancelled.is_set()
