"""Where something waits: the stack of a suspended coroutine, or of a thread, as text."""

from __future__ import annotations

import gc
import sys
import traceback
from collections.abc import Iterable
from inspect import CO_OPTIMIZED
from types import AsyncGeneratorType, CoroutineType, FrameType, GeneratorType
from typing import Any

from aetherra.registry.suspension import watch

_KEEPERS = frozenset({"locals", "vars", "dir", "eval", "exec"})
"""Names by which a function can have its own copy of its variables in hand, which is then not ours to clear."""
_AWAITED_BY = ("cr_await", "ag_await", "gi_yieldfrom")
_FRAME_OF = ("cr_frame", "ag_frame", "gi_frame")
_DRIVEN: tuple[type, ...] = (AsyncGeneratorType, CoroutineType, GeneratorType)
_OPAQUE = ("async_generator_asend", "async_generator_athrow", "anext_awaitable", "coroutine_wrapper")
"""Awaitables of the interpreter that do not tell what they drive; the garbage collector does."""


def local_of(frame: FrameType, name: str) -> Any:
    """Return a variable of a frame, ``None`` if it has none of that name, and keep nothing of the frame alive by that.

    Before Python 3.13 ``f_locals`` leaves a copy of all variables in the frame, which lives as long as the frame does.
    """
    code = frame.f_code
    if name not in code.co_varnames and name not in code.co_freevars:
        return None
    variables = frame.f_locals
    value = variables.get(name)
    if sys.version_info < (3, 13) and code.co_flags & CO_OPTIMIZED and _KEEPERS.isdisjoint(code.co_names):
        variables.clear()
    return value


def coroutine_frames(coroutine: Any) -> list[FrameType]:
    """Return the frames of a suspended coroutine, outermost first, through all that it awaits."""
    frames: list[FrameType] = []
    while coroutine is not None:
        frame = next((found for name in _FRAME_OF if (found := getattr(coroutine, name, None)) is not None), None)
        if isinstance(frame, FrameType):
            frames.append(frame)
        coroutine = _awaited_by(coroutine)
    return frames


def _awaited_by(awaiting: Any) -> Any:
    if getattr(awaiting, "gi_code", None) is watch.__code__ and awaiting.gi_frame is not None:
        return local_of(awaiting.gi_frame, "work")
    if type(awaiting).__name__ in _OPAQUE:
        return next((inner for inner in gc.get_referents(awaiting) if type(inner) in _DRIVEN), None)
    return next((inner for name in _AWAITED_BY if (inner := getattr(awaiting, name, None)) is not None), None)


def coroutine_stack(coroutine: Any) -> str:
    """Return where a coroutine is suspended, as text, outermost frame first."""
    return stack_text(coroutine_frames(coroutine)) or "  (it had not begun)"


def thread_stack(thread_id: int) -> tuple[list[FrameType], str]:
    """Return a thread's frames, innermost first, and its stack as text, outermost first; empty if it is gone."""
    frame = sys._current_frames().get(thread_id)  # pyright: ignore[reportPrivateUsage]  # documented, for debuggers
    frames: list[FrameType] = []
    while frame is not None:
        frames.append(frame)
        frame = frame.f_back
    return frames, stack_text(reversed(frames))


def stack_text(frames: Iterable[FrameType]) -> str:
    """Return frames, outermost first, as a traceback shows them, without the interpreter's import machinery."""
    shown = (frame for frame in frames if not frame.f_code.co_filename.startswith("<frozen"))
    return "".join(line for frame in shown for line in traceback.format_stack(frame, limit=1)).rstrip()
