"""Where the value of an expression may come from: decoded, downloaded, a telling path, the environment.

Values are followed through assignments within a function, out of its enclosing scopes, through attributes, and through
what a function of the file returns. Following is bounded (`_PASSES`), and forgets conditions: it says *may*.
"""

import ast
from enum import Flag, auto
from typing import Any

from aetherra.plugins.self_incorporation.code.names import Names
from aetherra.plugins.self_incorporation.code.rules import (
    CREDENTIAL_PATH,
    DECODERS,
    DOWNLOADERS,
    RECEIVERS,
    SANITIZERS,
    STARTUP_PATH,
    capability_of,
)
from aetherra.plugins.self_incorporation.code.syntax import Scope, Syntax, dotted_text, targets_of

__all__ = ["Origin", "Origins", "opened_for_writing"]

_PASSES = 4
_MOST_WRITTEN = 100
_PASSED_ON = frozenset(["marshal.loads", "marshal.load"])


class Origin(Flag):
    """A place values come from."""

    NOWHERE = 0
    DECODED = auto()
    DOWNLOADED = auto()
    ENVIRONMENT = auto()
    CREDENTIAL = auto()
    STARTUP = auto()


_FETCHED = Origin.DECODED | Origin.DOWNLOADED


class Origins:
    """The origins of all names of one file.

    Attributes:
        written: Constant paths of files that something decoded or downloaded is written to.
    """

    def __init__(self, syntax: Syntax, names: Names) -> None:
        self._names = names
        self._networked = any(capability_of(module) == "network" for module in names.modules)
        self._local: dict[Scope, dict[str, Origin]] = {scope: {} for scope in syntax.scopes}
        self._shared: dict[str, Origin] = {}
        self._opened = {scope: _opened_by_name(scope) for scope in syntax.scopes}
        self._followed: set[tuple[Scope, str, Origin]] = set()
        self.written: set[str] = set()
        for _ in range(_PASSES):
            before = self._size()
            for scope in syntax.scopes:
                self._pass(scope)
            if self._size() == before:
                break

    def of(self, expression: ast.expr, scope: Scope) -> Origin:
        """Return every origin that any part of an expression may have."""
        found = Origin.NOWHERE
        stack: list[Any] = [expression]
        while stack:
            node = stack.pop()
            if isinstance(node, ast.Name):
                found |= self._looked_up(node.id, scope)
            elif isinstance(node, ast.Constant):
                found |= _of_constant(node.value)
            elif isinstance(node, ast.Attribute):
                found |= self._of_attribute(node)
                stack.append(node.value)
            elif isinstance(node, ast.Subscript):
                if not self._is_environment(node.value):
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
                stack.extend(ast.iter_child_nodes(node))
        return found

    def _size(self) -> int:
        maps = [*self._local.values(), self._shared]
        return sum(origin.value for known in maps for origin in known.values()) + len(self.written)

    def _pass(self, scope: Scope) -> None:
        for targets, value in scope.bindings:
            if isinstance(value, ast.Lambda):
                origin = self.of(value.body, scope)
                for target in targets:
                    self._add(scope, f"{target}()", origin)
            else:
                origin = self.of(value, scope)
                for target in targets:
                    self._add(scope, target, origin)
        if scope.name:
            for value in scope.returns:
                self._add(scope, f"{scope.name}()", self.of(value, scope))
        for call in scope.calls:
            self._follow_to_disk(call, scope)

    def _add(self, scope: Scope, name: str, origin: Origin) -> None:
        if origin:
            known = self._shared if "." in name or name.endswith("()") else self._local[scope]
            known[name] = known.get(name, Origin.NOWHERE) | origin

    def _looked_up(self, name: str, scope: Scope) -> Origin:
        found = Origin.NOWHERE
        level: Scope | None = scope
        while level is not None:
            found |= self._local[level].get(name, Origin.NOWHERE)
            level = level.parent
        if self._names.aliases.get(name) == "os.environ":
            found |= Origin.ENVIRONMENT
        return found

    def _of_attribute(self, node: ast.Attribute) -> Origin:
        if self._is_environment(node):
            return Origin.ENVIRONMENT
        text = dotted_text(node)
        return Origin.NOWHERE if text is None else self._shared.get(text, Origin.NOWHERE)

    def _of_call(self, node: ast.Call, stack: list[Any]) -> Origin:
        resolved = self._names.resolve(node.func)
        name = "" if resolved is None else resolved.name
        if name in SANITIZERS:
            return Origin.NOWHERE
        method = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        if method in ("get", "pop") and isinstance(node.func, ast.Attribute) and self._is_environment(node.func.value):
            return Origin.NOWHERE  # one variable is not the environment
        stack.extend(node.args)
        stack.extend(keyword.value for keyword in node.keywords)
        if name in DECODERS or (name == "map" and node.args and self._is_chr(node.args[0])):
            return Origin.DECODED
        if name in DOWNLOADERS or (self._networked and method in RECEIVERS):
            return Origin.DOWNLOADED
        if name in _PASSED_ON and node.args and isinstance(node.args[0], ast.Constant):
            return Origin.DECODED
        stack.append(node.func)
        text = dotted_text(node.func)
        own = "" if text is None else text.removeprefix("self.").removeprefix("cls.")
        return self._shared.get(f"{own}()", Origin.NOWHERE)

    def _is_environment(self, node: ast.expr) -> bool:
        if not isinstance(node, ast.Name | ast.Attribute):
            return False
        resolved = self._names.resolve(node)
        return resolved is not None and resolved.name == "os.environ"

    def _is_chr(self, node: ast.expr) -> bool:
        """Say whether characters are made of numbers here."""
        resolved = self._names.resolve(node.func if isinstance(node, ast.Call) else node)
        return resolved is not None and resolved.name == "chr"

    def _follow_to_disk(self, call: ast.Call, scope: Scope) -> None:
        """Give the path of a file the origin of what is written to it."""
        resolved = self._names.resolve(call.func)
        if resolved is not None and resolved.name.endswith(".urlretrieve"):
            for path in call.args[1:2]:
                self._mark(path, scope, Origin.DOWNLOADED)
        if not isinstance(call.func, ast.Attribute) or not call.args:
            return
        if call.func.attr not in ("write", "write_bytes", "write_text"):
            return
        origin = self.of(call.args[0], scope) & _FETCHED
        if not origin:
            return
        handle = call.func.value
        if call.func.attr != "write":
            self._mark(handle, scope, origin)
            return
        opened = [handle] if isinstance(handle, ast.Call) else self._to_follow(handle, scope, origin)
        for value in opened:
            if opened_for_writing(value):
                self._mark(value.args[0], scope, origin)

    def _to_follow(self, handle: ast.expr, scope: Scope, origin: Origin) -> list[ast.Call]:
        """Return the calls that opened a handle, once for each origin of what is written to it."""
        name = dotted_text(handle)
        if name is None or (scope, name, origin) in self._followed:
            return []
        self._followed.add((scope, name, origin))
        return self._opened[scope].get(name, [])

    def _mark(self, path: ast.expr, scope: Scope, origin: Origin) -> None:
        for name in targets_of(path):
            self._add(scope, name, origin)
        for node in ast.walk(path):
            if len(self.written) >= _MOST_WRITTEN:
                break
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and len(node.value) > 3:
                self.written.add(node.value)


def opened_for_writing(call: ast.Call) -> bool:
    """Say whether a call of ``open`` may write; an unknown mode may."""
    modes = call.args[1:2] + [keyword.value for keyword in call.keywords if keyword.arg == "mode"]
    if not modes or not call.args:
        return False
    mode = modes[0]
    return not (isinstance(mode, ast.Constant) and isinstance(mode.value, str)) or bool(set(mode.value) & set("wax+"))


def _opened_by_name(scope: Scope) -> dict[str, list[ast.Call]]:
    """Return the calls whose results a name is bound to."""
    found: dict[str, list[ast.Call]] = {}
    for targets, value in scope.bindings:
        if isinstance(value, ast.Call):
            for target in targets:
                found.setdefault(target, []).append(value)
    return found


def _of_constant(value: object) -> Origin:
    if not isinstance(value, str):
        return Origin.NOWHERE
    found = Origin.NOWHERE
    if STARTUP_PATH.search(value):
        found |= Origin.STARTUP
    if CREDENTIAL_PATH.search(value):
        found |= Origin.CREDENTIAL
    return found
