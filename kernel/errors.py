"""The errors of the kernel, and the signals that a handler may raise to steer its action."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from aetherra.registry import AetherraError

YEAR = 31_536_000
"""Seconds that any wait may take."""
Phase = Literal["finding", "importing", "configuring", "starting", "testing", "swapping"]


class ConfigError(AetherraError, ValueError):
    """The configuration cannot be used; the text names the file, the path in it, and what was expected."""

    def __init__(self, where: str, problem: str) -> None:
        super().__init__(where, problem)
        self.where, self.problem = where, problem

    def __str__(self) -> str:
        return f"{self.where}: {self.problem}"


class HostRunningError(AetherraError, RuntimeError):
    """Another host holds the data directory."""

    def __init__(self, data_dir: str, pid: int) -> None:
        super().__init__(data_dir, pid)
        self.data_dir, self.pid = data_dir, pid

    def __str__(self) -> str:
        who = f"process {self.pid}" if self.pid else "another process"
        return f"{who} already runs a host over {self.data_dir}; stop it first, or name another data_dir"


class PluginLoadError(AetherraError, RuntimeError):
    """A plugin could not be brought up; ``__cause__`` is what it raised."""

    phase: Phase

    def __init__(self, plugin: str, phase: Phase, problem: str) -> None:
        super().__init__(plugin, phase, problem)
        self.plugin, self.phase, self.problem = plugin, phase, problem

    def __str__(self) -> str:
        return f"plugin {self.plugin!r} failed while {self.phase}: {self.problem}"


class PluginDefinitionError(AetherraError, TypeError):
    """A plugin class cannot be used as it is written; the text says what to change."""


class PluginUnreadableError(AetherraError, OSError):
    """A file of a plugin's code cannot be read; the text says which, and why."""


class PluginNotFoundError(AetherraError, LookupError):
    """There is no plugin of that name here."""

    def __init__(self, name: str, known: Sequence[str] = ()) -> None:
        super().__init__(name, tuple(known))
        self.name, self.known = name, tuple(known)

    def __str__(self) -> str:
        return f"there is no plugin {self.name!r} here; there are: {', '.join(self.known) or 'none'}"


class PrivilegeError(AetherraError, PermissionError):
    """A plugin asked for something that only the host's configuration can grant it."""

    def __init__(self, plugin: str, privilege: str) -> None:
        Exception.__init__(self, plugin, privilege)
        self.plugin, self.privilege = plugin, privilege

    def __str__(self) -> str:
        return (
            f"plugin {self.plugin!r} asks for {self.privilege!r}; grant it with "
            f'"plugins": {{"{self.plugin}": {{"grants": ["{self.privilege}"]}}}} in the configuration'
        )


class StepTimeoutError(AetherraError, TimeoutError):
    """A step of a plugin's life overran its deadline; ``stack`` says where it waited, ``""`` if it held the loop."""

    def __init__(self, plugin: str, step: str, timeout: float, stack: str) -> None:
        Exception.__init__(self, plugin, step, timeout, stack)
        self.plugin, self.step, self.timeout, self.stack = plugin, step, timeout, stack

    def __str__(self) -> str:
        where = f"it waits at\n{self.stack}" if self.stack else "it held the event loop all the while"
        return f"plugin {self.plugin!r} was not done with {self.step} after {self.timeout:g} s; {where}"


class UnknownKnobError(AetherraError, LookupError):
    """There is no knob of that name now; ``nearest`` are those that look most like it."""

    def __init__(self, name: str, nearest: Sequence[str] = (), reason: str = "") -> None:
        super().__init__(name, tuple(nearest), reason)
        self.name, self.nearest, self.reason = name, tuple(nearest), reason

    def __str__(self) -> str:
        why = f", as {self.reason}" if self.reason else ""
        near = f"nearest: {', '.join(map(repr, self.nearest))}" if self.nearest else "'aetherra knobs' lists them"
        return f"there is no knob {self.name!r}{why}; {near}"


class KnobRangeError(AetherraError, ValueError):
    """A knob cannot be set to that value; it was not touched."""

    def __init__(self, name: str, wanted: str, got: str) -> None:
        super().__init__(name, wanted, got)
        self.name, self.wanted, self.got = name, wanted, got

    def __str__(self) -> str:
        return f"knob {self.name!r}: expected {self.wanted}, got {self.got}"


class KnobChangedError(AetherraError, RuntimeError):
    """A knob does not have the value that its setter expected; it was not touched."""

    def __init__(self, name: str, expected: float | str, actual: float | str) -> None:
        super().__init__(name, expected, actual)
        self.name, self.expected, self.actual = name, expected, actual

    def __str__(self) -> str:
        return (
            f"knob {self.name!r} is {self.actual!r}, not {self.expected!r}: somebody has turned it since; "
            "it was left as it is"
        )


class KnobError(AetherraError, RuntimeError):
    """A knob could not be set, or does not read what it was set to; ``__cause__`` is what its plugin raised, if it did.

    Attributes:
        before: What it read before; ``None`` if that could not be told, or it was not set at all.
        after: What it reads now; the same.
    """

    def __init__(
        self, name: str, problem: str, before: float | str | None = None, after: float | str | None = None
    ) -> None:
        super().__init__(name, problem, before, after)
        self.name, self.problem, self.before, self.after = name, problem, before, after

    def __str__(self) -> str:
        known = {"was": self.before, "is": self.after}
        states = ", ".join(f"{verb} {value!r}" for verb, value in known.items() if value is not None)
        return f"knob {self.name!r}{f' ({states})' if states else ''}: {self.problem}"


class KernelNotRunningError(AetherraError, RuntimeError):
    """The kernel was used outside its ``async with`` block."""

    def __str__(self) -> str:
        return "the kernel is not running: use it inside 'async with Kernel(...) as kernel:'"


class ActionQueueFullError(AetherraError, RuntimeError):
    """A lane has no room; the action was refused and counted, and, unless it came from a dead letter, dead-lettered."""

    def __init__(self, lane: str, capacity: int, trace_id: str, shed: bool = False) -> None:
        super().__init__(lane, capacity, trace_id, shed)
        self.lane, self.capacity, self.trace_id, self.shed = lane, capacity, trace_id, shed

    def __str__(self) -> str:
        if self.shed:
            return f"the {self.lane} lane is shed and takes nothing for now; {self.trace_id} was refused"
        return f"the {self.lane} lane is full ({self.capacity} actions); {self.trace_id} was refused"


class ActionExpiredError(AetherraError, TimeoutError):
    """An action's deadline passed before it could be done."""

    def __init__(self, trace_id: str, action_type: str) -> None:
        Exception.__init__(self, trace_id, action_type)
        self.trace_id, self.action_type = trace_id, action_type

    def __str__(self) -> str:
        return f"action {self.trace_id} ({self.action_type!r}) passed its deadline"


class ActionCancelledError(AetherraError, RuntimeError):
    """An action was cancelled through its handle, or by the host's stop, before it was done."""

    def __init__(self, trace_id: str, action_type: str, why: str) -> None:
        super().__init__(trace_id, action_type, why)
        self.trace_id, self.action_type, self.why = trace_id, action_type, why

    def __str__(self) -> str:
        return f"action {self.trace_id} ({self.action_type!r}) was not done: {self.why}"


class ActionRunningError(AetherraError, RuntimeError):
    """An action that is dead cannot be sent again yet: a handler that ignored its cancellation is still at work."""

    def __init__(self, trace_id: str) -> None:
        super().__init__(trace_id)
        self.trace_id = trace_id

    def __str__(self) -> str:
        return (
            f"a handler is still at work for action {self.trace_id}, which is not run twice at a time; try again later"
        )


class ReplyLostError(AetherraError, LookupError):
    """An action was done under its idempotency key in an earlier run, but what it was done with is not known."""

    def __init__(self, trace_id: str, why: str) -> None:
        super().__init__(trace_id, why)
        self.trace_id, self.why = trace_id, why

    def __str__(self) -> str:
        return f"action {self.trace_id} was done in an earlier run, its reply is lost: {self.why}"


class LetterNotFoundError(AetherraError, LookupError):
    """The dead letter queue holds no letter with this trace id."""

    def __init__(self, trace_id: str) -> None:
        super().__init__(trace_id)
        self.trace_id = trace_id

    def __str__(self) -> str:
        return f"the dead letter queue holds nothing with trace id {self.trace_id!r}; see 'aetherra dlq list'"


class DataFileError(AetherraError, OSError):
    """A file of the data directory cannot be written or read."""

    def __init__(self, path: str, problem: str) -> None:
        Exception.__init__(self, path, problem)
        self.path, self.problem = path, problem

    def __str__(self) -> str:
        return f"{self.path}: {self.problem}"


class RetryLater(Exception):  # noqa: N818  # a handler's verdict, no error
    """Raise it in a handler to have its action tried again after ``seconds``, if its policy and deadline allow."""

    def __init__(self, seconds: float, reason: str = "") -> None:
        if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 <= seconds <= YEAR:  # pyright: ignore[reportUnnecessaryIsInstance]  # handlers err
            raise ValueError(f"expected a finite number of seconds from 0 to {YEAR:,} (a year), got {seconds!r}")
        super().__init__(seconds, reason)
        self.seconds, self.reason = seconds, reason


class Reject(Exception):  # noqa: N818  # a handler's verdict, no error
    """Raise it in a handler to dead-letter its action at once: trying again would not help."""
