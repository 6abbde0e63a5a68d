"""What the host's owner lets the corrector do: nothing that changes code or installs any, unless it stands here."""

from __future__ import annotations

import re
from typing import Annotated

import msgspec

from aetherra.plugins import Settings

Seconds = Annotated[float, msgspec.Meta(gt=0, le=86_400)]
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
        allow_modules: Modules that may be installed, with what pip is asked for: ``{"yaml": "PyYAML>=6"}``.
        pip_arguments: What ``pip install`` is given besides.
        pip_timeout: For one ``pip install``.
        allow_edits: Whether imports of names that have moved may be rewritten in a plugin's file.
        moved: Where names are now, besides those known: ``{"oldlib.thing": "newlib.thing"}``.
        data_files: Files that may be made when they are missing, with the file to copy:
            ``{"data/zones.json": "defaults/zones.json"}``. A path that ends with ``/`` is a folder, of ``""``.

    Raises:
        ValueError: A module is not named like one, or a requirement would be taken for an option of pip.
    """

    enabled: bool = True
    interval: Seconds = 1.0
    revisit: Seconds = 10.0
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
            if not requirement.strip() or requirement.startswith("-") or "\n" in requirement:
                raise ValueError(
                    f"expected a requirement for module {module!r}, as in 'PyYAML>=6' or a path, got {requirement!r}"
                )
        for path, source in self.data_files.items():
            if path.endswith("/") == bool(source):
                raise ValueError(
                    f'expected a file with a file to copy, or a folder as "path/": "", got {path!r}: {source!r}'
                )
