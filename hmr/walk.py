"""Walks through folders: what is left out of them, and what plugins' code can be made of in them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

LEFT_OUT = frozenset(
    {"__pycache__", "node_modules", "venv", ".venv", ".tox", ".nox", ".git", ".hg", ".svn", ".aetherra"}
    | {".mypy_cache", ".pytest_cache", ".ruff_cache", ".hypothesis", ".idea", ".vscode"}
)
"""Folders of which a change is no change of code, and which can be large."""


def entries(folder: str | Path) -> list[os.DirEntry[str]]:
    """Return what is in a folder, but for what is left out; nothing of one that cannot be read, or is none."""
    try:
        with os.scandir(folder) as listing:
            return [entry for entry in listing if entry.name not in LEFT_OUT]
    except OSError:
        return []


def listing(folder: Path) -> list[tuple[Path, bool]]:
    """Return what is in a folder, and of each whether it is a folder, too."""
    return [(folder / entry.name, is_folder(entry)) for entry in entries(folder)]


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether it is a folder, or a link to one; a link that leads to itself is none."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def is_file(entry: os.DirEntry[str]) -> bool:
    """Whether it is a file, or a link to one; no pipe and no device, which a reader would wait for."""
    try:
        return entry.is_file()
    except OSError:
        return False


def files_below(folder: Path, *, of_code: bool = False) -> Iterator[Path]:
    """Yield the files in a folder and in those below, through links, but each folder once.

    Args:
        folder: Where to begin.
        of_code: Enter only what modules can be in, as imports and the kernel's snapshots do.
    """
    ahead = [folder]
    entered: set[tuple[int, int]] = set()
    while ahead:
        folder = ahead.pop()
        if (identity := _identity(folder)) is None or identity in entered:
            continue
        entered.add(identity)
        inside = entries(folder)
        names = {entry.name for entry in inside}
        if of_code and "__init__.py" not in names and ("pyvenv.cfg" in names or not folder.name.isidentifier()):
            continue
        for entry in inside:
            if is_file(entry):
                yield folder / entry.name
            elif is_folder(entry) and not (of_code and "." in entry.name):
                ahead.append(folder / entry.name)


def is_module(file: Path) -> bool:
    """Whether an import could find a file by its name."""
    return file.suffix == ".py" and "." not in file.stem


def _identity(folder: Path) -> tuple[int, int] | None:
    try:
        found = folder.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
