"""The stock: all items of the roots, put together one at a time from the index."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain

from aetherra.plugins.self_incorporation.code.findings import Refusal
from aetherra.plugins.self_incorporation.code.modules import is_source
from aetherra.plugins.self_incorporation.code.project import is_project
from aetherra.plugins.self_incorporation.gate.item import Item
from aetherra.plugins.self_incorporation.gate.items import assemble, is_signature, packages_of, project_above
from aetherra.plugins.self_incorporation.index.code_index import CodeIndex
from aetherra.plugins.self_incorporation.index.rows import FileRecord

__all__ = ["Stock"]

ALL = 2**31
"""Findings of one item that count: all of them."""


class Stock:
    """Reads the index, in whichever thread; a scan that goes on meanwhile may have put more into it or not yet."""

    def __init__(self, index: CodeIndex) -> None:
        self._index = index

    def items(self, root: str) -> Iterator[Item]:
        """Yield all items of a root: packages first, then the files that belong to none, each by path."""
        packages, projects, shut = self._layout(root)
        for package in sorted(packages):
            yield from self._package(root, package, projects, shut)
        if "." in packages:
            return
        for record in self._index.records(root):
            if not is_signature(record.path) and _package_of(record.path, packages) is None:
                yield from self._single(root, record, projects)

    def touched(self, root: str, changed: Iterable[str]) -> Iterator[Item]:
        """Yield the items that files or folders of a root belong to, with all that lie below these folders.

        Where a package comes or goes, a ``pyproject.toml`` changes, or nobody knows what has changed (``""``), that is
        all of them: their files belong to others now.
        """
        paths = {_signed(path) for path in changed}
        if any(not path or path.rpartition("/")[2] == "__init__.py" or is_project(path) for path in paths):
            yield from self.items(root)
            return
        packages, projects, shut = self._layout(root)
        above = {path: package for path in paths if (package := _package_of(f"{path}/", packages)) is not None}
        below = {package for package in packages if _is_below(package, paths)}
        for package in sorted({*above.values(), *below}):
            yield from self._package(root, package, projects, shut)
        for path in sorted(paths - above.keys()):
            record = self._index.file(root, path)
            found = iter([record]) if record is not None else self._index.records(root, below=path)
            for one in found:
                if not is_signature(one.path) and _package_of(one.path, packages) is None:
                    yield from self._single(root, one, projects)

    def holds(self, root: str, path: str) -> bool:
        """Say whether there is still anything of an item."""
        if path == ".":
            return next(self._index.paths(root), None) is not None
        return self._index.file(root, path) is not None or next(self._index.paths(root, below=path), None) is not None

    def refusals(self, root: str, below: str) -> list[Refusal]:
        """Return why nobody knows files, or what folders hold, in a folder of a root; ``""`` for all of it."""
        return [*self._index.refusals(root, below=below), *_below(self._shut(root), below)]

    def _shut(self, root: str) -> list[Refusal]:
        """Return the folders that could not be listed, but for the root itself."""
        return [refusal for refusal in self._index.left_out(root).refused if refusal.path != "."]

    def refused(self, root: str, path: str) -> Refusal | None:
        """Return why a file of a root is in no item, or a folder is none; ``None`` if that is not known."""
        refusals = self.refusals(root, path.rpartition("/")[0])
        return next((refusal for refusal in refusals if refusal.path == path), None)

    def item(self, root: str, path: str) -> Item | None:
        """Return the item that a file or folder of a root belongs to, ``None`` if there is none."""
        packages, projects, shut = self._layout(root)
        package = path if path in packages else _package_of(path, packages)
        if package is not None:
            return next(self._package(root, package, projects, shut), None)
        record = self._index.file(root, path)
        if record is None or is_signature(path):
            return None
        return next(self._single(root, record, projects), None)

    def _layout(self, root: str) -> tuple[frozenset[str], frozenset[str], list[Refusal]]:
        """Return the folders that are packages, the files that tell of projects, and the folders that are shut."""
        projects: set[str] = set()

        def seen() -> Iterator[str]:
            refused = (refusal.path for refusal in self._index.refusals(root))
            for path in chain(self._index.paths(root), refused):
                if is_project(path):
                    projects.add(path)
                yield path

        return packages_of(seen()), frozenset(projects), self._shut(root)

    def _package(self, root: str, package: str, projects: frozenset[str], shut: Iterable[Refusal]) -> Iterator[Item]:
        below = "" if package == "." else package
        project, refused = self._project(root, project_above(package, projects))
        yield from assemble(
            root,
            self._index.records(root, below=below),
            findings=self._index.findings(root, below=below, limit=ALL),
            refusals=[*self._index.refusals(root, below=below), *_below(shut, below), *refused],
            project=project,
        )

    def _single(self, root: str, record: FileRecord, projects: frozenset[str]) -> Iterator[Item]:
        above = project_above(record.path, projects) if is_source(record.path) else ""
        project, refused = self._project(root, above)
        findings = self._index.findings_of(root, record.path)
        yield from assemble(root, [record], findings=findings, refusals=refused, project=project)

    def _project(self, root: str, path: str) -> tuple[FileRecord | None, list[Refusal]]:
        """Return what is known of the ``pyproject.toml`` of an item, or why that is not in the index."""
        record = self._index.file(root, path) if path else None
        refusal = self.refused(root, path) if path and record is None else None
        return record, [refusal] if refusal is not None else []


def _below(refusals: Iterable[Refusal], folder: str) -> list[Refusal]:
    return [refusal for refusal in refusals if not folder or f"{refusal.path}/".startswith(f"{folder}/")]


def _signed(path: str) -> str:
    """Return what a path is a signature of, or the path itself: a signature tells of its item."""
    return path.removesuffix(".sig")


def _is_below(path: str, folders: set[str]) -> bool:
    while path:
        if path in folders:
            return True
        path = path.rpartition("/")[0]
    return False


def _package_of(path: str, packages: frozenset[str]) -> str | None:
    if "." in packages:
        return "."
    folder = path.rpartition("/")[0]
    while folder:
        if folder in packages:
            return folder
        folder = folder.rpartition("/")[0]
    return None
