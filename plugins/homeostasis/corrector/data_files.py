"""A missing data file: made of the default that the configuration declares for it, inside the project only."""

from __future__ import annotations

import json
import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from aetherra.plugins import Advise, AetherraError, Correction, LogFacts
from aetherra.plugins.homeostasis.corrector.facts import is_builtin, text_in
from aetherra.plugins.homeostasis.corrector.hands import Hands
from aetherra.plugins.homeostasis.corrector.hosted import HostedPlugins
from aetherra.plugins.homeostasis.corrector.messages import DataFileMade, MakeDataFile
from aetherra.plugins.homeostasis.corrector.places import OutsideError, inside, is_inside
from aetherra.plugins.homeostasis.corrector.port import Port
from aetherra.plugins.homeostasis.corrector.settings import CorrectorSettings


class MissingDataFile(Correction):
    """Has a file or a folder made that is in ``data_files``, and the plugin that failed for it brought up."""

    name = "missing_data_file"

    def __init__(self, port: Port, hands: Hands, plugins: HostedPlugins, settings: CorrectorSettings) -> None:
        self._port = port
        self._hands = hands
        self._plugins = plugins
        self._declared = settings.data_files

    def matches(self, facts: LogFacts) -> dict[str, str] | None:
        """Return the file by the exception's own ``filename``; one outside of the project is none of ours."""
        path = text_in(facts, "filename") if is_builtin(facts, "FileNotFoundError") else ""
        if not path or not is_inside(self._port.root, os.path.abspath(path)):  # noqa: PTH100  # as the plugin opened it
            return None
        return {"path": os.path.abspath(path), "plugin": text_in(facts, "plugin")}  # noqa: PTH100

    async def fix(self, subject: dict[str, str]) -> str:
        """Have it made, unless it is there by now, and bring the plugin up."""
        path, plugin = subject["path"], subject["plugin"]
        done = f"{path} is there"
        if not await self._port.run_sync(is_readable, path):
            declared = await self._port.run_sync(declaration_of, self._port.root, path, self._declared)
            if declared is None:
                shown = str(inside(self._port.root, path).relative_to(self._port.root.resolve()))
                line = json.dumps({"data_files": {shown: "path/to/a/default"}})[1:-1]
                raise Advise(
                    f"{path} is missing, and nothing is declared to make it of: make it, or declare a default in "
                    f"config.json under plugins.homeostasis.corrector: {line}"
                )
            made = await self._hands.act(MakeDataFile(path=declared))
            done = f"{made.path} was made"
        return done + await self._plugins.see_up(plugin)

    async def check(self, subject: dict[str, str]) -> bool:
        """Whether what was missing is there and can be read, and the plugin that missed it serves."""
        there = await self._port.run_sync(is_mended, self._port.root, subject["path"], self._declared)
        return there and await self._plugins.is_up(subject["plugin"])


class DataFileNotMadeError(AetherraError, OSError):
    """A declared file was not made; the text says why."""

    def __init__(self, path: str, problem: str) -> None:
        Exception.__init__(self, path, problem)
        self.path, self.problem = path, problem

    def __str__(self) -> str:
        return f"{self.path} was not made: {self.problem}"


def without_default(root: Path, declared: dict[str, str]) -> list[str]:
    """Return the declared files that could not be made, as the file to copy is not there."""
    return [path for path, source in declared.items() if source and not (root / source).is_file()]


def declaration_of(root: Path, path: str, declared: dict[str, str]) -> str | None:
    """Return the declared path that is a missing file itself, or a missing folder that the file would be in."""
    real = Path(os.path.realpath(path))
    for each in declared:
        if not is_inside(root, each):
            continue
        place = inside(root, each)
        if place == real or (each.endswith("/") and real.is_relative_to(place) and not place.is_dir()):
            return each
    return None


def is_mended(root: Path, path: str, declared: dict[str, str]) -> bool:
    """Whether a missing file can be read, or the declared folder that was missing for it is there."""
    if is_readable(path):
        return True
    folder = Path(path).parent
    return any(
        each.endswith("/") and is_inside(root, each) and folder.is_dir() and folder.resolve() == inside(root, each)
        for each in declared
    )


def is_readable(path: str) -> bool:
    """Whether a file or a folder is there and can be read."""
    return os.access(path, os.R_OK)


def make(root: Path, path: str, declared: dict[str, str]) -> DataFileMade:
    """Make a declared file of its default, with the folders that it is in, or a declared folder.

    What is there stays as it is. Both ends are inside the project, links followed; the file appears whole.

    Raises:
        DataFileNotMadeError: It is not declared, is there, leads out of the project, or cannot be made.
    """
    if path not in declared:
        raise DataFileNotMadeError(path, "the configuration does not declare it")
    try:
        place = inside(root, path)
        if path.endswith("/"):
            place.mkdir(parents=True, exist_ok=True)
            return DataFileMade(str(place), 0)
        source = inside(root, declared[path])
        content, mode = source.read_bytes(), stat.S_IMODE(source.stat().st_mode)
        place.parent.mkdir(parents=True, exist_ok=True)
        _write_new(inside(root, place), content, mode)
    except (OutsideError, OSError) as exc:
        raise DataFileNotMadeError(path, str(exc)) from exc
    return DataFileMade(str(place), len(content))


def _write_new(place: Path, content: bytes, mode: int) -> None:
    """Write a file that is not there, whole or not at all.

    Raises:
        FileExistsError: It is there.
    """
    handle, beside = tempfile.mkstemp(prefix=f".{place.name}.", dir=place.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            os.fchmod(file.fileno(), mode)
        os.link(beside, place)  # unlike a renaming, it never takes another's place
    finally:
        with suppress(FileNotFoundError):
            Path(beside).unlink()
