"""A second look at one item, from its bytes: all its files together, with what they import beside them.

The index tells what each file does by itself. What an import brings in, what lies in a file that is no source, and that
the bytes are still those of the index, only this tells. It reads; it neither runs nor imports anything.
"""

import ast
import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from aetherra.plugins.self_incorporation.code.findings import Capability, Finding, Refusal, RiskFactor, joined
from aetherra.plugins.self_incorporation.code.judge import MAX_LINES, Judgement, judge_together
from aetherra.plugins.self_incorporation.code.modules import Modules, is_source
from aetherra.plugins.self_incorporation.code.names import Names
from aetherra.plugins.self_incorporation.code.pickles import calls_of, is_telling, looks_pickled
from aetherra.plugins.self_incorporation.code.program import Program, Unit
from aetherra.plugins.self_incorporation.code.rules import capability_of
from aetherra.plugins.self_incorporation.code.source import decode, is_python, parse, run_lines
from aetherra.plugins.self_incorporation.code.syntax import Syntax
from aetherra.plugins.self_incorporation.gate.actions import actions_of
from aetherra.plugins.self_incorporation.gate.decision import Ground, Line
from aetherra.plugins.self_incorporation.gate.item import Item
from aetherra.plugins.self_incorporation.gate.network import reached_by
from aetherra.plugins.self_incorporation.index.paths import original, written
from aetherra.plugins.self_incorporation.index.reading import regular_file

__all__ = ["Look", "look", "places_of"]

MOST_FILES: Final = 20_000
MOST_BYTES: Final = 60_000_000
"""Of an item and of the modules beside it together."""
MOST_BESIDE: Final = 200
"""Modules beside an item that are looked at with it."""
_DATA_BYTES: Final = 2_000_000
_OPAQUE_SUFFIXES = (".so", ".pyd", ".dll", ".dylib", ".exe", ".pyc", ".pyo", ".o", ".a", ".whl", ".egg", ".pyz")
_OPAQUE_MAGIC = (b"\x7fELF", b"MZ", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe", b"\xfe\xed\xfa")
_PICKLE_SUFFIXES = (".pkl", ".pickle", ".dill", ".joblib", ".pk", ".p")


class Look(Struct, frozen=True):
    """What was seen.

    Attributes:
        item: The item, with the threats, risk, capabilities and hosts of the whole.
        grounds: What is wrong with it beyond its code: ``changed``, ``refused``, ``beside``, ``opaque``.
        hosts: Network hosts that it names, each with a line.
        unknown: Lines that reach for a host that only running them would tell.
        looked_for: The dotted names that were looked for beside the item, sorted.
        actions: Tags of what it would have done as a workflow, sorted.
        places: The first lines that use each capability, and under ``warnings`` those of the signs that are no threat.
    """

    item: Item
    grounds: tuple[Ground, ...]
    hosts: tuple[tuple[str, Line], ...]
    unknown: tuple[Line, ...]
    looked_for: tuple[str, ...] = ()
    actions: tuple[str, ...] = ()
    places: Mapping[str, tuple[Line, ...]] = {}


def look(item: Item) -> Look:
    """Look at an item as it lies there now.

    Whatever cannot be read, or is not what the item says, is a ground against it: this never raises `OSError`.
    """
    return _Looking(item).done()


class _Looking:
    def __init__(self, item: Item) -> None:
        self.item = item
        self.root = Path(original(item.root))
        self.grounds: list[Ground] = [
            Ground("refused", f"{path!r} belongs to it and could not be read or parsed", (Line(path, 1),))
            for path in item.refused
        ]
        self.units: list[Unit] = []
        self.findings: list[Finding] = []
        self.data: dict[str, bytes] = {}
        self._left = MOST_BYTES
        self._looked_for: set[str] = set()
        self._actions: tuple[str, ...] = ()

    def done(self) -> Look:
        size = sum(file.size for file in self.item.files)
        if len(self.item.files) > MOST_FILES or size > MOST_BYTES:
            said = f"expected at most {MOST_FILES} files of {MOST_BYTES} bytes, got {len(self.item.files)} of {size}"
            self.grounds.append(Ground("refused", f"it is too large to be looked at as a whole: {said}"))
            return Look(self.item, tuple(self.grounds), (), ())
        for file in (*self.item.files, *([self.item.project] if self.item.project is not None else ())):
            self._own(file.path, file.sha256)
        beside = self._beside()
        paths = [path for path in (*(file.path for file in self.item.files), *beside) if is_source(path)]
        modules = Modules(self.item.path, paths)
        Program(self.units, modules)  # links their names, by which it is told what could run data
        self._data_files()
        judged = judge_together(Program([*self.units, *self._in_data()], modules))
        return self._told(judged)

    def _own(self, path: str, sha256: str) -> None:
        data = self._read(path)
        if data is None:
            return
        if hashlib.sha256(data).hexdigest() != sha256:
            text = f"{path!r} is not what was indexed; scan again"
            self.grounds.append(Ground("changed", text, (Line(path, 1),)))
        self._actions = self._actions or actions_of(self.item, path, data)
        name = path.lower()
        if name.endswith(_OPAQUE_SUFFIXES) or data.startswith(_OPAQUE_MAGIC):
            self.grounds.append(Ground("opaque", f"{path!r} is machine or byte code, which nobody can read here"))
        elif is_python(path, data):
            self._unit(path, data)
        else:
            self.data[path] = data[: _DATA_BYTES + 1]

    def _read(self, path: str, *, of_item: bool = True) -> bytes | None:
        place = self.root / original(path)
        try:
            with (
                regular_file(place) as (descriptor, _),
                os.fdopen(descriptor, "rb", closefd=False) as file,
            ):
                data = file.read(self._left + 1)
        except OSError as exc:
            code = "changed" if of_item else "beside"
            self.grounds.append(Ground(code, f"{path!r} cannot be read: {exc.strerror or exc}", (Line(path, 1),)))
            return None
        if len(data) > self._left:
            text = f"with {path!r} there are more than {MOST_BYTES} bytes, of it and of what it imports beside it"
            self.grounds.append(Ground("refused", text, (Line(path, 1),)))
            return None
        self._left -= len(data)
        return data

    def _unit(self, path: str, data: bytes) -> Unit | None:
        text = decode(path, data)
        if isinstance(text, Refusal):
            self._refused(text)
            return None
        text = run_lines(path, text)
        tree = parse(path, text)
        if isinstance(tree, Refusal):
            self._refused(tree)
            return None
        syntax = Syntax(tree)
        unit = Unit(path, text, syntax, Names(syntax))
        self.units.append(unit)
        return unit

    def _refused(self, refusal: Refusal) -> None:
        text = f"{refusal.path!r} cannot be parsed: {refusal.detail}"
        self.grounds.append(Ground("refused", text, (Line(refusal.path, 1),)))

    def _beside(self) -> list[str]:
        """Take in the modules next to the item that it imports, and those that these import; say what is missing."""
        own = {file.path for file in self.item.files}
        modules = Modules(self.item.path, [path for path in own if is_source(path)])
        found: dict[str, None] = {}
        seen = self._looked_for
        waiting = list(self.units)
        while waiting:
            unit = waiting.pop()
            for name, line in _imported(unit):
                absolute = modules.absolute(unit.path, name)
                if absolute not in seen and (modules.file(absolute) is None or name.startswith(".")):
                    seen.add(absolute)
                    self._one_beside(unit, modules, name, line, own, found, waiting)
        return list(found)

    def _one_beside(
        self,
        unit: Unit,
        modules: Modules,
        name: str,
        line: int,
        own: set[str],
        found: dict[str, None],
        waiting: list[Unit],
    ) -> None:
        absolute = modules.absolute(unit.path, name)
        if not absolute and unit.path not in found:
            text = f"imports {name!r}, which leads out of the item"
            self.grounds.append(Ground("beside", text, (Line(unit.path, line),)))
            return
        for path in places_of(self.item, absolute):
            if path in own or path in found:
                continue
            if not os.path.lexists(self.root / original(path)):
                continue
            if len(found) >= MOST_BESIDE:
                self.grounds.append(Ground("beside", f"imports more than {MOST_BESIDE} modules beside it"))
                return
            inside = self.item.path == "." or path.startswith(f"{self.item.path}/")
            if inside and path not in self.item.refused:
                text = f"imports {name!r}, which lies within it and was not indexed: {path!r}"
                self.grounds.append(Ground("beside", text, (Line(unit.path, line),)))
            found[path] = None
            if not path.endswith((".py", ".pyw")):
                self.grounds.append(Ground("opaque", f"imports {path!r}, which nobody can read here"))
                continue
            data = self._read(path, of_item=False)
            if data is not None and (taken := self._unit(path, data)) is not None:
                waiting.append(taken)

    def _data_files(self) -> None:
        """Look for code in what is no source: pickles that call what they should not."""
        for path, data in self.data.items():
            if path.lower().endswith(_PICKLE_SUFFIXES) or looks_pickled(data):
                self.findings.extend(_of_pickle(path, data))

    def _in_data(self) -> Iterator[Unit]:
        """Yield files that are no source and hold code all the same, where something in the item could run it."""
        runs = any(
            resolved is not None and capability_of(resolved.name) == "dynamic_code"
            for unit in self.units
            for scope in unit.syntax.scopes
            for resolved in (unit.names.resolve(call.func) for call in scope.calls)
        )
        if not runs:
            return
        for path, data in self.data.items():
            if len(data) > _DATA_BYTES or ".py" in path.rpartition("/")[2].lower():  # a stub, a template
                continue
            text = decode(path, data)
            tree = None if isinstance(text, Refusal) else parse(path, text)
            if not isinstance(tree, ast.Module) or isinstance(text, Refusal):
                continue
            syntax = Syntax(tree)
            if syntax.imports or any(scope.calls for scope in syntax.scopes):
                yield Unit(path, text, syntax, Names(syntax))

    def _told(self, judged: Mapping[str, Judgement]) -> Look:
        own = {file.path for file in self.item.files}
        findings = [finding for judgement in judged.values() for finding in judgement.findings] + self.findings
        for path in sorted(judged.keys() & self.data.keys()):
            able = judged[path].capabilities
            if able.keys() - {"fs_read"}:
                text = f"holds code that can {', '.join(able)}, under a name that is no source's"
                line = min(lines[0] for lines in able.values())
                self.findings.append(Finding(path, line, "code-in-data", "threat", text))
                findings.append(self.findings[-1])
        factors = _joined([*judged.values()], self.findings)
        doubtful = [finding for finding in findings if finding.severity == "warning" and finding.path in own]
        capabilities, places = _used(judged)
        hosts: dict[str, Line] = {}
        unknown: list[Line] = []
        for unit in self.units:
            reached = reached_by(unit.syntax, unit.names)
            for host, line in reached.hosts.items():
                hosts.setdefault(host, Line(unit.path, line))
            unknown.extend(Line(unit.path, line) for line in reached.unknown)
        item = msgspec.structs.replace(
            self.item,
            risk=joined(factors),
            factors=factors,
            capabilities=tuple(sorted(capabilities)),
            threats=tuple(sorted((each for each in findings if each.severity == "threat"), key=_in_order)),
            warnings=len(doubtful),
            hosts=tuple(sorted(hosts)),
        )
        looked_for = tuple(sorted(self._looked_for))
        named = tuple(sorted(hosts.items()))
        places["warnings"] = tuple(Line(finding.path, finding.line) for finding in sorted(doubtful, key=_in_order))
        places = {code: lines[:MAX_LINES] for code, lines in places.items()}
        return Look(item, tuple(self.grounds), named, tuple(unknown), looked_for, self._actions, places)


def _used(judged: Mapping[str, Judgement]) -> tuple[set[Capability], dict[str, tuple[Line, ...]]]:
    """Return what the whole can do, and the lines of it."""
    places: dict[Capability, tuple[Line, ...]] = {}
    for path in sorted(judged):
        for capability, lines in judged[path].capabilities.items():
            places[capability] = places.get(capability, ()) + tuple(Line(path, line) for line in lines)
    return set(places), {str(capability): lines for capability, lines in places.items()}


def _in_order(finding: Finding) -> tuple[str, int, str]:
    return finding.path, finding.line, finding.code


def _joined(judgements: Sequence[Judgement], more: Sequence[Finding]) -> tuple[RiskFactor, ...]:
    """Return the factors of the whole: each code once, at its heaviest."""
    heaviest: dict[str, RiskFactor] = {}
    found = [factor for judgement in judgements for factor in judgement.factors]
    found += [RiskFactor(finding.code, _WEIGHTS[finding.code], (finding.line,)) for finding in more]
    for factor in found:
        if (known := heaviest.get(factor.code)) is None or known.weight < factor.weight:
            heaviest[factor.code] = factor
    return tuple(sorted(heaviest.values(), key=lambda factor: (-factor.weight, factor.code)))


_WEIGHTS: Mapping[str, float] = {"code-in-data": 0.7, "pickle-that-runs": 0.85, "pickle-unread": 0.2}


def _imported(unit: Unit) -> Iterator[tuple[str, int]]:
    """Yield every module that a file may import, also by a call, with its line."""
    for statement in unit.syntax.imports:
        if isinstance(statement, ast.Import):
            yield from ((alias.name, statement.lineno) for alias in statement.names)
        else:
            module = "." * statement.level + (statement.module or "")
            joint = "" if module.endswith(".") else "."
            yield from ((f"{module}{joint}{alias.name}", statement.lineno) for alias in statement.names)
    for scope in unit.syntax.scopes:
        for call in scope.calls:
            resolved = unit.names.resolve(call.func) if call.args else None
            if resolved is not None and resolved.name in ("__import__", "importlib.import_module", "runpy.run_module"):
                folded = unit.names.folded(call.args[0])
                if folded is not None:
                    yield folded[0], call.lineno


def places_of(item: Item, name: str) -> Iterator[str]:
    """Yield the paths at which a dotted name, and every package above it, may lie beside an item."""
    base = "" if item.path == "." else item.path.rpartition("/")[0]
    parts = [written(part) for part in name.split(".") if part]
    for length in range(1, len(parts) + 1):
        path = "/".join([*([base] if base else []), *parts[:length]])
        yield f"{path}/__init__.py"
        yield from (f"{path}{suffix}" for suffix in (".py", ".pyw", ".pyc", ".so", ".pyd"))


def _of_pickle(path: str, data: bytes) -> Iterator[Finding]:
    try:
        for called in calls_of(data):
            if is_telling(called):
                text = f"reaches for {called.module}.{called.name} when it is loaded"
                yield Finding(path, 1, "pickle-that-runs", "threat", text)
            elif not called.module:
                yield Finding(
                    path, 1, "pickle-unread", "warning", "reaches for something that only loading it would tell"
                )
    except Exception as exc:  # noqa: BLE001 - it is somebody's bytes, and whatever they do to the reader is told
        yield Finding(path, 1, "pickle-unread", "warning", f"looks like a pickle and cannot be read as one: {exc}")
