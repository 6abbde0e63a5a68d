"""To and fro, less and less often."""

from __future__ import annotations

import pytest

from aetherra.plugins.homeostasis.decision.damping import Damping, DampingMemory


class TestDamping:
    def test_a_relapse_is_an_oscillation(self):
        """Two turns are free, each further one doubles, up to eight times; with time it wears off."""
        damping = Damping(600.0, DampingMemory())
        factors = []
        for _ in range(7):
            damping.turn("shed", 0.0)
            factors.append(damping.factor("shed", 0.0))

        assert factors == pytest.approx([1, 1, 2, 4, 8, 8, 8])
        assert damping.factor("shed", 1200.0) == pytest.approx(1.0)
        damping.forget(100_000.0)
        assert damping.memory.turns == {}
