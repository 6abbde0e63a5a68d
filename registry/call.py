"""A call on its way: who made it, by when it must be answered, and what it was made for."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import count
from math import inf
from threading import get_ident
from typing import Any, Literal, Protocol, cast
from weakref import ref

import msgspec

from aetherra.registry.clock import Timer
from aetherra.registry.identity import HOST, Identity

MAX_DEPTH = 100
"""Calls that may be inside one another; a cycle of handlers that never wait ends here, before the stack does."""
Ending = Literal["", "late", "stopped"]
"""Why a call is ended before its handler is done: it is late, or its plugin is stopped."""
IN_A_SCOPE = object()
"""What stands for the task of a call that a cancel scope holds to its deadline."""
_process = ""
_next_number = count(1).__next__


def _be_a_process() -> None:
    global _process  # noqa: PLW0603  # a forked process is another one
    _process = f"{os.getpid():x}-{os.urandom(4).hex()}-"


_be_a_process()
os.register_at_fork(after_in_child=_be_a_process)


def new_id() -> str:
    """Return an id unique to this process and, by four random bytes, among all of them; far cheaper than a UUID."""
    return _process + hex(_next_number())[2:]  # noqa: FURB116  # a format costs a third more


class Line:
    """From a sender to whoever handles the message; ``slow`` is from how many seconds on somebody looks at its end."""

    __slots__ = ("caller", "kind", "route", "slow", "tag")

    def __init__(
        self, caller: Identity, tag: str, kind: Literal["call", "event", "action"], *, slow: float = inf
    ) -> None:
        self.caller = caller
        self.tag = tag
        self.kind: Literal["call", "event", "action"] = kind
        self.slow = slow
        self.route: Any = None


class Origin(msgspec.Struct, frozen=True):
    """What names a message: its own id, the id of its conversation, and the id of the message that led to it."""

    id: str
    trace_id: str
    causation_id: str = ""

    @classmethod
    def new(cls, cause: Origin | None) -> Origin:
        """Name a message that another led to, or that begins a conversation."""
        own = new_id()
        return cls(own, own) if cause is None else cls(own, cause.trace_id, cause.id)


class Suspension(msgspec.Struct, eq=False):
    """What is kept of a call only once its handler waits.

    Attributes:
        timer: Cancels it at its deadline, or repeats a cancellation.
        cancelling: Cancellations of its task that it found when it began to wait.
        cancels: Cancellations of its task that are ours.
        ending: Why they are.
        trail: Tags of the calls inside it that a cancellation has passed through.
    """

    timer: Timer | None = None
    cancelling: int = 0
    cancels: int = 0
    ending: Ending = ""
    trail: tuple[str, ...] = ()


class Call(msgspec.Struct, eq=False):
    """One message being handled: a request on its way to its reply, an event being heard, or an action's attempt.

    Handlers find theirs by ``current_call()``.

    Attributes:
        line: From whom to whom it goes.
        deadline: When it must be done, in seconds of the host's ``clock.monotonic()``; ``inf`` for an event.
        started: When it began, on the same clock.
        parent: The call that it was made for, ``None`` if it is the first of its conversation here.
        depth: How many calls it is inside of.
        task: The task that it runs in; ``None`` once it is over.
        scope: On asyncio the scope that its caller is in, else the one that holds it to its deadline.
        below: The call that began before it since the event loop last turned.
        suspension: What is known of it since its handler waits.
        origin: Its names, once somebody has asked for them.
    """

    line: Line
    deadline: float
    started: float
    parent: Call | None
    depth: int
    task: Any
    scope: Any = None
    below: Call | None = None
    suspension: Suspension | None = None
    origin: Origin | None = None

    @property
    def tag(self) -> str:
        """The message's."""
        return self.line.tag

    @property
    def caller(self) -> Identity:
        """Who sent it."""
        return self.line.caller

    @property
    def kind(self) -> Literal["call", "event", "action"]:
        """What kind of message is handled."""
        return self.line.kind

    def names(self) -> Origin:
        """Return its ids; they are made when first asked for."""
        if self.origin is None:
            self.origin = Origin.new(None if self.parent is None else self.parent.names())
        return self.origin

    @property
    def id(self) -> str:
        """The name of this one message: the causation id of all that its handler sends."""
        return self.names().id

    @property
    def trace_id(self) -> str:
        """The name of the conversation, the same for all calls, events and actions that one message led to."""
        return self.names().trace_id

    @property
    def causation_id(self) -> str:
        """The ``id`` of the message that led to this one, ``""`` if none did."""
        return self.names().causation_id

    @property
    def chain(self) -> tuple[str, ...]:
        """The tags from the first call of the conversation to this one."""
        tags: list[str] = []
        call: Call | None = self
        while call is not None:
            tags.append(call.tag)
            call = call.parent
        return tuple(tag for tag in reversed(tags) if tag)  # what is over, or was in another process, has none


OVER = Line(HOST, "", "call")
"""The line of a call that is over, so that a context that was once in it keeps no plugin's code alive."""
CURRENT: ContextVar[Call | None] = ContextVar("aetherra_call", default=None)
"""The call that this context is in; none, if its ``task`` is ``None``: a task may outlive the call that started it."""


class Leafy(Protocol):
    """A bus, as far as it is asked for the call of a handler that never waits.

    Attributes:
        leaf: That call while one runs, or, before anybody has asked for it, its line, start, deadline and parent.
        thread: Where it runs.
    """

    leaf: Any
    thread: int


_buses: tuple[ref[Leafy], ...] = ()


def add_bus(bus: Leafy) -> None:
    """Let ``current_call`` ask a bus, for as long as it lives."""
    global _buses  # noqa: PLW0603  # replaced as a whole, as another thread may be reading it
    _buses = (*(known for known in _buses if known() is not None), ref(bus))


def current_call() -> Call | None:
    """Return the call whose handler this code runs in, ``None`` outside of any.

    A task that a handler started is inside its call for as long as the call lasts.
    """
    for reference in _buses:
        bus = reference()
        if bus is not None and bus.leaf is not None and bus.thread == get_ident():
            return leaf_call(bus)
    return suspendable_call()


def leaf_call(bus: Leafy) -> Call:
    """Return the call of a bus whose handler never waits and runs now."""
    if not isinstance(bus.leaf, Call):
        line, started, deadline, parent = bus.leaf
        bus.leaf = Call(line, deadline, started, parent, 0 if parent is None else parent.depth + 1, IN_A_SCOPE)
    return cast("Call", bus.leaf)


def suspendable_call() -> Call | None:
    """Return what ``current_call`` does, for code that awaits and so cannot be in a handler that never does."""
    call = CURRENT.get()
    return None if call is None or call.task is None else call


@contextmanager
def handling(line: Line, origin: Origin, now: float) -> Generator[Call]:
    """Be inside the handling of an event or an action until the body ends: what it says is of that conversation."""
    call = Call(line, inf, now, None, 0, IN_A_SCOPE, origin=origin)
    before = CURRENT.get()
    CURRENT.set(call)
    try:
        yield call
    finally:
        call.task, call.line = None, OVER
        CURRENT.set(before)
