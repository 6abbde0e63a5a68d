"""Who acts: a plugin and its generation, the host itself, or a client in another process."""

from __future__ import annotations

from typing import Literal

import msgspec


class Identity(msgspec.Struct, frozen=True, order=True):
    """One acting party; ``generation`` is 0 for all but plugins."""

    kind: Literal["host", "plugin", "remote"]
    name: str
    generation: int = 0

    def __str__(self) -> str:
        if self.kind == "plugin":
            return f"plugin {self.name!r} (generation {self.generation})"
        return "the host" if self.kind == "host" else f"remote client {self.name!r}"


HOST = Identity("host", "host")
"""The application that embeds the kernel, and the kernel's own services."""
