"""What a workflow would have done, and which of it the policy names."""

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Final

import msgspec
from msgspec import Struct

from aetherra.plugins.self_incorporation.code.classifier import FileKind
from aetherra.plugins.self_incorporation.gate.item import Item

__all__ = ["COMMANDS", "actions_of", "unnamed"]

COMMANDS: Final = ("governance.", "homeostasis.", "hmr.", "kernel.", "selfimprovement.", "selfinc.")
"""What tags begin with that command the host itself."""
_CARRIED_OUT = frozenset({FileKind.AETHER, FileKind.WORKFLOW})


class _Way(Struct):
    tag: str


class _Step(Struct):
    tag: str
    undo: _Way | None = None


def actions_of(item: Item, path: str, data: bytes) -> tuple[str, ...]:
    """Return the tags of all actions of a workflow and of their ways back, sorted; nothing for what is none."""
    if item.kind not in _CARRIED_OUT or path != item.path:
        return ()
    try:
        steps = msgspec.json.decode(data.removeprefix(b"\xef\xbb\xbf"), type=list[_Step])
    except (ValueError, RecursionError):  # it cannot be carried out either
        return ()
    return tuple(sorted({each.tag for step in steps for each in (step, step.undo) if each is not None}))


def unnamed(tags: Iterable[str], patterns: Iterable[str]) -> tuple[str, ...]:
    """Return the tags that no pattern takes. One that commands the host is taken by its own name alone."""
    known = tuple(patterns)
    return tuple(tag for tag in tags if tag not in known and (tag.startswith(COMMANDS) or not _any(tag, known)))


def _any(tag: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(tag, pattern) for pattern in patterns)
