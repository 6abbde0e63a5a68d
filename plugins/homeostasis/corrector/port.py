"""What the corrector asks of whoever runs it; a plugin's context is one."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol, TypeVar

import anyio

from aetherra.plugins import Message, Request, ServiceStatus
from aetherra.plugins.homeostasis.leave import Permitting

T = TypeVar("T")
ReplyT = TypeVar("ReplyT")


class Clock(Protocol):
    """Time, as the host has it."""

    def monotonic(self) -> float:
        """Seconds that only go forward."""
        ...

    def time(self) -> float:
        """Unix seconds."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...

    def move_on_after(self, seconds: float) -> AbstractContextManager[anyio.CancelScope]:
        """Cancel the body after ``seconds``."""
        ...


class Service(Protocol):
    """A service, as the directory has it."""

    @property
    def name(self) -> str:
        """What it is found by."""
        ...

    @property
    def status(self) -> ServiceStatus:
        """Its state."""
        ...

    @property
    def plugin(self) -> str:
        """Who provides it."""
        ...

    @property
    def tags(self) -> tuple[str, ...]:
        """What it answers."""
        ...

    @property
    def since(self) -> float:
        """Unix time of its registration."""
        ...


class Directory(Protocol):
    """The services there are."""

    def list(self) -> list[Any]:
        """Return each; see ``Service``."""
        ...


class Hooks(Protocol):
    """The way to ask all plugins."""

    def call(self, hook: str, **arguments: Any) -> Iterator[tuple[str, Any]]:
        """Yield each plugin's name and what its implementation of a hook returned."""
        ...


class Port(Permitting, Protocol):
    """The host, as far as the corrector reaches by itself: it reads here, and changes nothing."""

    @property
    def clock(self) -> Clock:
        """The host's."""
        ...

    @property
    def log(self) -> logging.Logger:
        """The corrector's own logger, whose records it passes over."""
        ...

    @property
    def registry(self) -> Directory:
        """The directory of services."""
        ...

    @property
    def hooks(self) -> Hooks:
        """The way to ask all plugins."""
        ...

    @property
    def root(self) -> Path:
        """The project's folder."""
        ...

    @property
    def data_dir(self) -> Path | None:
        """A folder for backups; ``None`` if nothing is kept on disk."""
        ...

    async def call(self, request: Request[ReplyT], *, timeout: float | None = None) -> ReplyT:
        """Send a request and return its reply."""
        ...

    async def publish(self, event: Message) -> object:
        """Tell all who listen."""
        ...

    def start_soon(self, function: Callable[..., Coroutine[Any, Any, Any]], *args: Any) -> None:
        """Run a task that ends with whoever runs the corrector."""
        ...

    async def run_sync(self, function: Callable[..., T], *args: Any) -> T:
        """Run a plain function in a worker thread."""
        ...


class Act(Protocol):
    """Sends a request that changes something by the way that changes go, and returns its reply.

    Raises:
        AetherraError: It was refused, or not done.
    """

    async def __call__(self, request: Request[ReplyT], /) -> ReplyT:
        """Have it done."""
        ...
