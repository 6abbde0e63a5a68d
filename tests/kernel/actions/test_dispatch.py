"""What follows from how an attempt ended: every error is an outcome that says whether to try again."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from aetherra.kernel import Reject, RetryLater
from aetherra.kernel.actions.dispatch import Dead, Retry, outcome_of
from aetherra.kernel.testing import FakeClock
from aetherra.registry import (
    HOST,
    Bus,
    CallTimeoutError,
    HandlerError,
    Identity,
    MessageValidationError,
    NoHandlerError,
    ReplyTypeError,
    Request,
    Route,
    ServiceStoppedError,
)


class Knock(Request[None], tag="dispatch.knock"):
    times: int = 1


class OtherKnock(Request[None], tag="dispatch.knock"):
    fist: str


def bus_that(answer: Any, request_type: type[Request[Any]] = Knock) -> tuple[Bus, Route, FakeClock]:
    clock = FakeClock()
    bus = Bus(clock=clock)
    route = Route(request_type, answer, Identity("plugin", "door", 1))
    bus.add_routes([route])
    return bus, route, clock


async def attempt(bus: Bus, timeout: float = 5.0) -> Retry | Dead:
    """Call the handler as a worker does, and return what follows from the error."""
    with pytest.raises(Exception, match=r".") as caught:
        await bus.caller(HOST).call(Knock(), timeout=timeout)
    outcome = outcome_of(caught.value)
    assert outcome.error is caught.value
    return outcome


class TestOutcome:
    @pytest.mark.parametrize(
        ("error", "kind", "reason"),
        [
            (OSError("stuck"), Retry, "failed"),
            (SystemExit(1), Retry, "failed"),
            (TimeoutError("of its own"), Retry, "failed"),
            (RetryLater(3.0), Retry, "failed"),
            (NoHandlerError("other.tag"), Retry, "failed"),
            (CallTimeoutError("other.tag", 1.0, "of another call"), Retry, "failed"),
            (MessageValidationError("other.tag", "x"), Retry, "failed"),
            (ReplyTypeError("other.tag", "door", "a", "b"), Retry, "failed"),
            (Reject("no"), Dead, "rejected"),
        ],
    )
    async def test_what_a_handler_raises_says_whether_to_try_again(
        self, error: BaseException, kind: type[Retry | Dead], reason: str
    ) -> None:
        """Only ``Reject`` is final; an error of another call that the handler made is its own failure."""

        async def answer(_: Knock) -> None:
            raise error

        outcome = await attempt(bus_that(answer)[0])

        assert isinstance(outcome, kind)
        assert outcome.reason == reason
        assert isinstance(outcome.error, HandlerError)
        assert outcome.error.__cause__ is error
        if isinstance(outcome, Retry):
            assert outcome.asked == (3.0 if isinstance(error, RetryLater) else None)

    async def test_a_plain_function_is_judged_in_the_same_way(self) -> None:
        """Whether it is declared with ``async`` or not."""

        def answer(_: Knock) -> None:
            raise RetryLater(4.0)

        outcome = await attempt(bus_that(answer)[0])
        assert isinstance(outcome, Retry)
        assert outcome.asked == 4.0

    async def test_no_time_no_handler_and_a_stopped_plugin_may_go_better_later(self) -> None:
        """Each is a reason of its own."""
        bus, route, clock = bus_that(lambda _: anyio.sleep_forever())
        outcomes: list[Retry | Dead] = []

        async def try_it() -> None:
            outcomes.append(await attempt(bus))

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
        kinds = (CallTimeoutError, ServiceStoppedError, NoHandlerError)
        assert all(isinstance(outcome.error, kind) for outcome, kind in zip(outcomes, kinds, strict=True))

    async def test_a_request_that_the_handler_cannot_read_is_dead(self) -> None:
        """The next attempt would carry the same fields."""

        async def answer(_: OtherKnock) -> None:
            return None

        outcome = await attempt(bus_that(answer, OtherKnock)[0])

        assert isinstance(outcome, Dead)
        assert (outcome.reason, type(outcome.error)) == ("invalid", MessageValidationError)

    async def test_a_reply_of_the_wrong_type_is_dead(self) -> None:
        """The handler would answer in the same way again."""

        async def answer(_: Knock) -> Any:
            return Knock()

        outcome = await attempt(bus_that(answer)[0])

        assert isinstance(outcome, Dead)
        assert (outcome.reason, type(outcome.error)) == ("invalid", ReplyTypeError)
