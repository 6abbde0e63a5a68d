"""Errors on their way to another process and back: the same class at both ends, or a text of it."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any

import msgspec

from aetherra.registry import errors
from aetherra.registry.errors import AetherraError, HandlerError, RemoteError
from aetherra.registry.protocol import Fault

MAX_TEXT = 8 * 1024
"""Characters of an error's text, and of each of its fields, that are told."""
MAX_FIELDS = 64 * 1024
"""Bytes of all its fields; if they are more, the text alone is told."""
MAX_FRAMES = 5
"""What of a traceback is told: the innermost calls."""
MAX_TRACEBACK = 4 * 1024
"""Characters of these."""
OURS = Path(__file__).parent
"""Whose frames say nothing of the handler."""
_encoder = msgspec.json.Encoder()


def fault_of(call_id: int, error: BaseException, *, closing: bool = False) -> Fault:
    """Describe an error to the other process; what it holds that is no JSON is left out, what is endless is cut."""
    fields = _plain(error) if isinstance(error, AetherraError) else ()
    return Fault(call_id, type(error).__name__, _told(str(error), MAX_TEXT), fields, _where(error), closing)


def _plain(error: AetherraError) -> tuple[Any, ...]:
    fields = tuple(_told(field, MAX_TEXT) if isinstance(field, str) else field for field in error.args)
    try:
        return fields if len(_encoder.encode(fields)) <= MAX_FIELDS else ()
    except (TypeError, ValueError, RecursionError):
        return ()


def _told(text: str, limit: int) -> str:
    """Return a text as one that can be encoded, lone surrogates replaced."""
    return text[:limit].encode(errors="replace").decode()


def _where(error: BaseException) -> str:
    """Return where in a handler the cause was raised."""
    cause = error.__cause__ if isinstance(error, HandlerError) else None
    if cause is None or cause.__traceback__ is None:
        return ""
    frames = [frame for frame in traceback.extract_tb(cause.__traceback__) if Path(frame.filename).parent != OURS]
    lines = traceback.format_list(frames[-MAX_FRAMES:])
    return _told("".join(lines)[-MAX_TRACEBACK:], MAX_TRACEBACK)


def error_of(fault: Fault) -> AetherraError:
    """Rebuild the error that the other process described, as ``RemoteError`` if the registry has no such class.

    A ``HandlerError`` has a ``RemoteError`` for its cause, with a note of where the handler raised it.
    """
    error = _rebuilt(fault) or RemoteError(fault.error, fault.message)
    noted: BaseException = error
    if isinstance(error, HandlerError):
        kind, _, text = error.cause.partition(": ")
        noted = error.__cause__ = RemoteError(kind, text)
    if fault.traceback:
        noted.add_note(f"raised in the host at\n{fault.traceback.rstrip()}")
    return error


def _rebuilt(fault: Fault) -> AetherraError | None:
    kind = getattr(errors, fault.error, None)
    if not (isinstance(kind, type) and issubclass(kind, AetherraError) and fault.args):
        return None
    try:
        error = kind(*fault.args)
        str(error)
    except Exception:  # noqa: BLE001  # the other process has other fields, of whatever kind
        return None
    return error
