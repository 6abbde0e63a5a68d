"""What a Python file can do, what in it speaks of ill intent, and how risky that makes it.

Two layers. A *capability* is what code can do to the world: ``info``, since all good code does something. An
*indicator* is a sign of ill intent. It is a *threat* only together with the capabilities it needs in the same file, and
a ``warning`` otherwise. Comments that ask a linter for silence (``# nosec``, ``# noqa``) have no effect here.

The risk of a file is ``1 - (1 - w1)(1 - w2)...`` over its factors: each capability and each indicator counts once,
with its weight from `rules`, an indicator that is no threat with a third of it. So all capabilities together come to
0.33, and one threat to at least 0.6.
"""

import ast
import math
import re
from collections.abc import Iterator, Mapping
from itertools import islice

from msgspec import Struct

from aetherra.plugins.self_incorporation.code.findings import Capability, Finding, RiskFactor, Severity
from aetherra.plugins.self_incorporation.code.lookalikes import lookalikes
from aetherra.plugins.self_incorporation.code.names import Names, Resolved
from aetherra.plugins.self_incorporation.code.origins import Origin, Origins, opened_for_writing
from aetherra.plugins.self_incorporation.code.rules import (
    CAPABILITY_WEIGHTS,
    CREDENTIAL_PATH,
    DECODERS,
    DOWNLOADERS,
    EXECUTORS,
    INDICATORS,
    PICKLERS,
    SENDERS,
    SHELL_DROPPER,
    SHELL_PROGRAM,
    STARTUP_PATH,
    UNPICKLERS,
    capability_of,
)
from aetherra.plugins.self_incorporation.code.syntax import Scope, Syntax

__all__ = ["MAX_LINES", "Judgement", "judge"]

MAX_LINES = 20
_SHELLS = frozenset(
    ["os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput", "commands.getoutput"]
)
_COPIERS = frozenset(["shutil.copy", "shutil.copy2", "shutil.copyfile", "shutil.move", "os.replace", "os.rename"])
_PATH_METHODS: Mapping[str, Capability] = {
    "write_text": "fs_write",
    "write_bytes": "fs_write",
    "read_text": "fs_read",
    "read_bytes": "fs_read",
}
_INJECTORS = frozenset(["VirtualAlloc", "VirtualAllocEx", "VirtualProtect", "WriteProcessMemory", "CreateRemoteThread"])
_ENCODED = re.compile(r"[A-Za-z0-9+/=_\-\s]+\Z")
_HINTS = ("[::-1]", "chr", "marshal.loads")  # what may make code of a constant without a decoder
_OUT_OF_SIGHT = re.compile(r";[ \t]{80,}\S")
_PATHS = re.compile(f"{STARTUP_PATH.pattern}|{CREDENTIAL_PATH.pattern}")


class Judgement(Struct, frozen=True):
    """What the judge has to say about one file.

    Attributes:
        capabilities: With the first lines that use each.
        findings: In the order of their lines.
        risk: Between 0 and 1.
        factors: What makes up the risk, heaviest first.
    """

    capabilities: dict[Capability, tuple[int, ...]]
    findings: tuple[Finding, ...]
    risk: float
    factors: tuple[RiskFactor, ...]


def judge(path: str, text: str, syntax: Syntax, names: Names) -> Judgement:
    """Judge one file. Neither runs nor imports any of it."""
    evidence = _Evidence(path, text, syntax, names)
    evidence.collect()
    findings = [*evidence.findings(), *islice(lookalikes(path, text), MAX_LINES)]
    factors = tuple(sorted(evidence.factors(), key=lambda factor: (-factor.weight, factor.code)))
    risk = 1.0 - math.prod(1.0 - factor.weight for factor in factors)
    findings.sort(key=lambda finding: (finding.line, finding.code))
    capabilities: dict[Capability, tuple[int, ...]] = {
        capability: _first(lines) for capability, lines in sorted(evidence.uses.items())
    }
    return Judgement(capabilities, tuple(findings), round(risk, 4), factors)


class _Evidence:
    """All capabilities and indicators of one file, by the lines they were seen on."""

    def __init__(self, path: str, text: str, syntax: Syntax, names: Names) -> None:
        self.path, self.text, self.syntax, self.names = path, text, syntax, names
        self.uses: dict[Capability, set[int]] = {}
        self.signs: dict[str, set[int]] = {}
        self._reached: set[str] = set()
        self._flow: Origins | None = None

    def collect(self) -> None:
        resolve = self.names.resolve
        calls: list[tuple[Scope, ast.Call, Resolved]] = []
        for scope in self.syntax.scopes:
            for call in scope.calls:
                resolved = resolve(call.func)
                if resolved is not None:
                    self._capability(call, resolved)
                    calls.append((scope, call, resolved))
                elif isinstance(call.func, ast.Attribute) and call.func.attr in _PATH_METHODS:
                    self._use(_PATH_METHODS[call.func.attr], call.lineno)
                    calls.append((scope, call, Resolved("." + call.func.attr, hidden=False)))
        self._imports()
        for attribute in self.syntax.environ:
            resolved = resolve(attribute)
            if resolved is not None and resolved.name == "os.environ":
                self._use("environment", attribute.lineno)
        self._reached = {resolved.name for _, _, resolved in calls}
        if self._worth_following():
            self._flow = Origins(self.syntax, self.names)
        for scope, call, resolved in calls:
            self._call(scope, call, resolved)
        self._whole_file(calls)

    def findings(self) -> Iterator[Finding]:
        for capability, lines in self.uses.items():
            message = f"uses {capability} on {len(lines)} line{'s' * (len(lines) > 1)}"
            yield Finding(self.path, min(lines), capability, "info", message)
        for code, lines in self.signs.items():
            severity: Severity = "threat" if self._threatens(code) else "warning"
            for line in _first(lines):
                yield Finding(self.path, line, code, severity, INDICATORS[code].message)

    def factors(self) -> Iterator[RiskFactor]:
        for capability, lines in self.uses.items():
            yield RiskFactor(capability, CAPABILITY_WEIGHTS[capability], _first(lines))
        for code, lines in self.signs.items():
            weight = INDICATORS[code].weight
            yield RiskFactor(code, weight if self._threatens(code) else round(weight / 3, 3), _first(lines))

    def _threatens(self, code: str) -> bool:
        return any(needed <= self.uses.keys() for needed in INDICATORS[code].needs)

    def _use(self, capability: Capability, line: int) -> None:
        self.uses.setdefault(capability, set()).add(line)

    def _sign(self, code: str, line: int) -> None:
        self.signs.setdefault(code, set()).add(line)

    def _capability(self, call: ast.Call, resolved: Resolved) -> None:
        name = resolved.name
        if name in ("open", "io.open", "codecs.open"):
            self._use("fs_write" if opened_for_writing(call) else "fs_read", call.lineno)
            return
        capability = capability_of(name)
        if capability is None:
            return
        constant = bool(call.args) and isinstance(call.args[0], ast.Constant)
        if not (constant and name in ("__import__", "importlib.import_module")):  # that is an import, spelled longer
            self._use(capability, call.lineno)

    def _imports(self) -> None:
        for statement in self.syntax.imports:
            if isinstance(statement, ast.ImportFrom):
                module = "." * statement.level + (statement.module or "")
                reached = [f"{module}.{alias.name}" for alias in statement.names]
            else:
                reached = [alias.name for alias in statement.names]
            for name in reached:
                if (capability := capability_of(name)) is not None:
                    self._use(capability, statement.lineno)

    def _worth_following(self) -> bool:
        """Say whether any value could flow from a telling source to a telling place."""
        sources = not self._reached.isdisjoint(DECODERS | DOWNLOADERS) or "network" in self.uses
        return bool(sources or _PATHS.search(self.text) or any(hint in self.text for hint in _HINTS))

    def _call(self, scope: Scope, call: ast.Call, resolved: Resolved) -> None:
        name, line = resolved.name, call.lineno
        capability = capability_of(name)
        if resolved.hidden and capability in ("dynamic_code", "process", "network", "native_code"):
            self._sign("hidden-call", line)
        if name in EXECUTORS:
            self._executed(call, scope)
        elif capability == "process":
            self._started(call, name, scope)
        elif name in UNPICKLERS:
            self._unpickled(call, scope)
        elif name in SENDERS:
            self._sent(call, scope)
        elif capability == "native_code" and name.rpartition(".")[2] in _INJECTORS:
            self._sign("shellcode", line)
        else:
            self._touched(call, name, scope)

    def _unpickled(self, call: ast.Call, scope: Scope) -> None:
        """What is pickled in the same breath is a live object's copy, wherever the object came from."""
        argument = call.args[0] if call.args else None
        pickler = self.names.resolve(argument.func) if isinstance(argument, ast.Call) else None
        copied = pickler is not None and pickler.name in PICKLERS
        if not copied and Origin.DOWNLOADED in self._origin(call.args, scope):
            self._sign("unpickle-of-downloaded", call.lineno)

    def _origin(self, expressions: list[ast.expr], scope: Scope) -> Origin:
        found = Origin.NOWHERE
        if self._flow is not None:
            for expression in expressions:
                found |= self._flow.of(expression, scope)
        return found

    def _executed(self, call: ast.Call, scope: Scope) -> None:
        origin = self._origin(call.args[:1], scope)
        if Origin.DECODED in origin:
            self._sign("exec-of-decoded", call.lineno)
        if Origin.DOWNLOADED in origin:
            self._sign("exec-of-downloaded", call.lineno)

    def _started(self, call: ast.Call, name: str, scope: Scope) -> None:
        origin = self._origin(call.args[:1] if name.startswith("subprocess") else call.args, scope)
        texts = _texts(call)
        written: set[str] = set() if self._flow is None else self._flow.written
        if Origin.DECODED in origin:
            self._sign("run-of-decoded", call.lineno)
        if Origin.DOWNLOADED in origin or any(path in text for path in written for text in texts):
            self._sign("run-of-downloaded", call.lineno)
        if any(SHELL_DROPPER.search(text) for text in [*texts, " ".join(texts)]):
            self._sign("shell-dropper", call.lineno)
        shell = name in _SHELLS or any(
            keyword.arg == "shell" and getattr(keyword.value, "value", None) is True for keyword in call.keywords
        )
        if shell and call.args and not isinstance(call.args[0], ast.Constant):
            self._sign("dynamic-shell", call.lineno)

    def _sent(self, call: ast.Call, scope: Scope) -> None:
        origin = self._origin([*call.args, *(keyword.value for keyword in call.keywords)], scope)
        if Origin.ENVIRONMENT in origin:
            self._sign("environment-sent", call.lineno)
        if Origin.CREDENTIAL in origin:
            self._sign("credential-sent", call.lineno)

    def _touched(self, call: ast.Call, name: str, scope: Scope) -> None:
        if self._flow is None:
            return
        paths = call.args[:1]
        writes = name in ("open", "io.open") and opened_for_writing(call)
        if name[:1] == "." and isinstance(call.func, ast.Attribute):
            paths, writes = [call.func.value], name.startswith(".write")
        elif name in _COPIERS:
            paths, writes = call.args[1:2], True
        elif name not in ("open", "io.open"):
            return
        if writes and Origin.STARTUP in self._origin(paths, scope):
            self._sign("startup-write", call.lineno)
        if Origin.CREDENTIAL in self._origin(call.args[:1] if name in _COPIERS else paths, scope):
            self._sign("credential-read", call.lineno)

    def _whole_file(self, calls: list[tuple[Scope, ast.Call, Resolved]]) -> None:
        """Look for what no single call shows."""
        duplicated = [call.lineno for _, call, resolved in calls if resolved.name == "os.dup2" and _of_socket(call)]
        started = [call for _, call, resolved in calls if capability_of(resolved.name) == "process"]
        shell = any(SHELL_PROGRAM.search(text) for call in started for text in _texts(call))
        piped = [call.lineno for call in started if sum(_of_socket(keyword.value) for keyword in call.keywords) > 1]
        if (shell and len(duplicated) > 1) or piped:
            self.signs.setdefault("socket-to-shell", set()).update(duplicated + piped)
        if self.path.rpartition("/")[2] == "setup.py":
            for _, call, resolved in calls:
                if capability_of(resolved.name) == "network":
                    self._sign("network-at-install", call.lineno)
        if self.path.endswith(".pth"):
            self._sign("code-at-start", 1)
        for constant in self.syntax.long_constants:
            if _looks_encoded(constant.value):
                self._sign("encoded-constant", constant.lineno)
        for match in islice(_OUT_OF_SIGHT.finditer(self.text), MAX_LINES):
            self._sign("code-out-of-sight", self.text.count("\n", 0, match.start()) + 1)


def _first(lines: set[int]) -> tuple[int, ...]:
    return tuple(sorted(lines)[:MAX_LINES])


def _texts(call: ast.Call) -> list[str]:
    """Return the constant text in a call's arguments, in order."""
    arguments = [*call.args, *(keyword.value for keyword in call.keywords)]
    nodes = (node for argument in arguments for node in ast.walk(argument))
    return [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]


def _of_socket(node: ast.AST) -> bool:
    return any(isinstance(part, ast.Attribute) and part.attr == "fileno" for part in ast.walk(node))


def _looks_encoded(value: object) -> bool:
    text = value.decode("latin-1") if isinstance(value, bytes) else value
    if not isinstance(text, str) or _ENCODED.match(text) is None or len(text.split()) > len(text) / 40:
        return False
    return len(set(text)) >= 16 and any(map(str.isdigit, text))
