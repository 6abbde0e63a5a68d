"""An editor in a process of its own: writes what it is told to, line by line, and says when that is done.

It reads JSON from standard input, one order a line, and answers each with a line once the system has taken it.
"""

from __future__ import annotations

import json
import mmap
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO

held: dict[str, IO[bytes]] = {}
mapped: dict[str, mmap.mmap] = {}


def in_place(path: Path, text: str) -> None:
    """Write a file over, as nano does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())


def atomically(path: Path, text: str) -> None:
    """Write beside and rename, as VS Code's safe save and PyCharm do."""
    beside = path.with_name(f".{path.name}.{os.getpid()}~")
    beside.write_bytes(text.encode())
    beside.replace(path)


def with_backup(path: Path, text: str) -> None:
    """Rename the old file, write a new one, delete the old, as vim does."""
    backup = path.with_name(f"{path.name}~")
    path.rename(backup)
    path.write_bytes(text.encode())
    backup.unlink()


def anew(path: Path, text: str) -> None:
    """Delete the file and write another."""
    path.unlink()
    path.write_bytes(text.encode())


def begin(path: Path, text: str) -> None:
    """Write the first piece of a file, and keep the file open."""
    held[str(path)] = file = path.open("wb")
    file.write(text.encode())
    file.flush()


def end(path: Path, text: str) -> None:
    """Write the rest of it, and close it."""
    with held.pop(str(path)) as file:
        file.write(text.encode())


def append(path: Path, text: str) -> None:
    """Write more at the end of a file that is closed."""
    with path.open("ab") as file:
        file.write(text.encode())


def map_(path: Path, _: str) -> None:
    """Map a file into memory: what is written there is a change of which the system tells nobody."""
    with path.open("r+b") as file:
        mapped[str(path)] = mmap.mmap(file.fileno(), 0)


def silently(path: Path, text: str) -> None:
    """Write a file of the same size over, by its map, and give that up."""
    with mapped.pop(str(path)) as data:
        data[:] = text.encode()


def several(_: Path, text: str) -> None:
    """Write several files over, one directly after the other."""
    for path, content in json.loads(text):
        in_place(Path(path), content)


def touch(path: Path, text: str) -> None:
    """Set a file's times, to nanoseconds if some are named."""
    if text:
        os.utime(path, ns=(int(text), int(text)))
    else:
        os.utime(path)


def delete(path: Path, _: str) -> None:
    """Delete a file."""
    path.unlink()


def rename(path: Path, text: str) -> None:
    """Rename a file or folder."""
    path.rename(text)


ORDERS: dict[str, Callable[[Path, str], None]] = {
    order.__name__: order
    for order in (
        in_place, atomically, with_backup, anew, begin, end, append, map_, silently, several, touch, delete, rename
    )
}  # fmt: skip

if __name__ == "__main__":
    for line in sys.stdin:
        how, where, what = json.loads(line)
        try:
            ORDERS[how](Path(where), what)
        except Exception as exc:
            print(repr(exc), flush=True)
        else:
            print("done", flush=True)
