"""Tests of governance's settings."""

from __future__ import annotations

import msgspec
import pytest

from aetherra.plugins.governance.settings import GUARDS, GovernanceSettings, Guard


class TestGuards:
    def test_a_guard_is_not_as_promised(self) -> None:
        """Without a word in the configuration the guards are those of the documentation."""
        settings = GovernanceSettings()
        assert {name: settings.guard(name) for name in GUARDS} == {
            "integrations_per_hour": Guard(5, 3600.0, "pause_self_incorporation"),
            "actions_per_component_per_minute": Guard(1, 60.0, "disable_actuator", 600.0),
            "rollbacks_per_hour": Guard(3, 3600.0, "require_human_approval"),
            "quarantines_per_hour": Guard(2, 3600.0, "pause_self_incorporation"),
            "proposals_per_sender_per_minute": Guard(10, 60.0, "require_human_approval"),
        }

    def test_what_is_not_named_changes_too(self) -> None:
        """A configuration names what it changes; ``null`` for ``lasts`` is a change as well."""
        document = {"guards": {"actions_per_component_per_minute": {"limit": 3, "lasts": None}}}
        settings = msgspec.convert(document, GovernanceSettings)
        assert settings.guard("actions_per_component_per_minute") == Guard(3, 60.0, "disable_actuator", None)

    @pytest.mark.parametrize(
        "guards",
        [
            {"integrations_per_hour": {"limit": 0}},
            {"integrations_per_hour": {"seconds": 0}},
            {"integrations_per_hour": {"breach": "nothing"}},
            {"integrations_per_hour": {"limits": 3}},
            {"integrations_per_day": {"limit": 3}},
        ],
    )
    def test_nonsense_is_taken(self, guards: object) -> None:
        """A limit of nothing, a window of no time, an unknown measure, key or guard are errors."""
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert({"guards": guards}, GovernanceSettings)
