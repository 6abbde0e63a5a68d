"""Which files make one item, and what the index knows of the whole: nothing is read, and nothing is run."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import cast

from aetherra.plugins.self_incorporation.code.classifier import FileKind
from aetherra.plugins.self_incorporation.code.facts import Definition
from aetherra.plugins.self_incorporation.code.findings import Finding, Refusal, RiskFactor, joined
from aetherra.plugins.self_incorporation.code.front_door import is_plugin
from aetherra.plugins.self_incorporation.code.modules import Modules, is_source, module_of
from aetherra.plugins.self_incorporation.code.project import is_project
from aetherra.plugins.self_incorporation.code.script import Script
from aetherra.plugins.self_incorporation.gate.item import Item, ItemFile, digest_of
from aetherra.plugins.self_incorporation.index.rows import FileRecord

__all__ = ["assemble", "is_signature", "packages_of", "project_above"]

_INIT = "__init__.py"
_SIGNATURE = "SIGNATURE.json"
_CODE = (FileKind.PLUGIN, FileKind.AGENT, FileKind.UTILITY, FileKind.UNKNOWN)


def assemble(
    root: str,
    records: Iterable[FileRecord],
    *,
    findings: Iterable[Finding] = (),
    refusals: Iterable[Refusal] = (),
    project: FileRecord | None = None,
) -> tuple[Item, ...]:
    """Return the items of a root, by path.

    The topmost folder with an ``__init__.py`` is one item with all that lies below it, whatever that is; every other
    file is one by itself. What was refused belongs to its package, too: `Item.refused`. Signatures (``x.py.sig``,
    ``SIGNATURE.json``) are about items and belong to none.

    Args:
        root: The folder that was scanned.
        records: Of all files of the root that were taken in.
        findings: Of these files.
        refusals: Of the same root.
        project: Of the ``pyproject.toml`` above them, if it is in the index and none of the records.
    """
    kept = [record for record in records if not is_signature(record.path)]
    refused = list(refusals)
    packages = packages_of(chain((record.path for record in kept), (refusal.path for refusal in refused)))
    groups: dict[str, list[FileRecord]] = {}
    for record in kept:
        groups.setdefault(_owner(record.path, packages), []).append(record)
    missing: dict[str, list[str]] = {}
    for refusal in refused:
        missing.setdefault(_owner(refusal.path, packages), []).append(refusal.path)
    found: dict[str, list[Finding]] = {}
    for finding in findings:
        found.setdefault(_owner(finding.path, packages), []).append(finding)
    projects = {
        record.path: record
        for record in (*kept, *([project] if project is not None else ()))
        if is_project(record.path)
    }
    unread = {refusal.path for refusal in refused if is_project(refusal.path)}
    there = projects.keys() | unread
    made: list[Item] = []
    for path in sorted(groups):
        package = path in packages
        above = project_above(path, there) if package or is_source(path) else ""
        assembly = _Assembly(root, path, package, groups[path], projects.get(above))
        made.append(assembly.item(found.get(path, ()), [*missing.get(path, ()), *({above} & unread)]))
    return tuple(made)


def packages_of(paths: Iterable[str]) -> frozenset[str]:
    """Return the topmost folders that are packages, ``.`` for the root itself."""
    folders = {path.rpartition("/")[0] or "." for path in paths if path.rpartition("/")[2] == _INIT}
    if "." in folders:
        return frozenset({"."})
    return frozenset(folder for folder in folders if folders.isdisjoint(_above(folder)))


def project_above(item: str, projects: Collection[str]) -> str:
    """Return the nearest ``pyproject.toml`` that lies above an item, ``""`` if it has one within it, or none.

    That of the root is the root's, and of nothing that lies in it.
    """
    if f"{item}/pyproject.toml" in projects:
        return ""
    return next((place for folder in _above(item) if (place := f"{folder}/pyproject.toml") in projects), "")


def is_signature(path: str) -> bool:
    """Say whether a file is the signature of another, or of the folder it lies in."""
    return path.endswith(".sig") or path.rpartition("/")[2] == _SIGNATURE


def _above(path: str) -> Iterator[str]:
    while path := path.rpartition("/")[0]:
        yield path


def _owner(path: str, packages: frozenset[str]) -> str:
    if not packages:
        return path
    if "." in packages:
        return "."
    return next((folder for folder in _above(path) if folder in packages), path)


class _Assembly:
    """One item while it is put together."""

    def __init__(
        self, root: str, path: str, package: bool, records: Sequence[FileRecord], project: FileRecord | None
    ) -> None:
        self.root, self.path, self.package, self.project = root, path, package, project
        self.records = sorted(records, key=lambda record: record.path)
        self.by_path = {record.path: record for record in self.records}
        self.base = path.rpartition("/")[0] if path != "." else ""
        self.modules = Modules(path, [record.path for record in self.records if is_source(record.path)])

    def item(self, findings: Sequence[Finding], refused: Sequence[str]) -> Item:
        records = self.records
        main = self._main()
        plugin = self._plugin(main)
        said: Mapping[str, object] = {} if plugin is None else plugin.constants
        kind, confidence = self._kind(main, plugin)
        files = tuple(map(_file, records))
        project = None if self.project is None else _file(self.project)
        factors = _joined(records)
        scripts = self._scripts()
        specifiers = {script.requires_python: path for path, script in scripts.items() if script.requires_python}
        requires_python = ",".join(specifiers)
        said_in = {need: path for path, script in reversed(scripts.items()) for need in script.dependencies}
        stem = (self.root if self.path == "." else self.path).rpartition("/")[2]
        version = said.get("version")
        versions = [main.version if main is not None else "", *(script.version for script in scripts.values())]
        return Item(
            root=self.root,
            path=self.path,
            name=_text(said.get("name")) or (stem if self.package else stem.partition(".")[0] or stem),
            kind=kind,
            confidence=confidence,
            files=files,
            digest=digest_of(files if project is None else (*files, project)),
            risk=joined(factors),
            factors=factors,
            capabilities=tuple(sorted({capability for record in records for capability in record.capabilities})),
            threats=tuple(finding for finding in findings if finding.severity == "threat"),
            warnings=sum(finding.severity == "warning" for finding in findings),
            refused=tuple(sorted(refused)),
            version=_text(version) or next(filter(None, versions), ""),
            service=_text(said.get("service")),
            tags=tuple(sorted({tag for record in records for tag in _tags(record).values()})),
            handles=tuple(sorted(set(self._handles()))),
            requires=_texts(said.get("requires")),
            dependencies=tuple(dict.fromkeys(need for script in scripts.values() for need in script.dependencies)),
            requires_python=requires_python,
            said_in=said_in | ({requires_python: ", ".join(specifiers.values())} if specifiers else {}),
            unreadable={path: script.problem for path, script in scripts.items() if script.problem},
            left_open={path: script.left_open for path, script in scripts.items() if script.left_open},
            declared=tuple(sorted({*_texts(said.get("capabilities")), *_texts(said.get("privileges"))})),
            imports=tuple(sorted(set(self._imports()))),
            modules=tuple(sorted(self.modules.names)),
            main="" if main is None else main.path,
            unloadable="" if plugin is None or main is None else self._unloadable(main, plugin),
            project=project,
        )

    def _scripts(self) -> dict[str, Script]:
        """Return what its files say that it needs, by path; of projects, its own alone."""
        own = f"{self.path}/pyproject.toml"
        records = [record for record in self.records if not is_project(record.path) or record.path == own]
        records += [self.project] if self.project is not None else []
        return {record.path: record.script for record in records if record.script is not None}

    def _main(self) -> FileRecord | None:
        if not self.package:
            return self.records[0]
        return self.by_path.get(_INIT if self.path == "." else f"{self.path}/{_INIT}")

    def _kind(self, main: FileRecord | None, plugin: Definition | None) -> tuple[FileKind, float]:
        """Return what the whole is: a package is a plugin or an agent by the file of it that is one for sure."""
        if not self.package:
            return self.records[0].kind, self.records[0].confidence
        if plugin is not None:
            record = next(record for record in self.records if plugin in record.definitions)
            return FileKind.PLUGIN, record.confidence
        agents = [record.confidence for record in self.records if record.kind is FileKind.AGENT]
        if agents:
            return FileKind.AGENT, max(agents)
        if main is None:
            return FileKind.UNKNOWN, 1.0
        return main.kind if main.kind in _CODE else FileKind.UTILITY, main.confidence

    def _plugin(self, main: FileRecord | None) -> Definition | None:
        """Return the class that is the plugin: the main file's, else the first."""
        ordered = self.records if main is None else [main, *self.records]
        for record in ordered:
            for definition in record.definitions:
                if any(map(is_plugin, definition.bases)):
                    return definition
        return None

    def _unloadable(self, main: FileRecord, plugin: Definition) -> str:
        """Return why loading a package would not find its plugin: only what the main file names is looked at."""
        named = {name.rpartition(".")[2] for name in main.imported}
        if plugin in main.definitions or not named.isdisjoint({plugin.name, "*"}):
            return ""
        record = next(record for record in self.records if plugin in record.definitions)
        module = module_of(record.path, self.path if self.path != "." else "")
        return f"{main.path} does not name its plugin: it needs 'from .{module} import {plugin.name}'"

    def _handles(self) -> Iterator[str]:
        for record in self.records:
            for definition in record.definitions:
                for handler in definition.handlers:
                    tag = self._tag(record, handler.message)
                    if tag:
                        yield tag

    def _tag(self, record: FileRecord, message: str) -> str:
        """Return the tag of a message class that a file names, as far as it is defined within the item."""
        for _ in range(8):
            if "." not in message:
                if (tag := _tags(record).get(message)) is not None:
                    return tag
                message = next((name for name in record.imported if name.endswith(f".{message}")), "")
            where, _, name = self.modules.absolute(record.path, message).rpartition(".")
            found = self.by_path.get(self.modules.names.get(where, ""))
            if found is None or not name:
                return ""
            record, message = found, name
        return ""

    def _imports(self) -> Iterator[str]:
        own = {name.partition(".")[0] for name in self.modules.names}
        for record in self.records:
            for name in record.imports:
                if not name.startswith(".") and name.partition(".")[0] not in own:
                    yield name


def _file(record: FileRecord) -> ItemFile:
    return ItemFile(record.path, record.sha256, record.stamp.size)


def _joined(records: Sequence[FileRecord]) -> tuple[RiskFactor, ...]:
    """Return the factors of many files: each counts once, at its heaviest."""
    heaviest: dict[str, RiskFactor] = {}
    for factor in (factor for record in records for factor in record.factors):
        if (known := heaviest.get(factor.code)) is None or known.weight < factor.weight:
            heaviest[factor.code] = factor
    return tuple(sorted(heaviest.values(), key=lambda factor: (-factor.weight, factor.code)))


def _tags(record: FileRecord) -> dict[str, str]:
    """Return the tags of the messages that a file defines, by class."""
    found = {definition.name: definition.keywords.get("tag") for definition in record.definitions}
    return {name: tag for name, tag in found.items() if isinstance(tag, str) and tag}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _texts(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    return tuple(str(each) for each in cast("tuple[object, ...]", value)) if isinstance(value, tuple) else ()
