"""Places inside the project: paths are followed through every link before anything is made or read there."""

from __future__ import annotations

import os
from pathlib import Path


class OutsideError(ValueError):
    """A path leads out of the project."""

    def __init__(self, path: str, root: str) -> None:
        super().__init__(path, root)
        self.path, self.root = path, root

    def __str__(self) -> str:
        return f"{self.path} leads out of the project at {self.root}"


def inside(root: Path, path: str | Path) -> Path:
    """Return where a path, relative to the project or absolute, really is.

    Raises:
        OutsideError: That is not inside the project, or is the project itself.
    """
    real_root = os.path.realpath(root)
    real = os.path.realpath(root / path)
    if os.path.commonpath((real, real_root)) != real_root or real == real_root:
        raise OutsideError(str(path), real_root)
    return Path(real)


def is_inside(root: Path, path: str | Path) -> bool:
    """Whether a path really is inside the project."""
    try:
        inside(root, path)
    except ValueError:  # also a path with a null character, or on another drive
        return False
    return True
