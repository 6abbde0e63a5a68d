"""Why a swap did not happen."""

from __future__ import annotations

from typing import Literal

from aetherra.registry import AetherraError

SwapCode = Literal[
    "source_not_allowed",
    "load_failed",
    "contract_broken",
    "probe_failed",
    "quiesce_timeout",
    "state_import_failed",
    "post_swap_failed",
]


class SwapError(AetherraError, RuntimeError):
    """A swap was refused or undone; the generation that served serves on. ``__cause__`` is what went wrong."""

    def __init__(self, plugin: str, code: SwapCode, problem: str) -> None:
        super().__init__(plugin, code, problem)
        self.plugin, self.problem = plugin, problem
        self.code: SwapCode = code

    def __str__(self) -> str:
        return f"{self.code}: {self.problem}; {self.plugin!r} is as it was"
