"""What stands of what actuators have changed."""

from __future__ import annotations

from aetherra.plugins.homeostasis.changes import Changes


class TestChanges:
    def test_a_change_is_not_found(self) -> None:
        """By actuator and target."""
        changes = Changes()
        changes.note("set_lane_weight", "high", {"value": 5})
        assert changes.find("set_lane_weight", "high") == {"value": 5}
        assert changes.find("set_lane_weight", "normal") is None
        assert changes.find("set_workers", "high") is None
        assert changes.targets("set_lane_weight") == ("high",)

    def test_a_change_that_was_taken_back_stands(self) -> None:
        """It is forgotten, and forgetting it twice does no harm."""
        changes = Changes()
        changes.note("set_workers", "", {"value": 5})
        changes.forget("set_workers", "")
        changes.forget("set_workers", "")
        assert changes.standing() == {}

    def test_a_swap_forgets_changes(self) -> None:
        """The next generation gets all that stands."""
        changes = Changes()
        changes.note("set_workers", "", {"value": 5})
        changes.note("park_dead_letters", "shop.pack", {"trace_ids": ["a"]})
        later = Changes(changes.standing())
        assert later.find("park_dead_letters", "shop.pack") == {"trace_ids": ["a"]}
        later.forget("set_workers", "")
        assert changes.find("set_workers", "") == {"value": 5}
