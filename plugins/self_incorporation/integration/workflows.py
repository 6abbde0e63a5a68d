"""Workflows: lists of actions, done in order, each with the action that undoes it if there is one."""

import keyword
import types
from functools import lru_cache
from typing import Any

import msgspec
from msgspec import Struct

from aetherra.plugins import Request
from aetherra.plugins.self_incorporation.integration.intents import WayBack

__all__ = ["Workflow", "WorkflowError", "WorkflowStep", "read_workflow", "request_of"]

MOST_STEPS = 1000
MOST_BYTES = 4_000_000


class WorkflowError(ValueError):
    """A file is no workflow that can be done; says where, and what was expected."""


class WorkflowStep(Struct, frozen=True, forbid_unknown_fields=True):
    """One action: the tag of its request, its fields, and its way back."""

    tag: str
    body: dict[str, Any] = {}
    undo: WayBack | None = None


class Workflow(Struct, frozen=True):
    """Actions in order."""

    steps: tuple[WorkflowStep, ...]


def read_workflow(data: bytes) -> Workflow:
    """Read a JSON list of steps, ``{"tag": ..., "body": {...}, "undo": {"tag": ..., "body": {...}}}``.

    Raises:
        WorkflowError: It is something else.
    """
    if len(data) > MOST_BYTES:
        raise WorkflowError(f"expected at most {MOST_BYTES:,} bytes, got {len(data):,}")
    try:
        steps = msgspec.json.decode(data.removeprefix(b"\xef\xbb\xbf"), type=tuple[WorkflowStep, ...])
    except (msgspec.DecodeError, RecursionError) as exc:
        raise WorkflowError(f"expected a JSON list of steps with a tag, a body and an undo: {exc}") from exc
    if not steps:
        raise WorkflowError("expected at least one step, got none")
    if len(steps) > MOST_STEPS:
        raise WorkflowError(f"expected at most {MOST_STEPS:,} steps, got {len(steps):,}")
    for number, step in enumerate(steps, 1):
        try:
            request_of(step.tag, step.body)
            if step.undo is not None:
                request_of(step.undo.tag, step.undo.body)
        except (ValueError, TypeError) as exc:
            raise WorkflowError(f"step {number}: {exc}") from exc
    return Workflow(steps)


def request_of(tag: str, body: dict[str, Any]) -> Request[Any]:
    """Return a request of this tag with these fields, for whoever answers the tag to check and convert.

    Raises:
        ValueError: A field has no name that a field can have.
        TypeError: The tag is none.
    """
    for name in body:
        if not name.isidentifier() or keyword.iskeyword(name) or name.startswith("__"):
            raise ValueError(f"{tag}: expected the names of fields, got {name!r}")
    return _request_type(tag, tuple(body))(**body)


@lru_cache(256)
def _request_type(tag: str, fields: tuple[str, ...]) -> type[Request[Any]]:
    def fill(namespace: dict[str, Any]) -> None:
        namespace["__annotations__"] = dict.fromkeys(fields, Any)
        namespace["__module__"] = __name__

    return types.new_class("WorkflowRequest", (Request[Any],), {"tag": tag, "kw_only": True}, fill)
