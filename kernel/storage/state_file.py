"""A small file that holds one value and is replaced as a whole: a kill leaves the value before or the one after."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec

from aetherra.kernel.datadir import replace_file

__all__ = ["StateFile"]

ValueT = TypeVar("ValueT")


class StateFile(Generic[ValueT]):
    """One value of one type: JSON that people can read or, packed, MessagePack.

    Any thread may use it, one at a time.

    Args:
        path: Of the file, whose folder must exist when it is saved; ``None`` keeps nothing.
        kind: The type of the value, as msgspec reads it.
        packed: Whether it is MessagePack: for many numbers, which nobody reads.

    Attributes:
        path: Of the file, or ``None``.
        problem: Why it could not be read, the last time that it could not; ``""`` if it could.
        set_aside: Where what could not be read was moved to; ``None`` if nothing was.
    """

    def __init__(self, path: Path | None, kind: type[ValueT], *, packed: bool = False) -> None:
        self.path = path
        self.problem = ""
        self.set_aside: Path | None = None
        self._packed = packed
        self._decoder = msgspec.msgpack.Decoder(kind) if packed else msgspec.json.Decoder(kind)

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
        if self.path is not None:
            replace_file(self.path, (msgspec.msgpack.encode(value),) if self._packed else (encoded(value), b"\n"))

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

    def begin_anew(self, why: str) -> None:
        """Put it aside if that goes, and say in ``problem`` if it does not: for whoever can do without the value."""
        try:
            self.put_aside(why)
        except OSError as exc:
            self.problem = f"{self.path} cannot be used ({why}), nor moved aside: {exc.strerror or exc}"


def encoded(value: Any) -> bytes:
    """Return a value as one line of JSON, its keys sorted: the same value is the same bytes."""
    return msgspec.json.encode(value, order="sorted")
