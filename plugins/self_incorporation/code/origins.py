"""Where the value of an expression may come from: decoded, downloaded, a telling path, the environment.

Values are followed through assignments within a function, out of its enclosing scopes, through attributes, through what
a function of the file returns and into what it is called with, and from file to file of a program. Following is bounded
(`_PASSES`), and forgets conditions: it says *may*.
"""

import ast
import re
from collections.abc import Iterable
from typing import Any

from aetherra.plugins.self_incorporation.code.origin import MADE, Origin, of_constant, of_variable
from aetherra.plugins.self_incorporation.code.program import Program, Unit
from aetherra.plugins.self_incorporation.code.rules import (
    CALLED_BACK,
    COPIERS,
    CREDENTIAL_URL,
    DOWNLOADERS,
    HANDLERS,
    PERSONS_FILES,
    RECEIVERS,
    REQUESTS,
    SANITIZERS,
    capability_of,
)
from aetherra.plugins.self_incorporation.code.sketches import Sketches
from aetherra.plugins.self_incorporation.code.syntax import Scope, dotted_text, targets_of

__all__ = ["Origins", "opened_for_writing"]

_PASSES = 4
# How often a value may be passed on from function to function: beyond, everything may come from everywhere.
_CALLS = 2
_BITS = 14
_FEWEST_CALLS = (1 << _CALLS * _BITS) - 1
_MOST_WRITTEN = 100
_JOINING = frozenset(["join", "joinpath", "glob", "rglob", "with_name", "format"])
_JOINERS = frozenset(["os.path.join", "pathlib.Path"])
_PASSED_ON = frozenset(["marshal.loads", "marshal.load"])
_OPENERS = frozenset(
    [
        "open",
        "io.open",
        "codecs.open",
        "importlib.resources.read_text",
        "importlib.resources.read_binary",
        "pkgutil.get_data",
        *("PIL.Image.open", "wave.open", "gzip.open", "bz2.open", "lzma.open"),
    ]
)
# A file of such a name is no source, so whoever runs what it holds keeps code where nobody looks for it.
_NO_SOURCE = re.compile(
    r"\.(?:txt|dat|data|bin|json|csv|tsv|xml|ya?ml|toml|ini|cfg|conf|log|db|md|rst|html?|css|js|png|jpe?g|gif|bmp|ico|svg"
    r"|ttf|woff2?|mp3|wav|pdf|gz|bz2|xz|zip|enc|tmp|cache|so|dll)$",
    re.IGNORECASE,
)


_KEPT = Origin.DECODED | Origin.DOWNLOADED | Origin.ENVIRONMENT | Origin.CREDENTIAL | Origin.SECRET | Origin.MEMORY
# Methods that put what they are given into what they are of.
_PUT = frozenset(
    (
        *("write", "writelines", "writestr", "add", "append", "appendleft", "extend", "insert", "update", "put"),
        *("put_nowait", "attach", "add_attachment", "set_content", "set_payload", "setdefault", "addfile"),
    )
)
# What holds what the network brought, in frameworks that call back.
_RECEIVED = frozenset(["rfile", "payload"])
_SECRETIVE_METHODS = frozenset(["get_credentials", "get_frozen_credentials"])
_COMMANDS_OF_ENVIRONMENT = frozenset(["env", "printenv", "set", "export", "export -p"])
_FETCHED = Origin.DECODED | Origin.DOWNLOADED


class Origins:
    """The origins of all names of a program.

    Attributes:
        written: Constant paths of files that something decoded or downloaded is written to.
    """

    def __init__(self, program: Program) -> None:
        self._program = program
        self._unit = program.units[0]
        self._networked = any(
            capability_of(module) == "network" for unit in program.units for module in unit.names.modules
        )
        scopes = [(unit, scope) for unit in program.units for scope in unit.syntax.scopes]
        self._unit_of = {scope: unit for unit, scope in scopes}
        self._local: dict[Scope, dict[str, int]] = {scope: {} for _, scope in scopes}
        self._shared: dict[tuple[str, str], int] = {}
        self._opened = {scope: _opened_by_name(scope) for _, scope in scopes}
        self._named: dict[ast.expr, str] = {}
        self._sketches = {unit.path: Sketches(unit.syntax.scopes, self._name) for unit in program.units}
        self._found: dict[tuple[str, str], tuple[Unit, str] | None] = {}
        self._followed: set[tuple[Scope, str, int]] = set()
        self._passed_in: set[tuple[int, tuple[int, ...], tuple[tuple[str, int], ...]]] = set()
        self.written: set[str] = set()
        self._disk: dict[str, int] = {}
        self._receivers()
        self._siblings = {scope: _made_together(scope) for _, scope in scopes}
        self._binders = {scope: {name for names, _ in scope.bindings for name in names} for _, scope in scopes}
        for _ in range(_PASSES):
            before = self._size()
            for unit, scope in scopes:
                self._unit = unit
                self._pass(scope)
            if self._size() == before:
                break

    def _receivers(self) -> None:
        """Give their parameters to functions that are called with what somebody sends."""
        for unit in self._program.units:
            for scope in unit.syntax.scopes:
                reached = (unit.names.resolve(decorator) for decorator in scope.decorators)
                origin = Origin.DOWNLOADED if scope.name in CALLED_BACK else Origin.NOWHERE
                if any(each is not None and each.name in HANDLERS for each in reached):
                    origin = Origin.MESSAGE
                for parameter in scope.parameters[1:]:
                    self._add(scope, parameter, origin)

    def of(self, expression: ast.expr, scope: Scope) -> int:
        """Return every origin that any part of an expression may have."""
        found = self._all_of(expression, scope)
        return (found | found >> _BITS | found >> 2 * _BITS) & Origin.ALL

    def sketch(self, expression: ast.expr, scope: Scope) -> str:
        """Return what a path or an address looks like: `Sketches`."""
        self._unit = self._unit_of[scope]
        return self._sketches[self._unit.path].of(expression)

    def _all_of(self, expression: ast.expr, scope: Scope) -> int:
        """Likewise, apart by how many calls it was passed through."""
        self._unit = self._unit_of[scope]
        found = Origin.NOWHERE
        stack: list[Any] = [expression]
        while stack:
            node = stack.pop()
            if isinstance(node, ast.Name):
                found |= self._looked_up(node.id, scope)
            elif isinstance(node, ast.Constant):
                found |= of_constant(node.value)
            elif isinstance(node, ast.Attribute):
                found |= self._of_attribute(node)
                stack.append(node.value)
            elif isinstance(node, ast.Subscript):
                if self._is_environment(node.value):
                    found |= of_variable(node.slice)
                else:
                    stack.append(node.value)
                if isinstance(node.value, ast.Constant) and isinstance(node.slice, ast.Slice) and node.slice.step:
                    found |= Origin.DECODED  # a constant read backwards
            elif isinstance(node, ast.Call):
                found |= self._of_call(node, stack)
            elif isinstance(node, ast.Lambda | ast.Compare):
                continue
            elif isinstance(node, ast.GeneratorExp | ast.ListComp) and self._is_chr(node.elt):
                found |= Origin.DECODED
            else:
                found |= self._of_sketch(node) if isinstance(node, ast.BinOp | ast.JoinedStr) else Origin.NOWHERE
                stack.extend(ast.iter_child_nodes(node))
        return found

    def _of_sketch(self, node: ast.expr) -> int:
        """Return what a place speaks of that is put together from parts, none of which need speak of it."""
        return of_constant(self._sketches[self._unit.path].of(node))

    def _size(self) -> int:
        known = [origin for local in self._local.values() for origin in local.values()]
        return sum((*known, *self._shared.values(), *self._disk.values())) + len(self.written)

    def _pass(self, scope: Scope) -> None:
        for targets, value in scope.bindings:
            if isinstance(value, ast.Lambda):
                origin = self._all_of(value.body, scope)
                for target in targets:
                    self._add(scope, f"{target}()", origin)
            else:
                origin = self._all_of(value, scope)
                for target in targets:
                    self._add(scope, target, origin)
        if scope.name:
            for value in scope.returns:
                self._add(scope, f"{scope.name}()", self._all_of(value, scope))
        for call in scope.calls:
            self._follow_to_disk(call, scope)
            self._follow_into(call, scope)

    def _add(self, scope: Scope, name: str, origin: int) -> None:
        if not origin:
            return
        if "." in name or name.endswith("()"):
            # Who calls it with what cannot be told apart here: what was passed in stays with the function.
            origin &= Origin.ALL
            key = (self._unit_of[scope].path, name)
            self._shared[key] = self._shared.get(key, Origin.NOWHERE) | origin
        else:
            local = self._local[scope]
            local[name] = local.get(name, Origin.NOWHERE) | origin

    def _follow_into(self, call: ast.Call, scope: Scope) -> None:
        """Give the parameters of a function of the program the origins of what it is called with."""
        functions = self._functions(call.func) if call.args or call.keywords else []
        if not functions:
            return
        placed = [
            Origin.NOWHERE if isinstance(argument, ast.Starred) else self._deeper(self._all_of(argument, scope))
            for argument in call.args
        ]
        named = [
            (each.arg, self._deeper(self._all_of(each.value, scope))) for each in call.keywords if each.arg is not None
        ]
        given = (id(functions), tuple(placed), tuple(named))
        if given in self._passed_in:  # there may be many functions of one name, and many calls of it
            return
        self._passed_in.add(given)
        for function in functions:
            parameters = function.parameters
            if parameters[:1] in (["self"], ["cls"]):
                parameters = parameters[1:]
            for parameter, origin in zip(parameters, placed, strict=False):
                self._add(function, parameter, origin)
            for name, origin in named:
                if name in parameters:
                    self._add(function, name, origin)

    def _deeper(self, origin: int) -> int:
        """Return what a value is to the function that it is passed to; nothing, once it was passed on too often."""
        return (origin & _FEWEST_CALLS) << _BITS

    def _functions(self, node: ast.expr) -> list[Scope]:
        """Return the functions of the program that an expression may call."""
        unit = self._unit
        text = dotted_text(node)
        if text is None:
            resolved = None if unit.names.link is None else unit.names.resolve(node)
            there = None if resolved is None else self._program.find(unit, resolved.name)
            return [] if there is None else self._program.functions[there[0].path].get(there[1], [])
        own = text.removeprefix("self.").removeprefix("cls.")
        if "." not in own and (found := self._program.functions[unit.path].get(own)) is not None:
            return found
        reached = self._reached(text)
        if reached is None:
            return []
        return self._program.functions[reached[0].path].get(reached[1].rpartition(".")[2], [])

    def _reached(self, text: str) -> tuple[Unit, str] | None:
        """Return the other file that a dotted name reaches into, and the name there."""
        root, _, rest = text.partition(".")
        names = self._unit.names
        alias = names.aliases.get(root)
        if alias is None or names.link is None:
            return None
        key = (self._unit.path, text)
        if key not in self._found:
            found = self._program.find(self._unit, names.link(f"{alias}.{rest}" if rest else alias))
            self._found[key] = None if found is None or found[0] is self._unit or not found[1] else found
        return self._found[key]

    def _looked_up(self, name: str, scope: Scope) -> int:
        found = Origin.NOWHERE
        level: Scope | None = scope
        while level is not None:
            found |= self._local[level].get(name, Origin.NOWHERE)
            level = level.parent
        names = self._unit.names
        alias = names.aliases.get(name)
        if alias == "os.environ":
            found |= Origin.ENVIRONMENT
        elif alias in REQUESTS:
            found |= Origin.DOWNLOADED
        if name == "__doc__":
            found |= Origin.DATA
        if names.link is not None and name in names.aliases:
            found |= self._elsewhere(name)
        return found

    def _elsewhere(self, text: str) -> int:
        """Return the origin of what a name of another file of the program holds."""
        reached = self._reached(text)
        if reached is None:
            return Origin.NOWHERE
        unit, name = reached
        there = self._local[unit.syntax.scopes[0]].get(name, Origin.NOWHERE)
        return there | self._shared.get((unit.path, name), Origin.NOWHERE)

    def _of_attribute(self, node: ast.Attribute) -> int:
        if self._is_environment(node):
            return Origin.ENVIRONMENT
        found = Origin.NOWHERE
        if node.attr == "__doc__":
            found = Origin.DATA
        elif self._networked and node.attr in _RECEIVED:
            found = Origin.DOWNLOADED
        text = dotted_text(node)
        if text is None:
            return found
        found |= self._shared.get((self._unit.path, text), Origin.NOWHERE)
        return found if self._unit.names.link is None else found | self._elsewhere(text)

    def _of_call(self, node: ast.Call, stack: list[Any]) -> int:
        name = self._name(node.func)
        if name in SANITIZERS:
            return Origin.NOWHERE
        method = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        if self._is_environment(node):
            return Origin.ENVIRONMENT
        if method in ("get", "pop") and isinstance(node.func, ast.Attribute) and self._is_environment(node.func.value):
            return of_variable(node.args[0]) if node.args else Origin.NOWHERE  # one of them is not the environment
        if name == "os.getenv" and node.args:
            return of_variable(node.args[0])
        stack.extend(node.args)
        stack.extend(keyword.value for keyword in node.keywords)
        if made := MADE.get(name) or self._made(node, name, method):
            return made
        stack.append(node.func)
        found = self._of_file(node, name) | (Origin.ENCODED if method == "hex" else Origin.NOWHERE)
        if method in _JOINING or name in _JOINERS:
            found |= self._of_sketch(node)
        text = dotted_text(node.func)
        if text is None:
            return found
        own = text.removeprefix("self.").removeprefix("cls.")
        found |= self._shared.get((self._unit.path, f"{own}()"), Origin.NOWHERE)
        if self._unit.names.link is not None and (reached := self._reached(text)) is not None:
            found |= self._shared.get((reached[0].path, f"{reached[1].rpartition('.')[2]}()"), Origin.NOWHERE)
        return found

    def _made(self, node: ast.Call, name: str, method: str) -> int:
        """Return what a call makes of its arguments, whatever these are."""
        first = node.args[0] if node.args else None
        if name in DOWNLOADERS or (self._networked and method in RECEIVERS):
            place = "" if first is None else self._sketches[self._unit.path].of(first)
            return Origin.DOWNLOADED | (Origin.CREDENTIAL if CREDENTIAL_URL.search(place) else Origin.NOWHERE)
        if method == "decrypt":
            return Origin.DECODED
        if method in _SECRETIVE_METHODS:
            return Origin.SECRET
        if capability_of(name) == "process" and first is not None:
            command = first.elts[0] if isinstance(first, ast.List | ast.Tuple) and len(first.elts) == 1 else first
            if isinstance(command, ast.Constant) and command.value in _COMMANDS_OF_ENVIRONMENT:
                return Origin.ENVIRONMENT
        decodes = first is not None and (
            (name == "map" and self._is_chr(first))
            or (name in ("bytes", "bytearray") and _is_mixed(first))
            or (name in _PASSED_ON and isinstance(first, ast.Constant))
        )
        return Origin.DECODED if decodes else Origin.NOWHERE

    def _of_file(self, node: ast.Call, name: str) -> int:
        """Say whether a call opens or reads a file that is no source, or the source it stands in."""
        if name in _OPENERS and node.args:
            path = node.args[0 if name.endswith("open") else -1]
        elif isinstance(node.func, ast.Attribute) and node.func.attr in ("read_text", "read_bytes"):
            path = node.func.value
        else:
            return Origin.NOWHERE
        if isinstance(path, ast.Name) and path.id == "__file__":
            return Origin.DATA
        sketch = self._sketches[self._unit.path].of(path)
        kept = self._disk.get(sketch, Origin.NOWHERE)
        if sketch.endswith("*") and sketch != "/*" and PERSONS_FILES.fullmatch(sketch):
            kept |= Origin.PERSONAL
        parts = [
            part.value for part in ast.walk(path) if isinstance(part, ast.Constant) and isinstance(part.value, str)
        ]
        named = any(_NO_SOURCE.search(part) for part in parts) and not any(part.endswith(".py") for part in parts)
        return kept | Origin.DATA if named else kept

    def _name(self, node: ast.expr) -> str:
        """Return what an expression reaches, or nothing; it is asked once a pass, and always the same."""
        if (known := self._named.get(node)) is None:
            resolved = self._unit.names.resolve(node)
            known = self._named[node] = "" if resolved is None else resolved.name
        return known

    def _is_environment(self, node: ast.expr) -> bool:
        told = isinstance(node, ast.Name | ast.Attribute | ast.Call | ast.Subscript)
        return told and self._name(node) in ("os.environ", "os.environb")

    def _is_chr(self, node: ast.expr) -> bool:
        """Say whether characters are made of numbers here."""
        return self._name(node.func if isinstance(node, ast.Call) else node) == "chr"

    def _follow_to_disk(self, call: ast.Call, scope: Scope) -> None:
        """Give the path of a file the origin of what is written to it, and a thing that of what is put into it."""
        name, arguments = self._name(call.func), call.args
        if name.endswith(".urlretrieve"):
            self._mark(arguments[1:2], scope, Origin.DOWNLOADED)
        elif name == "shutil.copyfileobj" and len(arguments) > 1:
            self._put(arguments[1], scope, self.of(arguments[0], scope) & _KEPT)
        elif name in COPIERS:
            self._mark(arguments[1:2], scope, self._all(arguments[:1], scope) & _KEPT)
        elif name == "shutil.make_archive":
            self._mark(arguments[:1], scope, self._all(arguments[1:], scope) & _KEPT)
        elif name == "os.write" and len(arguments) > 1:
            self._put(arguments[0], scope, self.of(arguments[1], scope) & _KEPT)
        elif isinstance(call.func, ast.Attribute):
            if call.func.attr in ("write_bytes", "write_text"):
                self._mark([call.func.value], scope, self._all(arguments, scope) & _KEPT)
            elif call.func.attr in _PUT:
                given = [*arguments, *(keyword.value for keyword in call.keywords)]
                self._put(call.func.value, scope, self._all(given, scope) & _KEPT)

    def _all(self, expressions: Iterable[ast.expr], scope: Scope) -> int:
        found = Origin.NOWHERE
        for expression in expressions:
            found |= self.of(expression, scope)
        return found

    def _put(self, handle: ast.expr, scope: Scope, origin: int) -> None:
        """Give a thing the origin of what is put into it, and if it is an open file, the file."""
        if not origin:
            return
        name = dotted_text(handle)
        if name is not None:
            level = scope
            while name not in self._binders[level] and level.parent is not None:
                level = level.parent
            self._add(level if name in self._binders[level] else scope, name, origin)
            self._add(scope, f"{name}.name", origin)  # of a temporary file, by which it is found again
            for other in self._siblings[level].get(name, ()):
                self._add(level, other, origin)
        for value in [handle] if isinstance(handle, ast.Call) else self._to_follow(handle, scope, origin):
            if value.args and self._name(value.func) == "os.fdopen":
                self._put(value.args[0], scope, origin)
            elif opened_for_writing(value):
                self._mark(value.args[:1], scope, origin)

    def _to_follow(self, handle: ast.expr, scope: Scope, origin: int) -> list[ast.Call]:
        """Return the calls that opened a handle, once for each origin of what is written to it."""
        name = dotted_text(handle)
        if name is None or (scope, name, origin) in self._followed:
            return []
        self._followed.add((scope, name, origin))
        return self._opened[scope].get(name, [])

    def _mark(self, paths: Iterable[ast.expr], scope: Scope, origin: int) -> None:
        for path in paths if origin else ():
            for name in targets_of(path):
                self._add(scope, name, origin)
            sketch = self.sketch(path, scope)
            for node in ast.walk(path):
                if isinstance(node, ast.Constant) and isinstance(node.value, str) and len(node.value) > 3:
                    self._wrote(node.value, origin)
            if len(sketch) > 3:
                self._wrote(sketch, origin)

    def _wrote(self, path: str, origin: int) -> None:
        if len(self._disk) < _MOST_WRITTEN:
            self._disk[path] = self._disk.get(path, Origin.NOWHERE) | origin
            if origin & _FETCHED:
                self.written.add(path)


def _is_mixed(node: ast.expr) -> bool:
    """Say whether numbers are made by the operation that ciphers are made of, or of digits."""
    parts = list(ast.walk(node.elt)) if isinstance(node, ast.GeneratorExp | ast.ListComp) else []
    return any(
        (isinstance(part, ast.BinOp) and isinstance(part.op, ast.BitXor))
        or (isinstance(part, ast.Call) and getattr(part.func, "id", "") == "int" and len(part.args) > 1)
        for part in parts
    )


def opened_for_writing(call: ast.Call) -> bool:
    """Say whether a call of ``open`` may write; an unknown mode may."""
    modes = call.args[1:2] + [keyword.value for keyword in call.keywords if keyword.arg == "mode"]
    if not modes or not call.args:
        return False
    mode = modes[0]
    return not (isinstance(mode, ast.Constant) and isinstance(mode.value, str)) or bool(set(mode.value) & set("wax+"))


def _made_together(scope: Scope) -> dict[str, set[str]]:
    """Return the names that a call gives with each: the path with the handle of a temporary file, say."""
    found: dict[str, set[str]] = {}
    for names, value in scope.bindings:
        if len(names) > 1 and isinstance(value, ast.Call):
            for name in names:
                found.setdefault(name, set()).update(names)
    return found


def _opened_by_name(scope: Scope) -> dict[str, list[ast.Call]]:
    """Return the calls whose results a name is bound to."""
    found: dict[str, list[ast.Call]] = {}
    for targets, value in scope.bindings:
        if isinstance(value, ast.Call):
            for target in targets:
                found.setdefault(target, []).append(value)
    return found
