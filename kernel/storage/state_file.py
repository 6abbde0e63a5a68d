"""A small file that holds one value and is replaced as a whole: a kill leaves the value before or the one after."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec

from aetherra.kernel.datadir import AppendFile

__all__ = ["StateFile"]

ValueT = TypeVar("ValueT")


class StateFile(Generic[ValueT]):
    """JSON that people can read, of one type.

    Any thread may use it, one at a time.

    Args:
        path: Of the file, whose folder must exist when it is saved; ``None`` keeps nothing.
        kind: The type of the value, as msgspec reads it.

    Attributes:
        path: Of the file, or ``None``.
        problem: Why it could not be read, the last time that it could not; ``""`` if it could.
        set_aside: Where what could not be read was moved to; ``None`` if nothing was.
    """

    def __init__(self, path: Path | None, kind: type[ValueT]) -> None:
        self.path = path
        self.problem = ""
        self.set_aside: Path | None = None
        self._decoder: msgspec.json.Decoder[ValueT] = msgspec.json.Decoder(kind)
        self._file = AppendFile(path) if path is not None else None

    def load(self) -> ValueT | None:
        """Return what was saved last; ``None`` if nothing was, or if it is no such value: that is moved aside.

        Raises:
            OSError: It is there and cannot be read, or not be moved aside.
        """
        self.problem, self.set_aside = "", None
        if self.path is None:
            return None
        try:
            return self._decoder.decode(self.path.read_bytes())
        except FileNotFoundError:
            return None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError) as exc:
            self.put_aside(str(exc))
            return None

    def save(self, value: ValueT) -> None:
        """Put a value in the place of the one before; once this returns, the disk has it.

        Raises:
            DataFileError: It cannot be written: the value before stands.
        """
        if self._file is not None:
            self._file.replace([encoded(value)])

    def put_aside(self, why: str) -> None:
        """Keep a file that nobody can use beside, as ``<file>.corrupt-<n>``, and say why in ``problem``.

        Raises:
            OSError: It cannot be moved.
        """
        if self.path is None:
            return
        places = (self.path.with_name(f"{self.path.name}.corrupt-{number}") for number in itertools.count(1))
        self.set_aside = next(place for place in places if not os.path.lexists(place))
        self.path.replace(self.set_aside)
        self.problem = f"{self.path} cannot be used ({why}); it was moved to {self.set_aside}"


def encoded(value: Any) -> bytes:
    """Return a value as one line of JSON, its keys sorted: the same value is the same bytes."""
    return msgspec.json.encode(value, order="sorted")
