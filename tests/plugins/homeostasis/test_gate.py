"""The gate before all actuators."""

from __future__ import annotations

from pathlib import Path

import pytest

from aetherra.plugins.homeostasis.freeze import Freeze
from aetherra.plugins.homeostasis.gate import FrozenError, Gate, NotAllowedError


def gate(profile: str, freeze: Freeze | None = None, mode: object = None, **actuators: object) -> Gate:
    freeze = freeze or Freeze(None, lambda: 0.0)
    return Gate(freeze, profile=profile, mode=mode, actuators=actuators)  # type: ignore[arg-type]


class TestGate:
    @pytest.mark.parametrize(
        ("profile", "mode", "named", "expected"),
        [
            ("standard", None, None, "act"),
            ("test", None, None, "act"),
            ("dev", None, None, "observe"),
            ("prod", None, None, "observe"),
            ("dev", "act", None, "act"),
            ("standard", "dry_run", None, "dry_run"),
            ("standard", None, "off", "off"),
            ("prod", "act", None, "observe"),
            ("prod", "dry_run", None, "dry_run"),
            ("prod", "off", None, "off"),
            ("prod", None, "act", "act"),
            ("dev", None, "act", "act"),
        ],
    )
    def test_the_profile_lets_it_do_what_it_should_not(
        self, profile: str, mode: str | None, named: str | None, expected: str
    ) -> None:
        """By its own setting, else that for all, else the profile; in prod none acts that is not named."""
        shut = gate(profile, mode=mode, **({} if named is None else {"set_workers": named}))
        assert shut.mode_of("set_workers") == expected
        if expected == "act":
            shut.check("set_workers")
            assert shut.why_not("set_workers") == ""
        else:
            with pytest.raises(NotAllowedError, match="'set_workers' is in mode"):
                shut.check("set_workers")

    def test_a_freeze_is_passed_over(self, tmp_path: Path) -> None:
        """It holds for what may act, too, and at once."""
        freeze = Freeze(tmp_path / "frozen", lambda: 100.0)
        shut = gate("standard", freeze, set_workers="act")
        shut.check("set_workers")
        freeze.freeze("ada", "moving house")
        with pytest.raises(FrozenError, match="moving house"):
            shut.check("set_workers")
        freeze.unfreeze("ada", "done")
        shut.check("set_workers")
