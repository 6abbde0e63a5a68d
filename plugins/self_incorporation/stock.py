"""The stock: all items of the roots, put together one at a time from the index."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from aetherra.plugins.self_incorporation.gate.item import Item
from aetherra.plugins.self_incorporation.gate.items import assemble, is_signature, packages_of
from aetherra.plugins.self_incorporation.index.code_index import CodeIndex

__all__ = ["Stock"]

ALL = 2**31
"""Findings of one item that count: all of them."""


class Stock:
    """Reads the index, so its caller must have its turn there."""

    def __init__(self, index: CodeIndex) -> None:
        self._index = index

    def items(self, root: str) -> Iterator[Item]:
        """Yield all items of a root: packages first, then the files that belong to none, each by path."""
        packages = self._packages(root)
        for package in sorted(packages):
            yield from self._package(root, package)
        if "." in packages:
            return
        for record in self._index.records(root):
            if not is_signature(record.path) and _package_of(record.path, packages) is None:
                yield from assemble(root, [record], findings=self._index.findings_of(root, record.path))

    def item(self, root: str, path: str) -> Item | None:
        """Return the item that a file or folder of a root belongs to, ``None`` if there is none."""
        packages = self._packages(root)
        package = path if path in packages else _package_of(path, packages)
        if package is not None:
            return next(self._package(root, package), None)
        record = self._index.file(root, path)
        if record is None or is_signature(path):
            return None
        return next(iter(assemble(root, [record], findings=self._index.findings_of(root, path))), None)

    def _packages(self, root: str) -> frozenset[str]:
        refused = (refusal.path for refusal in self._index.refusals(root))
        return packages_of(chain(self._index.paths(root), refused))

    def _package(self, root: str, package: str) -> Iterator[Item]:
        below = "" if package == "." else package
        yield from assemble(
            root,
            self._index.records(root, below=below),
            findings=self._index.findings(root, below=below, limit=ALL),
            refusals=self._index.refusals(root, below=below),
        )


def _package_of(path: str, packages: frozenset[str]) -> str | None:
    if "." in packages:
        return "."
    folder = path.rpartition("/")[0]
    while folder:
        if folder in packages:
            return folder
        folder = folder.rpartition("/")[0]
    return None
