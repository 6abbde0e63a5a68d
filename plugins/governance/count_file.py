"""What guards had counted by a version that kept it in a file of its own: read once, and deleted."""

from __future__ import annotations

from pathlib import Path

import msgspec

from aetherra.plugins import DataFileError
from aetherra.plugins.governance.guards import Counted

__all__ = ["FILE_NAME", "earlier_counts"]

FILE_NAME = "guards.jsonl"


def earlier_counts(folder: Path) -> tuple[list[Counted], str]:
    """Return what was counted, the oldest first, and why that is not all; ``""`` if it is.

    A line without its end was torn by a death, and told to nobody.

    Raises:
        DataFileError: It cannot be read.
    """
    path = folder / FILE_NAME
    try:
        lines = path.read_bytes().split(b"\n")[:-1]
    except FileNotFoundError:
        return [], f"{path} is gone"
    except OSError as exc:
        raise DataFileError(str(path), f"cannot read: {exc.strerror or exc}") from exc
    found, unreadable = list[Counted](), 0
    for line in filter(bytes.strip, lines):
        try:
            found.append(_DECODER.decode(line))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            unreadable += 1
    return found, f"{unreadable} lines of {path} cannot be read" if unreadable else ""


_DECODER = msgspec.json.Decoder(Counted)
