"""What became of plugins: counted, and an attempt that failed put into words."""

from __future__ import annotations

import traceback

import msgspec

from aetherra.kernel.errors import Phase, PluginLoadError
from aetherra.registry import AetherraError


class LifecycleStatistics(msgspec.Struct, frozen=True):
    """What became of plugins since the start.

    Attributes:
        loads: Generations that came to serve, however they did.
        load_failures: Attempts that brought none up; what served before may serve on.
        restarts: How often one was replaced by the same code, brought up afresh.
        disabled: How often one was quarantined.
    """

    loads: int = 0
    load_failures: int = 0
    restarts: int = 0
    disabled: int = 0


class Outcomes:
    """Counts what becomes of plugins."""

    def __init__(self) -> None:
        self.loads = self.load_failures = self.restarts = self.disabled = 0

    def failure(self, plugin: str, phase: Phase, fault: BaseException, where: str = "") -> PluginLoadError:
        """Count an attempt that brought nothing up, and return the error that says why."""
        self.load_failures += 1
        return PluginLoadError(plugin, phase, _describe(fault) + where)

    def statistics(self) -> LifecycleStatistics:
        """Return a snapshot."""
        return LifecycleStatistics(self.loads, self.load_failures, self.restarts, self.disabled)


def _describe(fault: BaseException) -> str:
    if isinstance(fault, SyntaxError):
        line = f", line {fault.lineno}" if fault.lineno else ""
        return f"{fault.msg} ({fault.filename}{line}){_pointed_at(fault)}"
    text = str(fault)
    if isinstance(fault, (AetherraError, TimeoutError, FileNotFoundError)) and text:
        return text
    said = f"it called sys.exit({text})" if isinstance(fault, SystemExit) else repr(fault)
    frames = traceback.extract_tb(fault.__traceback__)
    return f"{said} at {frames[-1].filename}, line {frames[-1].lineno}" if frames else said


def _pointed_at(error: SyntaxError) -> str:
    """Return the faulty line with a mark below where the fault is, on lines of their own; ``""`` if it is not known."""
    text = (error.text or "").rstrip()
    if not text or not error.offset:
        return ""
    indent = len(text) - len(text.lstrip())
    return f"\n    {text.lstrip()}\n    {' ' * max(0, error.offset - 1 - indent)}^"
