"""The shape of what is written: the types, figures and texts of one part of a policy, whoever writes it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from functools import cache
from typing import Any, cast, get_args, get_origin

import msgspec

__all__ = ["check_shape", "is_text"]

_LARGEST = 2**63 - 1
"""What a saved state can hold of a whole number."""


def check_shape(part: msgspec.Struct) -> None:
    """See that all fields are of their types, all figures finite and all texts whole; lists become tuples.

    Code that makes a part is held to what a file is held to.

    Raises:
        ValueError: One is not; it begins with the field, and says what was expected.
    """
    for name, wanted in _fields(type(part)):
        value = _exact(name, getattr(part, name), wanted)
        _check_figures(name, value)
        msgspec.structs.force_setattr(part, name, value)


def is_text(text: str) -> bool:
    """Return whether a text can be written down: no half character (a lone surrogate) is in it."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


@cache
def _fields(kind: type[msgspec.Struct]) -> tuple[tuple[str, Any], ...]:
    return tuple((field.name, field.type) for field in msgspec.structs.fields(kind))


def _exact(place: str, value: Any, wanted: Any) -> Any:
    if get_origin(wanted) is dict and isinstance(value, Mapping):
        named = cast("Mapping[object, object]", value)
        if odd := [key for key in named if not isinstance(key, str)]:
            raise ValueError(f"{place}: expected names, got {odd[0]!r}")
        return {key: _exact(f"{place}.{key}", inner, get_args(wanted)[1]) for key, inner in named.items()}
    try:
        return msgspec.convert(value, wanted)
    except msgspec.ValidationError as exc:
        text, _, inner = str(exc).replace("`", "").partition(" - at $")
        raise ValueError(f"{place}{inner}: {text[:1].lower()}{text[1:]}, as it is {_shown(value)}") from exc


def _check_figures(place: str, value: Any) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{place}: expected a finite figure, got {value}")
    if isinstance(value, int) and abs(value) > _LARGEST:
        raise ValueError(f"{place}: expected a whole number of at most 64 bits")
    if isinstance(value, str) and not is_text(value):
        raise ValueError(f"{place}: expected whole characters, got {value!a}")
    if isinstance(value, dict):
        for key, inner in cast("dict[str, Any]", value).items():
            _check_figures(place, key)
            _check_figures(f"{place}.{key}", inner)
    elif isinstance(value, tuple):
        for number, inner in enumerate(cast("tuple[object, ...]", value)):
            _check_figures(f"{place}[{number}]", inner)


def _shown(value: object) -> str:
    """Return a value in few words; a large one would hide what is said of it."""
    try:
        text = re.sub(r"\s+", " ", repr(value))
    except Exception:  # noqa: BLE001  # whatever it is, it is not what was expected
        text = f"a {type(value).__name__}"
    return text if len(text) <= 60 else f"{text[:57]}..."
