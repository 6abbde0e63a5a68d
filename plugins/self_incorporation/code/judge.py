"""What a Python file can do, what in it speaks of ill intent, and how risky that makes it.

Two layers. A *capability* is what code can do to the world: ``info``, since all good code does something. An
*indicator* is a sign of ill intent. It is a *threat* only together with the capabilities it needs, in the same file or
in those it is judged together with, and a ``warning`` otherwise. Comments that ask a linter for silence (``# nosec``,
``# noqa``) have no effect here. Constant text that a file runs as code is judged as a part of that file.

The risk of a file is ``1 - (1 - w1)(1 - w2)...`` over its factors: each capability and each indicator counts once,
with its weight from `rules`, an indicator that is no threat with a third of it. So all capabilities together come to
0.33, and one threat to at least 0.6.
"""

import ast
import re
from collections.abc import Iterator, Mapping
from itertools import islice

from msgspec import Struct

from aetherra.plugins.self_incorporation.code.findings import Capability, Finding, RiskFactor, Severity, joined
from aetherra.plugins.self_incorporation.code.lookalikes import lookalikes
from aetherra.plugins.self_incorporation.code.names import Names, Resolved
from aetherra.plugins.self_incorporation.code.origins import Origin, Origins, opened_for_writing
from aetherra.plugins.self_incorporation.code.program import Program, Unit
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
from aetherra.plugins.self_incorporation.code.source import parse
from aetherra.plugins.self_incorporation.code.syntax import Scope, Syntax

__all__ = ["MAX_LINES", "Judgement", "judge", "judge_together"]

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
_SENDING_METHODS = frozenset(["send", "sendall", "sendto"])
_LOADERS = frozenset(
    [
        "runpy.run_path",
        "importlib.util.spec_from_file_location",
        "importlib.machinery.SourceFileLoader",
        "imp.load_source",
    ]
)
# These start no command, but a function of the program or nothing at all.
_NO_COMMANDS = ("os.kill", "os.fork", "multiprocessing.", "subprocess.list2cmdline")
_WRITING_COMMANDS = frozenset(["tee", "cp", "mv", "install", "ln", "dd"])
_REGISTRY = frozenset(["winreg.OpenKey", "winreg.OpenKeyEx", "winreg.CreateKey", "winreg.CreateKeyEx"])
_LIBC = frozenset(["system", "popen", "execve", "execv", "execl", "execlp", "execvp"])
_INJECTORS = frozenset(["VirtualAlloc", "VirtualAllocEx", "VirtualProtect", "WriteProcessMemory", "CreateRemoteThread"])
_ENCODED = re.compile(r"[A-Za-z0-9+/=_\-\s]+\Z")
_HINTS = ("[::-1]", "chr", "marshal.loads")  # what may make code of a constant without a decoder
_READERS = ("open(", "read_text", "read_bytes", "get_data", "__doc__")
_TELLING_WORDS = ("exec", "eval", "__import__", "system", "popen", "subprocess", "spawn", "startfile")
# One of these stands in whatever `_PATHS` finds, and looking for them first takes a hundredth of the time.
_PATH_WORDS = (
    *(".bash", "profile", ".zsh", ".config", ".ssh", "customize.py", "LaunchAgents", "LaunchDaemons", "/etc/"),
    *("CurrentVersion", "Startup", "site-packages", ".aws", "credentials", ".docker", ".kube", "Login Data", "Chrome"),
    *("wallet.dat", ".gnupg", "leveldb", ".electrum", "logins.json", "key4.db"),
)
_RUNS_TEXT = frozenset(["exec", "eval", "compile"])
_DEEPEST = 3
_LONGEST_CODE = 100_000
# Modules so telling that to take a function of theirs by an unknown name is a use of what they can do.
_GROPED: Mapping[str, Capability] = {
    **dict.fromkeys(["os", "posix", "nt", "subprocess", "pty"], "process"),
    **dict.fromkeys(["builtins", "__builtins__", "importlib"], "dynamic_code"),
    "ctypes": "native_code",
}
_CLIMBS = ("__base__", "__bases__", "__mro__", "mro(")  # the ways up to `object`
_OUT_OF_SIGHT = re.compile(r";[ \t]{80,}\S|\S[ \t]{80,};")
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
    return judge_together(Program([Unit(path, text, syntax, names)]))[path]


def judge_together(program: Program) -> dict[str, Judgement]:
    """Judge the files of a program, by path: each with what the others can do, and what they pass to each other.

    Neither runs nor imports any of it.
    """
    found = [_Evidence(unit) for unit in program.units]
    for evidence in found:
        evidence.collect()
    flow = Origins(program) if any(evidence.is_worth_following() for evidence in found) else None
    for evidence in found:
        evidence.weigh(flow)
    reach: frozenset[Capability] = frozenset(capability for evidence in found for capability in evidence.uses)
    return {evidence.path: evidence.judgement(reach) for evidence in found}


class _Evidence:
    """All capabilities and indicators of one file, by the lines they were seen on."""

    def __init__(self, unit: Unit, depth: int = 0) -> None:
        self.path, self.text, self.syntax, self.names = unit
        self.uses: dict[Capability, set[int]] = {}
        self.signs: dict[str, set[int]] = {}
        self._depth = depth
        self._calls: list[tuple[Scope, ast.Call, Resolved]] = []
        self._groped: list[tuple[Scope, ast.expr]] = []
        self._reached: set[str] = set()
        self._flow: Origins | None = None

    def collect(self) -> None:
        resolve = self.names.resolve
        calls = self._calls
        for scope in self.syntax.scopes:
            for call in scope.calls:
                resolved = resolve(call.func)
                if resolved is not None:
                    self._capability(call, resolved)
                    calls.append((scope, call, resolved))
                elif isinstance(call.func, ast.Attribute) and call.func.attr in _SENDING_METHODS:
                    calls.append((scope, call, Resolved(".send", hidden=False)))
                elif isinstance(call.func, ast.Attribute) and call.func.attr in _PATH_METHODS:
                    self._use(_PATH_METHODS[call.func.attr], call.lineno)
                    calls.append((scope, call, Resolved("." + call.func.attr, hidden=False)))
                if isinstance(call.func, ast.Call | ast.Subscript):
                    self._groped.append((scope, call.func))
                elif resolved is not None and resolved.name == "getattr":
                    self._groped.append((scope, call))
                elif isinstance(call.func, ast.Attribute) and call.func.attr == "__subclasses__":
                    self._subclasses(call.func)
        self._imports()
        for attribute in self.syntax.environ:
            resolved = resolve(attribute)
            if resolved is not None and resolved.name == "os.environ":
                self._use("environment", attribute.lineno)
        self._reached = {resolved.name for _, _, resolved in calls}

    def weigh(self, flow: Origins | None) -> None:
        self._flow = flow
        for scope, call, resolved in self._calls:
            self._call(scope, call, resolved)
        for scope, reached in self._groped:
            self._gropes(scope, reached)
        if any(word in self.text for word in _TELLING_WORDS):
            self._passed_on()
        for line in self.names.smuggled:
            self._use("dynamic_code", line)
            self._sign("hidden-call", line)
        self._whole_file(self._calls)

    def judgement(self, reach: frozenset[Capability]) -> Judgement:
        alike = list(lookalikes(self.path, self.text))
        findings = [*self._findings(reach), *_told(alike)]
        factors = tuple(
            sorted([*self._factors(reach), *_weighed(alike)], key=lambda factor: (-factor.weight, factor.code))
        )
        findings.sort(key=lambda finding: (finding.line, finding.code))
        capabilities: dict[Capability, tuple[int, ...]] = {
            capability: _first(lines) for capability, lines in sorted(self.uses.items())
        }
        return Judgement(capabilities, tuple(findings), joined(factors), factors)

    def _findings(self, reach: frozenset[Capability]) -> Iterator[Finding]:
        for capability, lines in self.uses.items():
            message = f"uses {capability} on {len(lines)} line{'s' * (len(lines) > 1)}"
            yield Finding(self.path, min(lines), capability, "info", message)
        for code, lines in self.signs.items():
            severity: Severity = "threat" if _threatens(code, reach) else "warning"
            for line in _first(lines):
                yield Finding(self.path, line, code, severity, INDICATORS[code].message)

    def _factors(self, reach: frozenset[Capability]) -> Iterator[RiskFactor]:
        for capability, lines in self.uses.items():
            yield RiskFactor(capability, CAPABILITY_WEIGHTS[capability], _first(lines))
        for code, lines in self.signs.items():
            weight = INDICATORS[code].weight
            yield RiskFactor(code, weight if _threatens(code, reach) else round(weight / 3, 3), _first(lines))

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

    def is_worth_following(self) -> bool:
        """Say whether any value could flow from a telling source to a telling place."""
        sources = not self._reached.isdisjoint(DECODERS | DOWNLOADERS) or "network" in self.uses
        if sources or any(hint in self.text for hint in _HINTS):
            return True
        if any(word in self.text for word in _PATH_WORDS) and _PATHS.search(self.text):
            return True
        return not self._reached.isdisjoint(EXECUTORS) and any(reader in self.text for reader in (*_READERS, "^"))

    def _call(self, scope: Scope, call: ast.Call, resolved: Resolved) -> None:
        name, line = resolved.name, call.lineno
        capability = capability_of(name)
        if resolved.hidden and capability in ("dynamic_code", "process", "network", "native_code"):
            self._sign("hidden-call", line)
        if name in EXECUTORS:
            self._executed(call, scope, name)
        elif capability == "process" and not name.startswith(_NO_COMMANDS):
            self._started(call, name, scope)
        elif name in UNPICKLERS:
            self._unpickled(call, scope)
        elif name in SENDERS or (name == ".send" and "network" in self.uses):
            self._sent(call, scope)
        elif name in _LOADERS:
            self._loaded(call)
        elif capability == "native_code":
            self._native(name.rpartition(".")[2], line)
            if name == "mmap.mmap" and any(getattr(keyword.value, "value", None) == 7 for keyword in call.keywords):
                self._sign("shellcode", line)
        else:
            self._touched(call, name, scope)

    def _loaded(self, call: ast.Call) -> None:
        """Code that is loaded from a file which something downloaded was written to."""
        written: set[str] = set() if self._flow is None else self._flow.written
        if any(path in text for path in written for text in _texts(call)):
            self._sign("exec-of-downloaded", call.lineno)

    def _native(self, function: str, line: int) -> None:
        if function in _INJECTORS:
            self._sign("shellcode", line)
        if function in _LIBC:  # there are ways to start a process that do not go round everybody who looks
            self._sign("hidden-call", line)

    def _unpickled(self, call: ast.Call, scope: Scope) -> None:
        """What is pickled in the same breath is a live object's copy, wherever the object came from."""
        argument = call.args[0] if call.args else None
        pickler = self.names.resolve(argument.func) if isinstance(argument, ast.Call) else None
        copied = pickler is not None and pickler.name in PICKLERS
        if not copied and self._origin(call.args, scope) & Origin.DOWNLOADED:
            self._sign("unpickle-of-downloaded", call.lineno)

    def _origin(self, expressions: list[ast.expr], scope: Scope) -> int:
        found = Origin.NOWHERE
        if self._flow is not None:
            for expression in expressions:
                found |= self._flow.of(expression, scope)
        return found

    def _executed(self, call: ast.Call, scope: Scope, name: str) -> None:
        self._runs(self._origin(call.args[:1], scope), call.lineno)
        if name in _RUNS_TEXT and call.args and self._depth < _DEEPEST:
            folded = self.names.folded(call.args[0])
            if folded is not None and len(folded[0]) <= _LONGEST_CODE:
                self._nested(*folded, line=call.lineno)

    def _runs(self, origin: int, line: int) -> None:
        for known, code in (
            (Origin.DECODED, "exec-of-decoded"),
            (Origin.DOWNLOADED, "exec-of-downloaded"),
            (Origin.DATA, "exec-of-data"),
        ):
            if origin & known:
                self._sign(code, line)

    def _nested(self, text: str, joined: bool, *, line: int) -> None:
        """Judge constant text that is run as code, as a part of this file."""
        tree = parse(self.path, text.strip())
        if not isinstance(tree, ast.Module):
            return
        syntax = Syntax(tree)
        inner = _Evidence(Unit(self.path, text, syntax, Names(syntax)), self._depth + 1)
        inner.collect()
        inner.weigh(Origins(Program([Unit(*inner.unit)])) if inner.is_worth_following() else None)
        for capability in inner.uses:
            self._use(capability, line)
        for code in inner.signs:
            self._sign(code, line)
        if joined and inner.uses:
            self._sign("hidden-call", line)

    @property
    def unit(self) -> Unit:
        """The file that this is about."""
        return Unit(self.path, self.text, self.syntax, self.names)

    def _gropes(self, scope: Scope, reached: ast.expr) -> None:
        """A function of a telling module under a name that is made elsewhere."""
        groped = self.names.groped(reached)
        capability = None if groped is None else _GROPED.get(groped.owner)
        if groped is None or capability is None:
            return
        self._use(capability, reached.lineno)
        made = self._origin([groped.attribute], scope) & (Origin.DECODED | Origin.DOWNLOADED)
        self._sign("hidden-call" if made else "unknown-call", reached.lineno)

    def _subclasses(self, function: ast.Attribute) -> None:
        """All classes that there are, and by them all that the process can do; those below one of its own are none."""
        resolved = self.names.resolve(function.value)
        climbs = any(word in self.text for word in _CLIMBS)
        if climbs if resolved is None else "." not in resolved.name:
            self._use("dynamic_code", function.lineno)

    def _passed_on(self) -> None:
        """Telling functions that are handed to others to be called: ``map(exec, parts)``, ``@exec``."""
        for scope in self.syntax.scopes:
            for call in scope.calls:
                arguments = [*call.args, *(keyword.value for keyword in call.keywords)]
                for node, resolved in self.names.references(arguments):
                    self._handed(call, node, resolved, scope, [each for each in arguments if each is not node])
        for scope in self.syntax.scopes:
            if scope.name in ("__reduce__", "__reduce_ex__"):  # called with what stands beside it, when it is unpickled
                for node, resolved in self.names.references(scope.returns):
                    self._use(capability_of(resolved.name) or "dynamic_code", node.lineno)
                    self._sign("hidden-call", node.lineno)
        for _, decorator in self.syntax.decorators:
            for _, resolved in self.names.references([decorator]):
                self._use(capability_of(resolved.name) or "dynamic_code", decorator.lineno)
                self._sign("hidden-call", decorator.lineno)

    def _handed(self, call: ast.Call, node: ast.expr, resolved: Resolved, scope: Scope, others: list[ast.expr]) -> None:
        capability = capability_of(resolved.name) or "dynamic_code"
        self._use(capability, node.lineno)
        function = self.names.resolve(call.func)
        taken = isinstance(call.func, ast.Lambda) or (function is not None and function.name in ("setattr", "type"))
        if resolved.hidden or taken:
            self._sign("hidden-call", node.lineno)
        origin = self._origin(others, scope)
        if capability == "dynamic_code":
            self._runs(origin, call.lineno)
            return
        if origin & Origin.DECODED:
            self._sign("run-of-decoded", call.lineno)
        if origin & Origin.DOWNLOADED:
            self._sign("run-of-downloaded", call.lineno)
        texts = _texts(call)
        if any(SHELL_DROPPER.search(text) for text in [*texts, " ".join(texts)]):
            self._sign("shell-dropper", call.lineno)

    def _started(self, call: ast.Call, name: str, scope: Scope) -> None:
        origin = self._origin(call.args[:1] if name.startswith("subprocess") else call.args, scope)
        texts = self._command(call)
        written: set[str] = set() if self._flow is None else self._flow.written
        if origin & Origin.DECODED:
            self._sign("run-of-decoded", call.lineno)
        if origin & Origin.DOWNLOADED or any(path in text for path in written for text in texts):
            self._sign("run-of-downloaded", call.lineno)
        if any(SHELL_DROPPER.search(text) for text in [*texts, " ".join(texts)]):
            self._sign("shell-dropper", call.lineno)
        if not _WRITING_COMMANDS.isdisjoint(texts) and any(STARTUP_PATH.search(text) for text in texts):
            self._sign("startup-write", call.lineno)
        if "-c" in texts and self._depth < _DEEPEST:  # an interpreter that is given its program
            for text in texts[texts.index("-c") + 1 :][:1]:
                self._nested(text, joined=False, line=call.lineno)
        shell = name in _SHELLS or any(
            keyword.arg == "shell" and getattr(keyword.value, "value", None) is True for keyword in call.keywords
        )
        if shell and call.args and not isinstance(call.args[0], ast.Constant):
            self._sign("dynamic-shell", call.lineno)

    def _command(self, call: ast.Call) -> list[str]:
        """Return the constant text in a call's arguments, in order, put together or not."""
        folded = (self.names.folded(argument) for argument in call.args)
        return [*(text[0] for text in folded if text is not None), *_texts(call)]

    def _sent(self, call: ast.Call, scope: Scope) -> None:
        origin = self._origin([*call.args, *(keyword.value for keyword in call.keywords)], scope)
        if origin & Origin.ENVIRONMENT:
            self._sign("environment-sent", call.lineno)
        if origin & Origin.CREDENTIAL:
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
        elif name in _REGISTRY:
            paths, writes = call.args, "winreg.SetValueEx" in self._reached or "winreg.SetValue" in self._reached
        elif isinstance(call.func, ast.Attribute) and call.func.attr == "read":
            paths, writes = call.args, False  # as a parser of settings does
        elif name not in ("open", "io.open"):
            return
        if writes and self._origin(paths, scope) & Origin.STARTUP:
            self._sign("startup-write", call.lineno)
        if self._origin(call.args[:1] if name in _COPIERS else paths, scope) & Origin.CREDENTIAL:
            self._sign("credential-read", call.lineno)

    def _whole_file(self, calls: list[tuple[Scope, ast.Call, Resolved]]) -> None:
        """Look for what no single call shows."""
        duplicated = [call.lineno for _, call, resolved in calls if resolved.name == "os.dup2" and _of_socket(call)]
        started = [call for _, call, resolved in calls if capability_of(resolved.name) == "process"]
        shell = any(SHELL_PROGRAM.search(text) for call in started for text in _texts(call))
        piped = [call.lineno for call in started if sum(_of_socket(keyword.value) for keyword in call.keywords) > 1]
        if (shell and duplicated) or piped:
            self.signs.setdefault("socket-to-shell", set()).update(duplicated + piped)
        if self.path.rpartition("/")[2] == "setup.py":
            for _, call, resolved in calls:
                if capability_of(resolved.name) == "network":
                    self._sign("network-at-install", call.lineno)
        if self.path.endswith(".pth"):
            self._sign("code-at-start", 1)
        if self._flow is not None and any(path.endswith(".py") for path in self._flow.written):
            for _, call, resolved in calls:
                if resolved.name in ("sys.path.insert", "sys.path.append", "site.addsitedir"):
                    self._sign("import-of-downloaded", call.lineno)
        for constant in self.syntax.long_constants:
            if _looks_encoded(constant.value):
                self._sign("encoded-constant", constant.lineno)
        for match in islice(_OUT_OF_SIGHT.finditer(self.text), MAX_LINES):
            self._sign("code-out-of-sight", self.text.count("\n", 0, match.start()) + 1)


def _told(alike: list[Finding]) -> list[Finding]:
    """Return the first lookalikes, threats before warnings, so that no number of these hides one of those."""
    return sorted(alike, key=lambda finding: finding.severity != "threat")[:MAX_LINES]


def _weighed(alike: list[Finding]) -> Iterator[RiskFactor]:
    for code in sorted({finding.code for finding in alike}):
        threats = {finding.line for finding in alike if finding.code == code and finding.severity == "threat"}
        lines = threats or {finding.line for finding in alike if finding.code == code}
        weight = INDICATORS[code].weight
        yield RiskFactor(code, weight if threats else round(weight / 3, 3), _first(lines))


def _threatens(code: str, reach: frozenset[Capability]) -> bool:
    return any(needed <= reach for needed in INDICATORS[code].needs)


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
