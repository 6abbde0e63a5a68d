"""The errors of the registry, and the tests that tell a fault from a signal, and from a refusal."""

from __future__ import annotations

import asyncio
from math import inf
from typing import TYPE_CHECKING, cast

import anyio

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aetherra.registry.identity import Identity


class AetherraError(Exception):
    """Base of every error this project raises on purpose."""


class MessageDefinitionError(AetherraError, TypeError):
    """A message class, or a handler's signature, cannot be used as it is written."""


class MessageValidationError(AetherraError, ValueError):
    """A message body does not fit its type; the text holds the path of the field."""

    def __init__(self, tag: str, problem: str) -> None:
        super().__init__(tag, problem)
        self.tag, self.problem = tag, problem

    def __str__(self) -> str:
        return f"{self.tag!r}: {self.problem}"


class ServiceNotFoundError(AetherraError, LookupError):
    """No service of that name is registered."""

    def __init__(self, name: str, known: Sequence[str] = ()) -> None:
        super().__init__(name, tuple(known))
        self.name, self.known = name, tuple(known)

    def __str__(self) -> str:
        return f"no service named {self.name!r} is registered; {_nearest('services', self.known)}"


class NoHandlerError(AetherraError, LookupError):
    """Nothing answers this tag; ``nearest`` are the tags that look most like it."""

    def __init__(self, tag: str, nearest: Sequence[str] = (), reason: str = "") -> None:
        super().__init__(tag, tuple(nearest), reason)
        self.tag, self.nearest, self.reason = tag, tuple(nearest), reason

    def __str__(self) -> str:
        why = f": {self.reason}" if self.reason else ""
        return f"nothing answers {self.tag!r}{why}; {_nearest('tags', self.nearest)}"


class ServiceUnavailableError(NoHandlerError):
    """A plugin answers this tag, but not now; the subclass says what it is doing instead."""

    def __init__(self, tag: str, provider: str, reason: str = "") -> None:
        AetherraError.__init__(self, tag, provider, reason)
        self.tag, self.provider, self.reason, self.nearest = tag, provider, reason, ()

    state = "does not serve"

    def __str__(self) -> str:
        why = f": {self.reason}" if self.reason else ""
        return f"{self.tag!r} is not answered now, as {self.provider} {self.state}{why}"


class ServiceStartingError(ServiceUnavailableError):
    """The plugin that answers this tag has not started yet; try again shortly."""

    state = "is starting"


class ServiceStoppingError(ServiceUnavailableError):
    """The plugin that answered this tag is being stopped, or was."""

    state = "was stopped"


class ServiceFailedError(ServiceUnavailableError):
    """The plugin that answers this tag could not be brought up."""

    state = "has failed"


class ServiceQuarantinedError(ServiceUnavailableError):
    """The plugin that answers this tag was taken out of service."""

    state = "is quarantined"


class CapabilityError(AetherraError, PermissionError):
    """An act that no grant covers was refused; ``grant`` is what is missing, ``remedy`` where it would stand."""

    def __init__(self, who: str, grant: str, remedy: str) -> None:
        super().__init__()
        self.args = (who, grant, remedy)  # OSError's own constructor would take them for a number and a file name
        self.who, self.grant, self.remedy = who, grant, remedy

    def __str__(self) -> str:
        verb, _, tag = self.grant.partition(":")
        return f"{self.who} may not {verb} {tag!r}; add {self.grant!r} to {self.remedy}"


class HandlerBusyError(AetherraError, RuntimeError):
    """A handler's concurrency limit is reached, and as many calls wait for it as may."""

    def __init__(self, tag: str, limit: int, queue: int) -> None:
        super().__init__(tag, limit, queue)
        self.tag, self.limit, self.queue = tag, limit, queue

    def __str__(self) -> str:
        return f"the handler of {self.tag!r} has {self.limit} calls in hand and {self.queue} wait; try again shortly"


class CallDepthError(AetherraError, RecursionError):
    """Calls are nested too deep, as by handlers that call each other in a circle; ``chain`` are their tags."""

    def __init__(self, chain: Sequence[str]) -> None:
        super().__init__(tuple(chain))
        self.chain = tuple(chain)

    def __str__(self) -> str:
        return f"{len(self.chain)} calls are inside one another: {_chain(self.chain)}"


class RouteConflictError(AetherraError, ValueError):
    """A second handler was offered for a tag that has one."""

    def __init__(self, tag: str, holder: str, newcomer: str) -> None:
        super().__init__(tag, holder, newcomer)
        self.tag, self.holder, self.newcomer = tag, holder, newcomer

    def __str__(self) -> str:
        return f"{self.newcomer} offers a handler for {self.tag!r}, which {self.holder} already answers"


class ServiceConflictError(AetherraError, ValueError):
    """A second provider was offered for a service name that is held."""

    def __init__(self, name: str, holder: str, newcomer: str) -> None:
        super().__init__(name, holder, newcomer)
        self.name, self.holder, self.newcomer = name, holder, newcomer

    def __str__(self) -> str:
        return f"{self.newcomer} wants to provide service {self.name!r}, which {self.holder} already provides"


class CallTimeoutError(AetherraError, TimeoutError):
    """A call had no reply within its timeout; its handler was cancelled.

    ``chain`` are the tags from the first call of the conversation to the innermost that was waited for.
    """

    def __init__(self, tag: str, timeout: float, state: str, chain: Sequence[str] = ()) -> None:
        super().__init__()
        self.args = (tag, timeout, state, tuple(chain))  # OSError's own constructor would take some for file names
        self.tag, self.timeout, self.state, self.chain = tag, timeout, state, tuple(chain)

    def __str__(self) -> str:
        inside = f"; the calls were {_chain(self.chain)}" if len(self.chain) > 1 else ""
        return f"no reply to {self.tag!r} within {self.timeout:g} s: {self.state}{inside}"


class EventTimeoutError(CallTimeoutError):
    """An event that was waited for did not come in time."""

    def __str__(self) -> str:
        return f"no event {self.tag!r} within {self.timeout:g} s: {self.state}"


class ServiceQuiescedError(CallTimeoutError):
    """A call waited for a plugin that is being swapped, and its time was over first; no handler saw it."""


class ServiceStoppedError(AetherraError, RuntimeError):
    """The plugin that was answering was stopped before it had replied."""

    def __init__(self, tag: str, provider: str) -> None:
        super().__init__(tag, provider)
        self.tag, self.provider = tag, provider

    def __str__(self) -> str:
        return f"{self.provider} was stopped while it answered {self.tag!r}"


class ParkingFullError(AetherraError, RuntimeError):
    """A plugin is being swapped and as many calls wait for it as may."""

    def __init__(self, tag: str, limit: int) -> None:
        super().__init__(tag, limit)
        self.tag, self.limit = tag, limit

    def __str__(self) -> str:
        return f"{self.tag!r} is being swapped and {self.limit} calls already wait for it; try again shortly"


class HandlerError(AetherraError, RuntimeError):
    """A handler raised; ``__cause__`` is what it raised (a text of it from another process)."""

    def __init__(self, plugin: str, generation: int, tag: str, cause: str) -> None:
        super().__init__(plugin, generation, tag, cause)
        self.plugin, self.generation, self.tag, self.cause = plugin, generation, tag, cause

    @classmethod
    def of(cls, provider: Identity, tag: str, fault: BaseException) -> HandlerError:
        """Build the error for ``fault`` as raised by ``provider``; raise it ``from fault``."""
        return cls(provider.name, provider.generation, tag, _text(fault))

    def __str__(self) -> str:
        return f"plugin {self.plugin!r} (generation {self.generation}) failed on {self.tag!r}: {self.cause}"


class ReplyTypeError(AetherraError, TypeError):
    """A handler returned something other than its request's reply."""

    def __init__(self, plugin: str, tag: str, wanted: str, got: str) -> None:
        super().__init__(plugin, tag, wanted, got)
        self.plugin, self.tag, self.wanted, self.got = plugin, tag, wanted, got

    def __str__(self) -> str:
        return f"plugin {self.plugin!r} answered {self.tag!r} with {self.got}, expected {self.wanted}"


class ProtocolError(AetherraError, ConnectionError):
    """The other end of a control socket said something that is not the protocol."""


class HostGoneError(ProtocolError):
    """The host closed the connection, or its process ended; what was asked of it may have been done."""

    def __init__(self, name: str, pid: int) -> None:
        super().__init__()
        self.args = (name, pid)  # OSError's own constructor would take them for a number and a text
        self.name, self.pid = name, pid

    def __str__(self) -> str:
        return f"{self.name} (process {self.pid}) closed the connection"


class UnknownEventError(AetherraError, LookupError):
    """An event was published by name, and nobody in the host knows events of its tag."""

    def __init__(self, tag: str, nearest: Sequence[str] = ()) -> None:
        super().__init__(tag, tuple(nearest))
        self.tag, self.nearest = tag, tuple(nearest)

    def __str__(self) -> str:
        return f"nothing here knows events of {self.tag!r}; {_nearest('tags', self.nearest)}"


class RemoteError(AetherraError, RuntimeError):
    """An error of another process that has no class here; ``kind`` is its class name there."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(kind, message)
        self.kind, self.message = kind, message

    def __str__(self) -> str:
        return f"{self.kind}: {self.message}"


def _nearest(noun: str, names: Sequence[str]) -> str:
    if not names:
        return f"there are no {noun} like it"
    return f"nearest {noun}: {', '.join(repr(name) for name in names)}"


def _chain(tags: Sequence[str]) -> str:
    """Write tags as a path; a long one as its beginning and its end."""
    shown = [*tags[:4], f"({len(tags) - 8} more)", *tags[-4:]] if len(tags) > 9 else tags
    return " -> ".join(shown)


def _text(fault: BaseException) -> str:
    try:
        text = str(fault)
    except Exception:  # noqa: BLE001  # a fault that cannot even be told is still told of
        text = "its text could not be made"
    return f"{type(fault).__name__}: {text}" if text else type(fault).__name__


def is_refusal(error: BaseException) -> bool:
    """Whether a handler's error says that the request was its sender's mistake, so that the handler itself is well.

    That is an `AetherraError` of the handler's own by which something is not there (``LookupError``), does not fit
    (``ValueError``) or is not allowed (``PermissionError``). What the registry raises is none: it tells of a call that
    the handler made, not of the one it was asked.
    """
    told = isinstance(error, AetherraError) and isinstance(error, (LookupError, ValueError, PermissionError))
    return told and type(error).__module__ != __name__


def is_signal(exc: BaseException) -> bool:
    """Whether ``exc`` is a cancellation or a wish to end the process, which nobody may swallow.

    ``SystemExit`` is none: a plugin that calls ``sys.exit()`` has failed, and the host goes on. Nor is a
    ``CancelledError`` that nobody asked for, as from awaiting an ``asyncio`` future that another has cancelled.
    A group is one if any leaf is.
    """
    if isinstance(exc, BaseExceptionGroup):
        return any(is_signal(leaf) for leaf in cast("BaseExceptionGroup[BaseException]", exc).exceptions)
    if isinstance(exc, (Exception, SystemExit)):  # spares most faults the question which event loop this is
        return False
    if isinstance(exc, asyncio.CancelledError):
        return _is_being_cancelled()
    try:
        cancelled = anyio.get_cancelled_exc_class()
    except anyio.NoEventLoopError:  # in a worker thread, which no cancellation reaches
        return isinstance(exc, (KeyboardInterrupt, GeneratorExit))
    return isinstance(exc, (cancelled, KeyboardInterrupt, GeneratorExit))


def fault_in(exc: BaseException) -> BaseException | None:
    """Return what of ``exc`` is a fault, ``None`` if it is a signal.

    A cancelled task group in which a task failed on its way out raises both in one group; the failure is then what
    is worth telling, as a cancellation is raised again at the next checkpoint. A wish to end the process is not.
    """
    if not isinstance(exc, BaseExceptionGroup):
        return None if is_signal(exc) else exc
    group = cast("BaseExceptionGroup[BaseException]", exc)
    if group.subgroup((KeyboardInterrupt, GeneratorExit)) is not None:
        return None
    return group.subgroup(lambda leaf: not isinstance(leaf, BaseExceptionGroup) and not is_signal(leaf))


def _is_being_cancelled() -> bool:
    """Whether this ``asyncio`` task is, by a scope around it or by ``Task.cancel()``."""
    try:
        task = asyncio.current_task()
    except RuntimeError:  # no asyncio here
        return False
    return task is not None and (task.cancelling() > 0 or anyio.current_effective_deadline() == -inf)
