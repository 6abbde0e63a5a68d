"""How long ago a plugin's code was swapped."""

from __future__ import annotations

from aetherra.plugins.homeostasis.swap_metrics import FORGOTTEN, CodeRolledBack, CodeSwapped, SwapMetrics


def read(swaps: SwapMetrics, now: float) -> dict[str, float | None]:
    return {reading.name: reading.value for reading in swaps.read(now)}


class TestSwapMetrics:
    def test_a_swap_is_not_told(self) -> None:
        """The seconds since the last one, of each plugin that had one."""
        swaps = SwapMetrics()
        swaps.swapped(CodeSwapped("shop", "reload"), 10.0)
        swaps.swapped(CodeSwapped("shop", "canary"), 20.0)
        assert read(swaps, 25.0) == {"plugin.shop.since_swap": 5.0}

    def test_a_way_back_counts_as_a_swap(self) -> None:
        """There is nothing to go back from any more."""
        swaps = SwapMetrics()
        for event in (CodeSwapped("shop", "reload"), CodeSwapped("inn", "reload")):
            swaps.swapped(event, 10.0)
        swaps.swapped(CodeSwapped("shop", "rollback"), 20.0)
        swaps.rolled_back(CodeRolledBack("inn"))
        assert read(swaps, 25.0) == {}

    def test_an_old_swap_is_remembered(self) -> None:
        """After a day nobody asks for it."""
        swaps = SwapMetrics()
        swaps.swapped(CodeSwapped("shop", "reload"), 10.0)
        assert read(swaps, 11.0 + FORGOTTEN) == {}
