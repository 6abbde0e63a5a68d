"""What self-improvement says: bounds, tags, and the way through JSON."""

from __future__ import annotations

import inspect

import msgspec
import pytest

from aetherra.plugins import Message, Request
from aetherra.plugins.self_improvement import messages
from aetherra.registry import tag_of

ALL = [
    kind
    for _, kind in inspect.getmembers(messages, inspect.isclass)
    if issubclass(kind, Message) and kind.__module__ == messages.__name__
]
ASKED = [kind for kind in ALL if issubclass(kind, Request)]


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_a_tag_is_anothers(kind):
    """Each has a tag of its own, of this plugin."""
    assert tag_of(kind).startswith("selfimprovement.")
    assert [other for other in ALL if tag_of(other) == tag_of(kind)] == [kind]


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (messages.GetTrends, {"window": 0}),
        (messages.GetTrends, {"window": -5.0}),
        (messages.GetMetric, {"name": "m", "limit": 0}),
        (messages.GetMetric, {"name": "m", "limit": 100_001}),
        (messages.GetMetric, {}),
        (messages.GetAnalysisCycles, {"limit": 0}),
        (messages.ListProposals, {"state": "lost"}),
        (messages.ListProposals, {"limit": 0}),
        (messages.Simulate, {"window": 0}),
        (messages.Simulate, {"step": 0}),
        (messages.RecordMetric, {"name": "m"}),
        (messages.RecordMetric, {"name": "m", "value": "much"}),
        (messages.RecordMetrics, {"points": [{"name": "m", "value": 1.0}] * 10_001}),
        (messages.ProposalResult, {"proposal_id": "p", "status": "done"}),
        (messages.CarryOut, {"proposal": {"id": "p"}}),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_a_request_that_cannot_be_is_decoded(kind, body):
    """What is out of its bounds does not reach the plugin."""
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(body, kind)


@pytest.mark.parametrize(
    "body",
    [
        messages.RecordMetric("m", 1.5, "s", 5.0, {"zone": "A"}),
        messages.RecordMetrics((messages.MetricPoint("m", 1.0),)),
        messages.RecordedMetrics(1, (messages.RefusedPoint(3, "m", "no number"),)),
        messages.AnalysisCycle(1, 5.0, 0.1, 60.0, 1, 2, (messages.Finding("m", "anomaly", "odd"),)),
        messages.ProposalResult("p", "applied", 2, "plant.pool is 2"),
        messages.ProposalResult("p", "applied", "fast"),
    ],
    ids=lambda body: type(body).__name__,
)
def test_a_message_changes_on_its_way(body):
    """It comes out of JSON as it went in; a number stays a number, and a name a name."""
    assert msgspec.json.decode(msgspec.json.encode(body), type=type(body)) == body


@pytest.mark.parametrize("kind", ASKED, ids=lambda kind: kind.__name__)
def test_a_request_is_not_explained(kind):
    """Each says what it asks."""
    assert kind.__doc__
