"""When an item is another than the one that was judged."""

import pytest

from aetherra.plugins.self_incorporation.code.findings import Capability
from aetherra.plugins.self_incorporation.gate.decision import Decision, Mode
from aetherra.plugins.self_incorporation.gate.drift import drifted
from aetherra.plugins.self_incorporation.gate.tiers import Tier


def decision(risk: float, *capabilities: Capability) -> Decision:
    return Decision(
        item="a", root="/r", path="a.py", digest="d", verdict="approved", tier=Tier.STANDARD, mode=Mode.STANDARD,
        risk=risk, rationale=(), capabilities=capabilities, missing_grants=(), policy="p", rules=1, decided_at=1.0,
    )  # fmt: skip


class TestDrifted:
    def test_what_was_never_judged_has_drifted(self) -> None:
        """There is nothing to drift from."""
        assert drifted(None, 1.0, ["network"]) == ()

    @pytest.mark.parametrize(("now", "codes"), [(0.4, []), (0.401, ["risk_moved"]), (0.1, []), (0.0, [])])
    def test_the_bound_lies_elsewhere(self, now: float, codes: list[str]) -> None:
        """More than 0.3 is drift, exactly that is not."""
        assert [ground.code for ground in drifted(decision(0.1), now, [])] == codes

    def test_risk_that_fell_far_is_no_drift(self) -> None:
        """The item is not the one that somebody looked at."""
        assert [ground.code for ground in drifted(decision(0.5), 0.1, [])] == ["risk_moved"]

    def test_a_new_capability_is_no_drift(self) -> None:
        """However little risk it brings; one less is none."""
        assert drifted(decision(0.1, "fs_read", "network"), 0.1, ["fs_read"]) == ()
        (ground,) = drifted(decision(0.1, "fs_read"), 0.1, ["fs_read", "network"])

        assert (ground.code, "network" in ground.text, ground.against) == ("capabilities_grew", True, True)
