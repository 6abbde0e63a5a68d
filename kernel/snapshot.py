"""A snapshot of source files: all bytes of a module or a package, read at once and before any of it runs."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from aetherra.kernel.content import Content
from aetherra.kernel.errors import PluginUnreadableError


class Part(NamedTuple):
    """What one module is made of.

    Attributes:
        place: Its file; its folder, for a namespace package.
        content: What the file held; ``None`` for a namespace package.
        folder: Where its submodules are; ``None`` if it is no package.
        loose: Whether it is, or is inside, a folder without an ``__init__.py``.
    """

    place: Path
    content: Content | None
    folder: Path | None = None
    loose: bool = False


def read_module(path: Path) -> Part:
    """Read a single file.

    Raises:
        FileNotFoundError: It is not there.
        PluginUnreadableError: It cannot be read.
    """
    with _named(path):
        return Part(path, Content.of(path, path.read_bytes()))


def read_package(name: str, folder: Path) -> dict[str, Part]:
    """Read all modules of a package by their full names; none if there is no Python in the folder.

    A folder in it without an ``__init__.py`` is a namespace package if its name can be written in an import, it has
    Python files somewhere below, and is no virtual environment.

    Raises:
        FileNotFoundError: The folder is not there, or a file went away meanwhile.
        PluginUnreadableError: A file or folder cannot be read, or a link leads back to where it is; says which.
    """
    return _read_folder(name, str(folder), (), loose=False)


def _read_folder(name: str, folder: str, above: tuple[str, ...], *, loose: bool) -> dict[str, Part]:
    place = Path(folder)
    with _named(folder), os.scandir(folder) as listing:
        entries = {entry.name: entry for entry in listing}
    init = entries.pop("__init__.py", None)
    if init is None and (not place.name.isidentifier() or "pyvenv.cfg" in entries):
        return {}
    loose = loose or init is None
    parts: dict[str, Part] = {}
    folders: list[os.DirEntry[str]] = []
    for entry in entries.values():
        stem, dot, suffix = entry.name.rpartition(".")
        if suffix == "py" and dot and "." not in stem:
            parts[f"{name}.{stem}"] = _read_file(entry)._replace(loose=loose)
        elif not dot and entry.name != "__pycache__" and _is_folder(entry, (*above, folder)):
            folders.append(entry)
    for entry in folders:
        inner_name = f"{name}.{entry.name}"
        inner = _read_folder(inner_name, entry.path, (*above, folder), loose=loose)
        if inner and (inner[inner_name].content is not None or inner_name not in parts):  # as imports choose
            parts.update(inner)
    if init is not None:
        return {name: _read_file(init)._replace(folder=place, loose=loose), **parts}
    return {name: Part(place, None, place, loose), **parts} if parts else {}


def _read_file(entry: os.DirEntry[str]) -> Part:
    with _named(entry.path):
        if not entry.is_file():  # reading a pipe would wait for ever
            raise PluginUnreadableError(f"{entry.path} is not a file, but a folder, a device or a link to nothing")
    return read_module(Path(entry.path))


def _is_folder(entry: os.DirEntry[str], above: tuple[str, ...]) -> bool:
    with _named(entry.path):
        is_folder = entry.is_dir()
    if is_folder and entry.is_symlink() and os.path.realpath(entry.path) in map(os.path.realpath, above):
        raise PluginUnreadableError(f"{entry.path} is a link back to a folder that it is in")
    return is_folder


@contextmanager
def _named(place: str | Path) -> Generator[None]:
    """Have an error say where it was."""
    try:
        yield
    except (FileNotFoundError, PluginUnreadableError):
        raise
    except OSError as exc:
        raise PluginUnreadableError(f"{place} cannot be read: {exc.strerror}") from exc
