"""Where something waits: the stack of a suspended coroutine, or of a thread, as text."""

from __future__ import annotations

import sys
import traceback
from types import FrameType
from typing import Any


def coroutine_stack(coroutine: Any) -> str:
    """Return where a coroutine is suspended, outermost frame first, through all that it awaits."""
    lines: list[str] = []
    while coroutine is not None:
        frame = next((f for f in (getattr(coroutine, f"{kind}_frame", None) for kind in ("cr", "ag", "gi")) if f), None)
        if isinstance(frame, FrameType):
            lines += traceback.format_stack(frame, limit=1)
        coroutine = next(
            (
                inner
                for inner in (getattr(coroutine, name, None) for name in ("cr_await", "ag_await", "gi_yieldfrom"))
                if inner is not None
            ),
            None,
        )
    return "".join(lines).rstrip() or "  (it had not begun)"


def thread_stack(thread_id: int) -> tuple[list[FrameType], str]:
    """Return a thread's frames, innermost first, and its stack as text, outermost first; empty if it is gone."""
    frame = sys._current_frames().get(thread_id)  # documented, for debuggers like this one
    if frame is None:
        return [], ""
    text = "".join(traceback.format_stack(frame)).rstrip()
    frames: list[FrameType] = []
    while frame is not None:
        frames.append(frame)
        frame = frame.f_back
    return frames, text
