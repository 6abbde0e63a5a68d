"""Items on disk, decisions about them, and hands that do what they are told and remember it."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from aetherra.plugins.self_incorporation.code.classifier import FileKind
from aetherra.plugins.self_incorporation.gate.decision import Decision, Mode
from aetherra.plugins.self_incorporation.gate.item import Item, ItemFile, digest_of
from aetherra.plugins.self_incorporation.gate.tiers import Tier
from aetherra.plugins.self_incorporation.index.paths import written
from aetherra.plugins.self_incorporation.integration.errors import IntegrationError
from aetherra.plugins.self_incorporation.integration.plan import Plan
from aetherra.plugins.self_incorporation.integration.planner import IntegrationPlanner, Judged
from aetherra.plugins.self_incorporation.integration.world import Present, World


def file_of(root: Path, path: str) -> ItemFile:
    data = (root / path).read_bytes()
    return ItemFile(written(path), hashlib.sha256(data).hexdigest(), len(data))


def item_at(root: Path, path: str, kind: FileKind = FileKind.PLUGIN, **fields: Any) -> Item:
    """Return the item that a file or package on disk is."""
    place = root / path
    inside = sorted(str(file.relative_to(root)) for file in place.rglob("*") if file.is_file())
    files = tuple(file_of(root, one) for one in (inside if place.is_dir() else [path]))
    given: dict[str, Any] = {
        "name": place.name.removesuffix(".py"),
        "confidence": 0.9,
        "risk": 0.1,
        "factors": (),
        "capabilities": (),
        "threats": (),
        "warnings": 0,
        "main": written(f"{path}/__init__.py" if place.is_dir() else path),
    }
    return Item(
        root=str(root), path=written(path), kind=kind, files=files, digest=digest_of(files), **{**given, **fields}
    )


def judged(item: Item, verdict: str = "approved", **fields: Any) -> Judged:
    given: dict[str, Any] = {
        "tier": Tier.STANDARD,
        "mode": Mode.STANDARD,
        "rationale": (),
        "missing_grants": (),
        "policy": "p",
        "rules": 1,
        "decided_at": 0.0,
        "digest": item.digest,
    }
    return Judged(
        item,
        Decision(
            item=item.name,
            root=item.root,
            path=item.path,
            verdict=verdict,  # type: ignore[arg-type]
            risk=item.risk,
            capabilities=item.capabilities,
            **{**given, **fields},
        ),
    )


def empty_world(**fields: Any) -> World:
    given: dict[str, Any] = {"plugins": {}, "registered": {}, "distributions": {}, "modules": {}}
    return World(**{**given, **fields})


def plan_of(*items: Item, world: World | None = None, **options: Any) -> Plan:
    return IntegrationPlanner().plan([judged(item) for item in items], world or empty_world(), at=1.0, **options)


def snapshot(*folders: Path) -> dict[str, tuple[str, int, bytes]]:
    """Return all that is below some folders, byte for byte: kind, permissions, content."""
    found: dict[str, tuple[str, int, bytes]] = {}
    for folder in folders:
        for base, names, files in os.walk(folder):
            for name in (*names, *files):
                path = Path(base, name)
                told = path.lstat()
                kind = "folder" if stat.S_ISDIR(told.st_mode) else "file"
                found[str(path)] = (kind, stat.S_IMODE(told.st_mode), b"" if kind == "folder" else path.read_bytes())
    return found


class Leave:
    """Leave that is taken away after some questions."""

    def __init__(self, after: int | None = None, error: Exception | None = None) -> None:
        self.asked = 0
        self._after = after
        self._error = error

    async def check(self) -> None:
        self.asked += 1
        if self._after is not None and self.asked > self._after:
            raise self._error or IntegrationError("leave", "stopped")


class FakeHands:
    """A host of plugins that only remembers what bytes serve under which name, and fails where it is told to."""

    def __init__(self) -> None:
        self.serving: dict[str, tuple[bytes, dict[str, Any]]] = {}
        self.done: list[tuple[str, dict[str, Any], str]] = []
        self.fails: dict[str, Exception] = {}
        self.requires: dict[str, tuple[str, ...]] = {}
        self.tags: dict[str, tuple[str, ...]] = {}
        self.said: list[str] = []
        self._paths: dict[str, Path] = {}

    def _may(self, what: str) -> None:
        self.said.append(what)
        if what in self.fails:
            raise self.fails[what]

    def _read(self, path: Path) -> bytes:
        return (path / "__init__.py" if path.is_dir() else path).read_bytes()

    async def plugins(self) -> Mapping[str, Present]:
        return {
            name: Present(name, "", name, self.tags.get(name, ()), str(self._paths[name]), self.requires.get(name, ()))
            for name in self.serving
        }

    async def load(self, name: str, path: Path, settings: Mapping[str, Any]) -> None:
        self._may(f"load {name}")
        if name in self.serving:
            raise IntegrationError(name, "is there already")
        self.serving[name] = (self._read(path), dict(settings))
        self._paths[name] = path

    async def prove(self, name: str, check: Callable[[], Awaitable[None]]) -> None:
        await check()
        self._may(f"prove {name}")

    async def replace(
        self, name: str, write: Callable[[], Awaitable[None]], check: Callable[[], Awaitable[None]]
    ) -> str:
        await write()
        self._may(f"replace {name}")
        await check()
        self.serving[name] = (self._read(self._paths[name]), self.serving[name][1])
        return "was swapped"

    async def put_back(
        self, name: str, path: Path, write: Callable[[], Awaitable[None]], settings: Mapping[str, Any]
    ) -> None:
        await write()
        self._may(f"put_back {name}")
        self.serving[name] = (self._read(path), dict(settings))
        self._paths[name] = path

    async def unload(self, name: str) -> None:
        self._may(f"unload {name}")
        self.serving.pop(name, None)

    def strayed(self, name: str, files: Mapping[Path, str]) -> bool:
        return hashlib.sha256(self.serving[name][0]).hexdigest() not in files.values()

    async def perform(self, tag: str, body: dict[str, Any], key: str) -> Any:
        self._may(f"perform {tag}")
        self.done.append((tag, body, key))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The tree that items are found in."""
    folder = tmp_path / "project"
    folder.mkdir()
    return folder
