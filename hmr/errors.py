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
    """A swap was refused or undone; ``__cause__`` is what went wrong.

    Attributes:
        plugin: Which.
        code: What failed.
        problem: How, in words.
        down: Why nothing serves now, ``""`` if what served before serves on, as it does but for an exclusive plugin
            whose old code could not be started again.
    """

    def __init__(self, plugin: str, code: SwapCode, problem: str, down: str = "") -> None:
        super().__init__(plugin, code, problem, down)
        self.plugin, self.problem, self.down = plugin, problem, down
        self.code: SwapCode = code

    def __str__(self) -> str:
        rest = f"{self.plugin!r} is down: {self.down}" if self.down else f"{self.plugin!r} is as it was"
        return f"{self.code}: {self.problem}; {rest}"

    def and_then(self, down: str) -> SwapError:
        """Return the same with the reason why nothing serves now."""
        return SwapError(self.plugin, self.code, self.problem, down)


class OvertakenError(AetherraError, RuntimeError):
    """The files were written again while their code was on its way in; nothing has changed, and the last save wins."""

    def __init__(self, plugin: str) -> None:
        super().__init__(plugin)
        self.plugin = plugin

    def __str__(self) -> str:
        return f"the code of {self.plugin!r} was saved again while it was on its way in"
