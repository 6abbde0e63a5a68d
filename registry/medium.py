"""What a caller speaks on: all that it asks of a bus, so that neither needs to know the other's file."""

from __future__ import annotations

from typing import Any, Protocol

from aetherra.registry.call import Call
from aetherra.registry.capabilities import Capabilities
from aetherra.registry.clock import Clock
from aetherra.registry.deadlines import Deadlines
from aetherra.registry.identity import Identity
from aetherra.registry.line import CallLine
from aetherra.registry.messages import Request
from aetherra.registry.observer import Observer
from aetherra.registry.route import Route
from aetherra.registry.routing import Routing
from aetherra.registry.topics import Topics


class Forgetful(Protocol):
    """What keeps ways that may change."""

    def forget_lines(self) -> None:
        """Find each way anew."""


class Medium(Protocol):
    """What a caller speaks on: all that it asks of a bus."""

    clock: Clock
    default_timeout: float
    capabilities: Capabilities
    deadlines: Deadlines
    routing: Routing
    topics: Topics
    observer: Observer | None
    leaf: Any
    thread: int

    def line(self, route: Route, request_type: type[Request[Any]], caller: Identity) -> CallLine:
        """Return the line of a caller's class of request to a route, as things are now."""
        ...

    def forget_lines_of(self, caller: Forgetful) -> None:
        """Tell a caller whenever routes, grants or watchers change, for as long as it lives."""

    def call_ended(self, call: Call, seconds: float, error: BaseException | None) -> None:
        """Look at a call that was slow, or that is observed."""

    def count_refused(self, who: Identity, tag: str, error: Exception) -> None:
        """Count a call that reached no handler."""
