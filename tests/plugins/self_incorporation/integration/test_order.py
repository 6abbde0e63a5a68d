"""In which order things are done that need each other."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from aetherra.plugins.self_incorporation.integration.order import in_order

NEEDS = st.lists(st.sets(st.integers(0, 11), max_size=3), max_size=10)


class TestInOrder:
    def test_the_least_weight_has_no_first_turn(self) -> None:
        """Of those that could be next, it is next; of equals, the one that stands first."""
        assert in_order([(), (), (), (1,)], [2.0, 3.0, 2.0, 0.0]) == ([0, 2, 1, 3], [])

    def test_what_needs_a_circle_or_nothing_that_there_is_has_a_turn(self) -> None:
        """Whatever waits for ever is told, and keeps nothing else waiting."""
        assert in_order([(1,), (0,), (1,), (9,), ()], [0.0] * 5) == ([4], [0, 1, 2, 3])

    @given(NEEDS, st.lists(st.integers(0, 3), min_size=10, max_size=10))
    def test_something_comes_before_what_it_needs(self, needs: list[set[int]], weights: list[int]) -> None:
        """Each has one turn or none, after all that it needs; and the least weight that is ready is always next."""
        order, left = in_order(needs, weights)

        assert sorted(order + left) == list(range(len(needs)))
        for turn, place in enumerate(order):
            done = set(order[:turn])
            ready = [other for other in range(len(needs)) if other not in done and needs[other] <= done]
            assert place == min(ready, key=lambda other: (weights[other], other))
        assert all(not needs[place] <= set(order) for place in left)
