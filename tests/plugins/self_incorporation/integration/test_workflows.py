"""Workflows: what can be read can be done."""

from __future__ import annotations

import pytest

from aetherra.plugins.self_incorporation.integration.intents import WayBack
from aetherra.plugins.self_incorporation.integration.workflows import WorkflowError, read_workflow, request_of
from aetherra.registry import tag_of


class TestAWorkflow:
    def test_is_a_list_of_actions(self) -> None:
        """Each with its tag, its fields, and its way back."""
        flow = read_workflow(
            b'[{"tag": "a.add", "body": {"x": 1}, "undo": {"tag": "a.remove", "body": {"x": 1}}}, {"tag": "a.tell"}]'
        )
        assert [step.tag for step in flow.steps] == ["a.add", "a.tell"]
        assert [step.undo for step in flow.steps] == [WayBack("a.remove", {"x": 1}), None]

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"{}",
            b"[]",
            b"[1]",
            b'[{"body": {}}]',
            b'[{"tag": "a b"}]',
            b'[{"tag": "a.b", "body": {"x y": 1}}]',
            b'[{"tag": "a.b", "body": {"class": 1}}]',
            b'[{"tag": "a.b", "undo": {"tag": "", "body": {}}}]',
            b'[{"tag": "a.b", "typo": 1}]',
            b"[" * 100_000,
        ],
    )
    def test_is_nothing_else(self, data: bytes) -> None:
        """What cannot be done as a whole is not begun."""
        with pytest.raises(WorkflowError):
            read_workflow(data)

    def test_says_its_requests_by_tag(self) -> None:
        """For whoever answers to read."""
        request = request_of("a.add", {"x": [1], "y": "z"})
        assert tag_of(type(request)) == "a.add"
        assert (request.x, request.y) == ([1], "z")  # type: ignore[attr-defined]
