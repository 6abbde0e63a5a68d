"""Envelopes: what may travel through the queue."""

from __future__ import annotations

import gc
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetherra.kernel import ActionEnvelope, ActionPriority, RetryPolicy
from aetherra.kernel.actions.envelope import DAY
from aetherra.registry import Request
from aetherra.registry.call import Origin


class Ping(Request[None], tag="envelope.ping"):
    pass


class TestActionPriority:
    def test_priorities_share_the_three_lanes(self) -> None:
        """EMERGENCY, CRITICAL, HIGH: high; MEDIUM, MAINTENANCE: normal; LOW: background."""
        lanes = [priority.lane for priority in sorted(ActionPriority)]

        assert lanes == ["high", "high", "high", "normal", "normal", "background"]


class TestActionEnvelope:
    def test_no_two_envelopes_have_one_name(self) -> None:
        """A trace id names one action."""
        assert len({ActionEnvelope(Ping()).trace_id for _ in range(1000)}) == 1000

    def test_the_action_type_is_the_requests_tag(self) -> None:
        """What routes go by is what letters and logs name."""
        assert ActionEnvelope(Ping()).action_type == "envelope.ping"

    def test_an_action_that_nothing_led_to_begins_a_conversation(self) -> None:
        """Its own id is the conversation's; one that was submitted within another belongs to that one's."""
        first = ActionEnvelope(Ping(), trace_id="a")
        second = ActionEnvelope(Ping(), trace_id="b", correlation_id="c", causation_id="d")

        assert first.origin == Origin("a", "a", "")
        assert second.origin == Origin("b", "c", "d")

    def test_what_nobody_says_has_its_default(self) -> None:
        """Medium, half a minute an attempt, three attempts, no deadline, no key, for whoever answers."""
        envelope = ActionEnvelope(Ping())

        assert (envelope.priority, envelope.timeout, envelope.deadline) == (ActionPriority.MEDIUM, 30.0, None)
        assert (envelope.retry, envelope.target, envelope.idempotency_key) == (
            RetryPolicy(3, 0.5, 30.0, 2.0, True),
            "",
            "",
        )
        assert (envelope.idempotency_window, DAY) == (86_400.0, 86_400.0)

    @pytest.mark.parametrize(
        "fields",
        [
            {"timeout": 0.0},
            {"timeout": -1.0},
            {"timeout": float("inf")},
            {"timeout": float("nan")},
            {"deadline": float("nan")},
            {"deadline": float("inf")},
            {"deadline": float("-inf")},
            {"idempotency_key": "k", "idempotency_window": 0.0},
            {"idempotency_key": "k", "idempotency_window": float("inf")},
            {"idempotency_key": "k", "idempotency_window": float("nan")},
            {"idempotency_window": -1.0},
            {"timeout": 10**400},
            {"timeout": 1e300},
            {"enqueued": float("nan")},
        ],
    )
    def test_a_time_that_the_journal_cannot_hold_is_refused(self, fields: dict[str, Any]) -> None:
        """JSON knows no infinity, and no wait may be for ever."""
        with pytest.raises(ValueError, match=r"expected .*(seconds|finite deadline|Unix time)"):
            ActionEnvelope(Ping(), **fields)

    @pytest.mark.parametrize(
        "fields",
        [
            {"timeout": "5"},
            {"timeout": True},
            {"timeout": None},
            {"retry": 3},
            {"retry": {"max_attempts": 1}},
            {"retry": None},
            {"target": None},
            {"target": 5},
            {"idempotency_key": None},
            {"idempotency_key": b"k"},
            {"idempotency_window": "x"},
            {"trace_id": 5},
            {"correlation_id": 5},
            {"causation_id": None},
        ],
    )
    def test_what_the_journal_would_not_read_again_is_accepted(self, fields: dict[str, Any]) -> None:
        """The next start would find a record that is none; the text says which field, and what it got."""
        ((name, value),) = fields.items()
        with pytest.raises(TypeError, match=f"expected.*{'RetryPolicy' if name == 'retry' else name}.*got") as caught:
            ActionEnvelope(Ping(), **fields)
        assert repr(value) in str(caught.value)

    @pytest.mark.parametrize(
        ("request_", "priority"), [({"tag": "x"}, ActionPriority.LOW), (Ping, ActionPriority.LOW), (Ping(), 3)]
    )
    def test_what_is_no_request_or_no_priority_is_refused(self, request_: Any, priority: Any) -> None:
        """A caller's mistake is told where it is made, not by a worker."""
        with pytest.raises(TypeError, match="expected a"):
            ActionEnvelope(request_, priority=priority)

    def test_a_request_without_a_tag_has_no_action_type(self) -> None:
        """A request without a tag has no route and no type."""

        class Nameless(Request[None]):
            pass

        with pytest.raises(TypeError, match="has no tag"):
            _ = ActionEnvelope(Nameless()).action_type  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        "trace_id", ["", "a b", " ", "a\tb", "a\nb", "a\x00", "x" * 129, "ä" * 65, "a\u2028b", "\u00a0"]
    )
    def test_a_name_that_the_journal_cannot_hold_is_refused(self, trace_id: str) -> None:
        """It stands in lines of its own there: no space, tab or newline, and at most 128 bytes."""
        with pytest.raises(ValueError, match="trace_id of 1 to 128"):
            ActionEnvelope(Ping(), trace_id=trace_id)

    @pytest.mark.parametrize("trace_id", ["a", "x" * 128, "ä" * 64, "order-7/2026"])
    def test_any_other_name_is_as_good_as_ours(self, trace_id: str) -> None:
        """A submitter may name an action after its order."""
        assert ActionEnvelope(Ping(), trace_id=trace_id).trace_id == trace_id

    @given(st.text())
    def test_every_name_that_is_taken_can_be_written(self, trace_id: str) -> None:
        """As UTF-8, in one word."""
        try:
            envelope = ActionEnvelope(Ping(), trace_id=trace_id)
        except ValueError:
            return
        assert len(envelope.trace_id.encode().split()) == 1

    @pytest.mark.parametrize(("key", "is_taken"), [("k" * 200, True), ("k" * 201, False), ("ä" * 101, False)])
    def test_a_key_is_at_most_200_bytes(self, key: str, is_taken: bool) -> None:
        """As many are kept for a day."""
        if is_taken:
            assert ActionEnvelope(Ping(), idempotency_key=key).idempotency_key == key
        else:
            with pytest.raises(ValueError, match="at most 200 bytes, got 20"):
                ActionEnvelope(Ping(), idempotency_key=key)

    def test_an_envelope_cannot_be_changed(self) -> None:
        """It is passed by reference to whoever asks."""
        with pytest.raises(AttributeError):
            ActionEnvelope(Ping()).timeout = 3.0  # type: ignore[misc]
        assert msgspec.structs.replace(ActionEnvelope(Ping()), timeout=3.0).timeout == 3.0

    def test_the_garbage_collector_does_not_walk_through_waiting_envelopes(self) -> None:
        """A million of them would make each of its rounds a long one."""
        assert not gc.is_tracked(ActionEnvelope(Ping()))
