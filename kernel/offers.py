"""What installed packages offer under an entry point group, read without ``importlib.metadata``.

That brings the parsers of mail and of archives with it, and reads every entry point of every package: together more
than a quarter of what the core's dependencies take to be imported.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from importlib.machinery import PathFinder
from pathlib import Path

import msgspec


class Offer(msgspec.Struct, frozen=True):
    """An entry point.

    Attributes:
        name: Of what is offered.
        value: Where it is, as ``module:attribute``.
        distribution: Who offers it.
    """

    name: str
    value: str
    distribution: str


def offers(group: str) -> Iterator[Offer]:
    """Yield what is offered under a group, in the order of ``sys.path``; of two distributions of a name the first's.

    As ``importlib.metadata.entry_points`` finds it, which is asked where packages are not in folders.
    """
    paths = list(map(os.fspath, sys.path))
    if any(path.endswith(".egg") or Path(path).is_file() for path in paths) or _others_find():
        yield from _asked(group)
        return
    known: set[str] = set()
    for path in paths:
        for folder in _distributions(Path(path)):
            name = folder.stem.partition("-")[0]
            normalized = re.sub(r"[-_.]+", "_", name).lower()
            if normalized not in known:
                known.add(normalized)
                yield from _read(folder, group)


def _others_find() -> bool:
    """Whether somebody else finds distributions as well."""
    finders = (getattr(finder, "find_distributions", None) for finder in sys.meta_path if finder is not PathFinder)
    return any(finder is not None for finder in finders)


def _distributions(path: Path) -> list[Path]:
    try:
        names = os.listdir(path)  # noqa: PTH208  # in its order, and none of the rest made a path
    except OSError:
        return []
    return [path / name for name in names if name.lower().endswith((".dist-info", ".egg-info"))]


def _read(folder: Path, group: str) -> Iterator[Offer]:
    lines = _text(folder / "entry_points.txt")
    section = ""
    for line in map(str.strip, lines.splitlines() if group in lines else ()):
        if line.startswith("[") and line.endswith("]"):
            section = line.strip("[]")
        elif section == group and line and not line.startswith("#"):
            name, _, value = line.partition("=")
            yield Offer(name.strip(), value.strip(), _name_of(folder))


def _name_of(folder: Path) -> str:
    for line in (_text(folder / "METADATA") or _text(folder / "PKG-INFO")).splitlines():
        field, _, value = line.partition(":")
        if field.lower() == "name":
            return value.strip()
        if not line:
            break
    return "?"


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _asked(group: str) -> Iterator[Offer]:
    from importlib import metadata  # noqa: PLC0415  # see above

    for entry_point in metadata.entry_points(group=group):
        distribution = entry_point.dist.name if entry_point.dist is not None else "?"
        yield Offer(entry_point.name, entry_point.value, distribution)
