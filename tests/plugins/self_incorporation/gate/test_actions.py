"""What a workflow would have done is judged by what the policy names."""

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from aetherra.plugins.self_incorporation.gate.actions import unnamed
from aetherra.plugins.self_incorporation.gate.policy import PolicySettings

Decided = Callable[..., Any]


def flow(*tags: str, undo: str = "") -> str:
    way = {"undo": {"tag": undo}} if undo else {}
    return json.dumps([{"tag": tag, "body": {}, **way} for tag in tags])


@pytest.fixture
def decided(tree: Any) -> Decided:
    def decide(text: str, *actions: str, path: str = "flow.aether", mode: str = "standard") -> Any:
        policy = msgspec.convert({"actions": actions, "mode": mode}, PolicySettings)
        return tree.write({path: text}).decided(path, policy)

    return decide


class TestWorkflow:
    @pytest.mark.parametrize("path", ["flow.aether", "flow.json"])
    def test_a_workflow_does_whatever_the_host_can(self, decided: Decided, path: str) -> None:
        """A person agrees to actions that the policy does not name; the tags are told."""
        decision = decided(flow("reports.make", "kernel.remove_plugin"), path=path)
        (ground,) = (each for each in decision.rationale if each.code == "actions")

        assert decision.verdict == "needs_approval"
        assert ground.text.endswith("does not name: kernel.remove_plugin, reports.make")

    def test_a_way_back_goes_unseen(self, decided: Decided) -> None:
        """What undoes an action is an action."""
        assert decided(flow("reports.make", undo="kernel.stop"), "reports.*").verdict == "needs_approval"

    def test_what_the_policy_names_is_asked_about(self, decided: Decided) -> None:
        """It comes in as it is; in strict mode nothing else does."""
        assert decided(flow("reports.make", undo="reports.drop"), "reports.*").verdict == "approved"
        assert decided(flow("reports.make"), mode="strict").verdict == "blocked"

    def test_a_dataset_is_taken_for_a_workflow(self, decided: Decided) -> None:
        """What is never carried out is no action, and nor is what cannot be read as one."""
        assert decided('[{"text": "a", "tag": "noun.verb"}]', path="words.json").verdict == "approved"
        assert decided("[{").verdict == "approved"


@pytest.mark.parametrize(
    ("patterns", "left"),
    [
        ((), ("a.b", "kernel.stop")),
        (("a.*",), ("kernel.stop",)),
        (("*", "kernel.*"), ("kernel.stop",)),
        (("a.b", "kernel.stop"), ()),
    ],
)
def test_a_pattern_names_a_command(patterns: tuple[str, ...], left: tuple[str, ...]) -> None:
    """What commands the host is named in full."""
    assert unnamed(("a.b", "kernel.stop"), patterns) == left
