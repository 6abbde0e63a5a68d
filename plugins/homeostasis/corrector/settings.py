"""What the host's owner lets the corrector do: nothing that changes code or installs any, unless it stands here."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated

import msgspec

from aetherra.plugins import Settings
from aetherra.plugins.homeostasis.corrector.requirement import is_path, is_requirement, path_of

Seconds = Annotated[float, msgspec.Meta(gt=0, le=86_400)]
Interval = Annotated[float, msgspec.Meta(ge=0.05, le=86_400)]
"""Between two looks; more often there would be nothing else."""
_MODULE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")


class CorrectorSettings(Settings):
    """Settings of the corrector; durations are seconds, paths are relative to the project.

    Attributes:
        enabled: Whether the log is listened to.
        interval: Between two looks at what was logged.
        revisit: Between two looks at plugins that have failed, whether something has changed for them.
        capacity: Records that may wait to be looked at; what comes beyond is dropped and counted.
        cooldown: In which the same trouble is left alone after it was looked at,
        cooldown_jitter: and what is added to that, from nothing up to all of it, at random.
        timeout: For one correction, its check included.
        allow_modules: Modules that may be installed, with what pip is asked for: ``{"yaml": "PyYAML>=6"}``, or the path
            of a folder or an archive.
        pip_arguments: What ``pip install`` is given besides.
        pip_timeout: For one ``pip install``.
        allow_edits: Whether imports of names that have moved may be rewritten in a plugin's file.
        moved: Where names are now, besides those known: ``{"oldlib.thing": "newlib.thing"}``.
        data_files: Files that may be made when they are missing, with the file to copy:
            ``{"data/zones.json": "defaults/zones.json"}``. A path that ends with ``/`` is a folder, of ``""``.

    Raises:
        ValueError: A module is not named like one, a requirement is none, or a file would be made outside of the
            project.
    """

    enabled: bool = True
    interval: Interval = 1.0
    revisit: Interval = 10.0
    capacity: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 1000
    cooldown: Seconds = 300.0
    cooldown_jitter: Annotated[float, msgspec.Meta(ge=0, le=86_400)] = 300.0
    timeout: Seconds = 300.0
    allow_modules: dict[str, str] = {}
    pip_arguments: tuple[str, ...] = ("--no-deps",)
    pip_timeout: Seconds = 120.0
    allow_edits: bool = False
    moved: dict[str, str] = {}
    data_files: dict[str, str] = {}

    def __post_init__(self) -> None:
        """Refuse what could not be used, or would be used otherwise than it reads."""
        for name in (*self.allow_modules, *self.moved, *self.moved.values()):
            if _MODULE.fullmatch(name) is None:
                raise ValueError(f"expected the name of a module, as in 'yaml' or 'acme.parts', got {name!r}")
        for module, requirement in self.allow_modules.items():
            if not is_path(requirement) and not is_requirement(requirement):
                raise ValueError(
                    f"allow_modules.{module}: expected a requirement for module {module!r}, as in 'PyYAML>=6', or a "
                    f"path, as in './wheels/acme-1.whl', got {requirement!r}"
                )
        for path, source in self.data_files.items():
            if leaves := next((each for each in (path, source) if _leaves(each)), ""):
                raise ValueError(f"data_files.{path}: expected paths inside the project, got {leaves!r}")
            if path.endswith("/") == bool(source):
                raise ValueError(
                    f'expected a file with a file to copy, or a folder as "path/": "", got {path!r}: {source!r}'
                )

    def check(self, root: Path) -> None:
        """See that what pip is to install is there, and that files are to be made inside the project.

        Links are followed when a file is made, for they come and go.

        Raises:
            ValueError: It is not; it begins with the setting.
        """
        for module, requirement in self.allow_modules.items():
            if is_path(requirement) and not path_of(root, requirement).exists():
                raise ValueError(
                    f"corrector.allow_modules.{module}: there is no {requirement!r} at {root}; expected a requirement, "
                    "or the path of a folder or an archive that is there"
                )
        for path, source in self.data_files.items():
            for each in filter(None, (path, source)):
                place = Path(os.path.normpath(root.absolute() / each))
                if not any(place.is_relative_to(top) for top in (root.absolute(), root.resolve())):
                    raise ValueError(f"corrector.data_files.{path}: {each!r} leads out of the project at {root}")


def _leaves(path: str) -> bool:
    """Whether a path that is relative to the project leads out of it, wherever that is, or is the project itself."""
    normal = os.path.normpath(path)
    return bool(path) and ("\0" in path or normal == "." or Path(normal).parts[0] == os.pardir)
