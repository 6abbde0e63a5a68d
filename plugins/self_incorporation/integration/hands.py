"""Hands: what an integration asks of the host, and nothing of how the host does it."""

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from aetherra.plugins.self_incorporation.integration.world import Present

__all__ = ["Hands", "Leave", "Write"]

Write = Callable[[], Awaitable[None]]
"""Puts files in their places."""


class Leave(Protocol):
    """Leave to go on, as a permit of the kernel's gives it."""

    async def check(self) -> None:
        """See that nobody has said stop.

        Raises:
            NotPermittedError: Somebody has.
        """
        ...


class Hands(Protocol):
    """What is done to the running host.

    Each of these leaves the host as it was if it raises, unless it says otherwise.
    """

    async def plugins(self) -> Mapping[str, Present]:
        """Return the plugins there are."""
        ...

    async def load(self, name: str, path: Path, settings: Mapping[str, Any]) -> None:
        """Bring up a plugin that is not there.

        Raises:
            AetherraError: It could not be brought up.
        """
        ...

    async def prove(self, name: str, check: Callable[[], Awaitable[None]]) -> None:
        """Watch a plugin in its first time.

        Args:
            name: Which.
            check: Asked now and then whether to go on; what it raises ends this.

        Raises:
            AetherraError: It does not do well; it serves on, for the caller to take it out.
        """
        ...

    async def replace(self, name: str, write: Write, check: Callable[[], Awaitable[None]]) -> str:
        """Have new code serve in place of the old, once it has proved itself beside it or by itself.

        Args:
            name: Which plugin.
            write: Puts the new files in their places.
            check: As for ``prove``.

        Returns:
            How it went, for people.

        Raises:
            AetherraError: It did not prove itself; the old code serves, and the new files stand in their places.
        """
        ...

    async def put_back(self, name: str, path: Path, write: Write, settings: Mapping[str, Any]) -> None:
        """Have a plugin's earlier code serve again, from its files.

        Args:
            name: Which plugin.
            path: Where its file or folder is.
            write: Puts the earlier files in their places.
            settings: What it was loaded with.

        Raises:
            AetherraError: It could not be brought up; the files are back all the same.
        """
        ...

    async def unload(self, name: str) -> None:
        """Stop a plugin and forget it; one that is not there is no error."""
        ...

    def strayed(self, name: str, files: Mapping[Path, str]) -> bool:
        """Whether code of other files serves than those, which are given with their SHA-256; not if nothing does."""
        ...

    async def perform(self, tag: str, body: dict[str, Any], key: str) -> Any:
        """Have an action done, once under its key, and return its reply.

        Raises:
            ActionRefusedError: It was refused, and had no effect.
            AetherraError: It was dead-lettered, and may have had its effect.
        """
        ...
