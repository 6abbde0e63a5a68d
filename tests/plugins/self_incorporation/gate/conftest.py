"""Items out of files that a test writes, and a gate over them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from aetherra.plugins.self_incorporation.gate.decision import Decision
from aetherra.plugins.self_incorporation.gate.item import Item
from aetherra.plugins.self_incorporation.gate.items import assemble
from aetherra.plugins.self_incorporation.gate.policy import PolicySettings
from aetherra.plugins.self_incorporation.gate.safety_index import SafetyIndex
from aetherra.plugins.self_incorporation.gate.security_gate import SecurityGate
from aetherra.plugins.self_incorporation.index.code_index import CodeIndex
from aetherra.plugins.self_incorporation.index.scanner import Scanner, name_of_root

NOW = 1_800_000_000.0


class Tree:
    """A folder with files, and a gate that judges what is in it; nothing of it is ever run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.safety = SafetyIndex(":memory:")
        self.now = NOW

    def write(self, files: dict[str, str | bytes]) -> Tree:
        for name, content in files.items():
            place = self.folder / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content if isinstance(content, bytes) else content.encode())
        return self

    def items(self) -> dict[str, Item]:
        with CodeIndex(":memory:") as index:
            Scanner(index, clock=time.perf_counter).scan(self.folder, now=time.time())
            root = name_of_root(self.folder)
            found = assemble(root, index.files(root), findings=index.findings(root), refusals=index.refusals(root))
        return {item.path: item for item in found}

    def gate(self, policy: PolicySettings | None = None, **named: Any) -> SecurityGate:
        return SecurityGate(policy or PolicySettings(), self.safety, **named)

    def decided(self, path: str, policy: PolicySettings | None = None, **named: Any) -> Decision:
        self.now += 1
        return self.gate(policy, **named).evaluate(self.items()[path], now=self.now)


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    folder = tmp_path / "project"
    folder.mkdir()
    made = Tree(folder)
    yield made
    made.safety.close()


@pytest.fixture
def threats(tree: Tree) -> Callable[..., set[str]]:
    """Return the codes of what blocks an item that is made of some files."""

    def found(path: str, files: dict[str, str | bytes]) -> set[str]:
        decision = tree.write(files).decided(
            path, grants=lambda _: ("fs:*", "code:*", "network:*", "process:*", "env:*")
        )
        grounds = [ground for ground in decision.rationale if ground.against and ground.code != "ethics"]
        return {ground.text.partition(":")[0] if ground.code == "threat" else ground.code for ground in grounds}

    return found
