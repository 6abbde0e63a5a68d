"""The hooks there are, and the phases of a cycle."""

from __future__ import annotations

from typing import get_args

from aetherra.kernel.hookspecs import PHASES, PROJECT, CyclePhase, Hooks
from aetherra.kernel.host import _RESULTS


class TestHooks:
    def test_a_hook_is_called_without_knowing_its_result(self) -> None:
        """Each specified hook has a kind of result that is checked, and the other way round."""
        specified = {name for name, member in vars(Hooks).items() if hasattr(member, f"{PROJECT}_spec")}
        assert specified == set(_RESULTS)

    def test_a_phase_is_missing_from_the_cycle(self) -> None:
        """The cycle has all phases, in their order."""
        assert get_args(CyclePhase) == PHASES
