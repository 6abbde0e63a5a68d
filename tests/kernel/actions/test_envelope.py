"""Envelopes: what may travel through the queue."""

from __future__ import annotations

from typing import Any

import pytest

from aetherra.kernel import ActionEnvelope, ActionPriority
from aetherra.registry import Request


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

    @pytest.mark.parametrize(
        "fields",
        [
            {"timeout": 0.0},
            {"timeout": -1.0},
            {"timeout": float("inf")},
            {"timeout": float("nan")},
            {"deadline": float("nan")},
            {"deadline": float("inf")},
        ],
    )
    def test_a_time_that_the_journal_cannot_hold_is_refused(self, fields: dict[str, float]) -> None:
        """JSON knows no infinity, and no wait may be for ever."""
        with pytest.raises(ValueError, match="expected a finite"):
            ActionEnvelope(Ping(), **fields)  # type: ignore[arg-type]

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
