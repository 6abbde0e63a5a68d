"""All that speaks for and against one file: gathered call by call, then weighed with what flows through it."""

import ast
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

from aetherra.plugins.self_incorporation.code.correlations import Seen, correlate
from aetherra.plugins.self_incorporation.code.findings import Capability
from aetherra.plugins.self_incorporation.code.names import Names, Resolved
from aetherra.plugins.self_incorporation.code.origins import Origins, opened_for_writing
from aetherra.plugins.self_incorporation.code.pattern import Pattern
from aetherra.plugins.self_incorporation.code.program import Program, Unit
from aetherra.plugins.self_incorporation.code.rules import (
    CREDENTIAL_PATH,
    DECODERS,
    DOWNLOADERS,
    EXECUTORS,
    HOOK_PATH,
    SECRET_PATH,
    STARTUP_PATH,
    capability_of,
)
from aetherra.plugins.self_incorporation.code.signs import Signs
from aetherra.plugins.self_incorporation.code.sinks import DESTROYERS, Sinks, opens_to_write
from aetherra.plugins.self_incorporation.code.source import parse
from aetherra.plugins.self_incorporation.code.syntax import Scope, Syntax

__all__ = ["Evidence"]

_CAPABLE: Mapping[str, Capability] = {
    "write_text": "fs_write",
    "write_bytes": "fs_write",
    "read_text": "fs_read",
    "read_bytes": "fs_read",
    "unlink": "fs_write",
    **dict.fromkeys(("create_connection", "create_server", "create_datagram_endpoint"), "network"),
}
# A method that a class of the file defines is its own where nothing hands out things that have such a method: where all
# that is imported is what is judged together, and modules of the standard library that are none of these.
_GIVERS = frozenset(["asyncio", "importlib", "multiprocessing", "pathlib", "pkgutil", "unittest", "zipfile"])
_GIVING = ("__import__", ".modules")
_SOUNDS_LIKE_A_PATH = re.compile(r"path|file|dir|folder", re.IGNORECASE)
_MOST_PARTS = 50
# Methods that tell whatever they are of, and what they are told by.
_METHODS = {
    **dict.fromkeys(["send", "sendall", "sendto"], ".send"),
    **{method: "." + method for method in (*_CAPABLE, "open", "encrypt", "read", "write")},
}
_HINTS = (
    "[::-1]",
    "chr",
    "marshal.loads",
    ".decrypt(",
    "data_received",
)  # what may make code of a constant without a decoder
_READERS = ("open(", "read_text", "read_bytes", "get_data", "__doc__")
_TELLING_WORDS = ("exec", "eval", "__import__", "system", "popen", "subprocess", "spawn", "startfile")
# One of these stands in whatever `_PATHS` finds, and looking for them first takes a hundredth of the time.
_PATH_WORDS = (
    *(".bash", "profile", ".zsh", ".config", ".ssh", "customize.py", "LaunchAgents", "LaunchDaemons", "/etc/"),
    *("CurrentVersion", "Startup", "site-packages", ".aws", "credentials", ".docker", ".kube", "Login Data", "Chrome"),
    *("wallet.dat", ".gnupg", "leveldb", ".electrum", "logins.json", "key4.db", ".netrc", ".pypirc", ".npmrc"),
    *("/cron", ".pgpass", "kubernetes.io", ".pth", "hooks", "/etc/passwd", "_history", "known_hosts"),
    *("/proc/", "pip.conf", "pip.ini", ".ipython"),
)
_PATHS = Pattern(
    f"{STARTUP_PATH.pattern}|{CREDENTIAL_PATH.pattern}|{SECRET_PATH.pattern}|{HOOK_PATH.pattern[:-1]}|\\.pth\\b"
)
# What stands between the parts of a path that is put together.
_BETWEEN = re.compile(r"""["'][\s,/)(]{1,9}["']""")
_COMMANDS = (
    "curl",
    "wget",
    "/dev/tcp",
    "/dev/udp",
    ">>",
    "pip install",
    "'pip'",
    '"pip"',
    "owershell",
    "schtasks",
    "reg add",
)
_PAYLOADS = ("urlopen", "b64decode", "CurrentVersion")  # in text that is written or started
_HOMES = ("home()", "expanduser", "HOME", "USERPROFILE")
_CLIMBS = ("__base__", "__bases__", "__mro__", "mro(")  # the ways up to `object`
# What these methods of a loader return is run as a module.
_RETURN_CODE = frozenset(["get_data", "get_source", "get_code", "source_to_code"])
_DEEPEST = 3


class Evidence:
    """All capabilities and indicators of one file.

    Args:
        unit: The file, or text that one runs.
        together: All that is judged together, the file among them.
        depth: How often this is text within text.

    Attributes:
        unit: The file.
        signs: What was noted.
    """

    def __init__(self, unit: Unit, together: Sequence[Unit], depth: int = 0) -> None:
        self.unit = unit
        self._together = together
        self.signs = Signs(unit.path)
        self._depth = depth
        self._calls: list[Seen] = []
        self._groped: list[tuple[Scope, ast.expr]] = []
        self._reached: set[str] = set()

    def collect(self) -> None:
        """Gather the calls, and what the file can do; needs no other file."""
        unit, calls = self.unit, self._calls
        resolve = unit.names.resolve
        for scope in unit.syntax.scopes:
            for call in scope.calls:
                resolved = resolve(call.func)
                method = call.func.attr if isinstance(call.func, ast.Attribute) else ""
                if method in _METHODS and _is_of_somebody(method, resolved):
                    hidden = resolved is not None and resolved.hidden
                    calls.append(Seen(scope, call, Resolved(_METHODS[method], hidden)))
                    self._method(call.func, "fs_write" if method == "open" and opens_to_write(call) else None)
                elif resolved is not None:
                    self._capability(call, resolved)
                    calls.append(Seen(scope, call, resolved))
                for argument in (*call.args, *(keyword.value for keyword in call.keywords)):
                    self._method(argument)
                if isinstance(call.func, ast.Call | ast.Subscript):
                    self._groped.append((scope, call.func))
                elif resolved is not None and resolved.name == "getattr":
                    self._groped.append((scope, call))
                elif method == "__subclasses__" and isinstance(call.func, ast.Attribute):
                    self._subclasses(call.func)
        self._abilities()
        self._reached = {resolved.name for _, _, resolved in calls}

    def _method(self, function: ast.expr, capability: Capability | None = None) -> None:
        """Note what a method can do, called or handed on, by its name or as it is said; of its own ones nothing."""
        if not isinstance(function, ast.Attribute):
            return
        capability = capability or _CAPABLE.get(function.attr)
        if capability is None or self._is_own(function):
            return
        resolved = self.unit.names.resolve(function)
        if _is_of_somebody(function.attr, resolved):
            self.signs.use(capability, function.lineno)

    def _is_own(self, function: ast.Attribute) -> bool:
        """Say whether a method is one that a class of this file defines, of a thing that nothing says is a path."""
        if function.attr not in self.unit.syntax.methods:
            return False
        if not _stands_alone(self._together):
            return False
        parts = list(islice(ast.walk(function.value), _MOST_PARTS))
        return len(parts) < _MOST_PARTS and not any(map(_is_of_a_path, parts))

    def _abilities(self) -> None:
        """What it can do without a call."""
        for name, line in _imported(self.unit.syntax):
            if (capability := capability_of(name)) is not None:
                self.signs.use(capability, line)
        for _, value in (binding for scope in self.unit.syntax.scopes for binding in scope.bindings):
            self._method(value)
        for attribute in self.unit.syntax.environ:
            resolved = self.unit.names.resolve(attribute)
            if resolved is not None and resolved.name == "os.environ":
                self.signs.use("environment", attribute.lineno)

    def is_worth_following(self) -> bool:
        """Say whether any value could flow from a telling source to a telling place."""
        text, reached = self.unit.text, self._reached
        sources = not reached.isdisjoint(DECODERS | DOWNLOADERS) or "network" in self.signs.uses
        if sources or any(hint in text for hint in _HINTS):
            return True
        uses = self.signs.uses
        acts = "process" in uses or "fs_write" in uses
        if acts and any(word in text for word in _PAYLOADS):
            return True
        if "process" in uses and any(word in text for word in _COMMANDS):
            return True
        if "aetherra" in text and ("process" in uses or "dynamic_code" in uses):
            return True
        if not reached.isdisjoint(DESTROYERS) and any(home in text for home in _HOMES):
            return True
        if any(word in text for word in _PATH_WORDS) and _PATHS.search(_BETWEEN.sub("/", text)):
            return True
        return not reached.isdisjoint(EXECUTORS) and any(reader in text for reader in (*_READERS, "^"))

    def weigh(self, flow: Origins | None) -> None:
        """Note the signs of ill intent, with where values come from in all that is judged together."""
        sinks = Sinks(self.unit, self.signs, flow, self._reached, self._nested)
        for scope, call, resolved in self._calls:
            sinks.call(scope, call, resolved)
        for scope, reached in self._groped:
            sinks.groped(scope, reached)
        if any(word in self.unit.text for word in _TELLING_WORDS):
            self._passed_on(sinks)
        for line in self.unit.names.smuggled:
            self.signs.use("dynamic_code", line)
            self.signs.sign("hidden-call", line)
        self._returned_to_run()
        correlate(self.unit, self.signs, self._calls, flow)

    def _capability(self, call: ast.Call, resolved: Resolved) -> None:
        name = resolved.name
        if name in ("open", "io.open", "codecs.open"):
            self.signs.use("fs_write" if opened_for_writing(call) else "fs_read", call.lineno)
            return
        capability = capability_of(name)
        if capability is None:
            return
        constant = bool(call.args) and isinstance(call.args[0], ast.Constant)
        if not (constant and name in ("__import__", "importlib.import_module")):  # that is an import, spelled longer
            self.signs.use(capability, call.lineno)

    def _subclasses(self, function: ast.Attribute) -> None:
        """All classes that there are, and by them all that the process can do; those below one of its own are none."""
        resolved = self.unit.names.resolve(function.value)
        climbs = any(word in self.unit.text for word in _CLIMBS)
        if climbs if resolved is None else "." not in resolved.name:
            self.signs.use("dynamic_code", function.lineno)

    def _passed_on(self, sinks: Sinks) -> None:
        """Telling functions that are handed to others to be called: ``map(exec, parts)``, ``@exec``."""
        scopes, references, signs = self.unit.syntax.scopes, self.unit.names.references, self.signs
        for scope in scopes:
            for call in scope.calls:
                arguments = [*call.args, *(keyword.value for keyword in call.keywords)]
                for node, resolved in references(arguments):
                    sinks.handed(call, node, resolved, scope, [each for each in arguments if each is not node])
        for scope in scopes:
            if scope.name in ("__reduce__", "__reduce_ex__"):  # called with what stands beside it, when it is unpickled
                for node, resolved in references(scope.returns):
                    signs.use(capability_of(resolved.name) or "dynamic_code", node.lineno)
                    signs.sign("hidden-call", node.lineno)
        for _, decorator in self.unit.syntax.decorators:
            for _, resolved in references([decorator]):
                signs.use(capability_of(resolved.name) or "dynamic_code", decorator.lineno)
                signs.sign("hidden-call", decorator.lineno)

    def _returned_to_run(self) -> None:
        """Constant code that a loader of modules adds to what is imported."""
        for scope in self.unit.syntax.scopes:
            if scope.name in _RETURN_CODE:
                for value in [*scope.returns, *(value for _, value in scope.bindings)]:
                    for node in ast.walk(value):
                        if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes):
                            text = node.value if isinstance(node.value, str) else node.value.decode("latin-1")
                            if "import" in text:
                                self._nested(text, True, node.lineno)

    def _nested(self, text: str, joined: bool, line: int) -> None:
        """Judge constant text that is run as code, as a part of this file."""
        tree = parse(self.unit.path, text.strip()) if self._depth < _DEEPEST else None
        if not isinstance(tree, ast.Module):
            return
        syntax = Syntax(tree)
        unit = Unit(self.unit.path, text, syntax, Names(syntax))
        inner = Evidence(unit, (*self._together, unit), self._depth + 1)
        inner.collect()
        inner.weigh(Origins(Program([Unit(*inner.unit)])) if inner.is_worth_following() else None)
        for capability in inner.signs.uses:
            self.signs.use(capability, line)
        for code in inner.signs.seen:
            self.signs.sign(code, line)
        if joined and inner.signs.uses:
            self.signs.sign("hidden-call", line)


def _stands_alone(together: Sequence[Unit]) -> bool:
    own = {part for unit in together for part in unit.path.removesuffix(".py").split("/")}
    known = (own | sys.stdlib_module_names) - _GIVERS
    modules = (module for unit in together for module in unit.names.modules)
    return all(module[0] == "." or module.partition(".")[0] in known for module in modules) and not any(
        word in unit.text for unit in together for word in _GIVING
    )


def _is_of_a_path(part: ast.AST) -> bool:
    named = getattr(part, "id", getattr(part, "attr", ""))
    return isinstance(part, ast.Div) or _SOUNDS_LIKE_A_PATH.search(named) is not None


def _is_of_somebody(method: str, resolved: Resolved | None) -> bool:
    """Say whether a method is all that is known: of a thing that is made elsewhere, or by a call."""
    if resolved is None:
        return True
    return (method in _CAPABLE or "()." in resolved.name) and capability_of(resolved.name) is None


def _imported(syntax: Syntax) -> Iterator[tuple[str, int]]:
    for statement in syntax.imports:
        if isinstance(statement, ast.ImportFrom):
            module = "." * statement.level + (statement.module or "")
            yield from ((f"{module}.{alias.name}", statement.lineno) for alias in statement.names)
        else:
            yield from ((alias.name, statement.lineno) for alias in statement.names)
