"""What values do in the calls they flow into: run, start, send, unpickle, write, destroy."""

import ast
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeAlias

from aetherra.plugins.self_incorporation.code.findings import Capability
from aetherra.plugins.self_incorporation.code.names import Resolved
from aetherra.plugins.self_incorporation.code.origin import Origin
from aetherra.plugins.self_incorporation.code.origins import Origins, opened_for_writing
from aetherra.plugins.self_incorporation.code.pattern import Pattern
from aetherra.plugins.self_incorporation.code.pickles import calls_of, is_telling
from aetherra.plugins.self_incorporation.code.program import Unit
from aetherra.plugins.self_incorporation.code.rules import (
    COPIERS,
    CREDENTIAL_URL,
    EXECUTORS,
    HOOK_PATH,
    PAYLOAD,
    PERSONS_FILES,
    PICKLERS,
    RESOLVERS,
    SECRET_OWNER,
    SENDERS,
    SHELL_DROPPER,
    STARTUP_PATH,
    UNPICKLERS,
    capability_of,
)
from aetherra.plugins.self_incorporation.code.signs import Signs
from aetherra.plugins.self_incorporation.code.syntax import Scope

__all__ = ["DESTROYERS", "Sinks", "opens_to_write", "sends_on", "texts_of"]

DESTROYERS = frozenset(["shutil.rmtree", "os.remove", "os.unlink"])
_SHELLS = frozenset(
    ["os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput", "commands.getoutput"]
)
_LOADERS = frozenset(
    [
        "runpy.run_path",
        "importlib.util.spec_from_file_location",
        "importlib.machinery.SourceFileLoader",
        *("imp.load_source", "zipimport.zipimporter"),
    ]
)
# These start no command, but a function of the program or nothing at all.
_NO_COMMANDS = ("os.kill", "os.fork", "multiprocessing.", "subprocess.list2cmdline")
_WRITING_COMMANDS = frozenset(["tee", "cp", "mv", "install", "ln", "dd", "reg"])
_REGISTRY = frozenset(["winreg.OpenKey", "winreg.OpenKeyEx", "winreg.CreateKey", "winreg.CreateKeyEx"])
_INTERPRETERS = frozenset(["PyRun_SimpleString", "PyRun_String"])
_LIBRARIES = frozenset(["CDLL", "PyDLL", "WinDLL", "OleDLL", "LoadLibrary", "dlopen"])
_LIBC = frozenset(["system", "popen", "execve", "execv", "execl", "execlp", "execvp"])
_INJECTORS = frozenset(
    (
        *("VirtualAlloc", "VirtualAllocEx", "VirtualProtect", "WriteProcessMemory", "CreateRemoteThread", "mprotect"),
        *("NtAllocateVirtualMemory", "QueueUserAPC", "memfd_create"),
    )
)
_RUNS_TEXT = frozenset(["exec", "eval", "compile", "timeit.timeit"])
_LONGEST_CODE = 100_000
# Modules so telling that to take a function of theirs by an unknown name is a use of what they can do.
_GROPED: Mapping[str, Capability] = {
    **dict.fromkeys(["os", "posix", "nt", "subprocess", "pty"], "process"),
    **dict.fromkeys(["builtins", "__builtins__", "importlib"], "dynamic_code"),
    "ctypes": "native_code",
}
_SENDS = Pattern(r"^(?:\S*/)?(?:curl|wget|nc|ncat|powershell)(?:\.exe)?\s", re.IGNORECASE)
_MODE = re.compile(r"[rwaxbt+]{1,4}")  # other things that open take the name of a part first
_HOST = Pattern(r"\w+://(?:[^/@\s?#]*@)?([\w.-]+)")

Nested: TypeAlias = Callable[[str, bool, int], None]
"""Judges constant text that is run as code: the text, whether it was put together to hide it, and the line."""


class Sinks:
    """Notes, call by call, what flows where it should not.

    Args:
        unit: The file.
        signs: Where it is noted.
        flow: Where values come from; None where none in this program could come from anywhere that tells.
        reached: All that the file's calls reach.
        nested: Judges code within code.
    """

    def __init__(self, unit: Unit, signs: Signs, flow: Origins | None, reached: set[str], nested: Nested) -> None:
        self._names = unit.names
        self._signs = signs
        self._sign, self._use = signs.sign, signs.use
        self._flow = flow
        self._reached = reached
        self._nested = nested
        self._at_import = set(_called_at_import(unit))

    def call(self, scope: Scope, call: ast.Call, resolved: Resolved) -> None:
        """Look at one call, by what it reaches; ``.name`` is a method of who knows what."""
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
        elif name in SENDERS or (sends_on(name) and "network" in self._signs.uses):
            self._sent(call, name, scope)
        elif name in _LOADERS:
            self._loaded(call, scope)
        elif capability == "native_code":
            self._native(call, name, scope)
        elif name == ".write":
            self._payload(call, scope)
            self._written_to(call, scope)
        elif name in DESTROYERS or name == ".unlink":
            self._destroyed(call, name, scope)
        else:
            self._touched(call, name, scope)

    def groped(self, scope: Scope, reached: ast.expr) -> None:
        """Look at a function of a telling module under a name that is made elsewhere."""
        groped = self._names.groped(reached)
        capability = None if groped is None else _GROPED.get(groped.owner)
        if groped is None or capability is None:
            return
        self._use(capability, reached.lineno)
        made = self._origin([groped.attribute], scope) & (Origin.DECODED | Origin.DOWNLOADED)
        self._sign("hidden-call" if made else "unknown-call", reached.lineno)

    def handed(self, call: ast.Call, node: ast.expr, resolved: Resolved, scope: Scope, others: list[ast.expr]) -> None:
        """Look at a telling function that is handed to another, with what else that is given."""
        capability = capability_of(resolved.name) or "dynamic_code"
        self._use(capability, node.lineno)
        function = self._names.resolve(call.func)
        taken = isinstance(call.func, ast.Lambda) or (function is not None and function.name in ("setattr", "type"))
        if resolved.hidden or taken:
            self._sign("hidden-call", node.lineno)
        origin = self._origin(others, scope)
        if capability == "dynamic_code":
            self._runs(origin, call.lineno)
        else:
            self._starts(origin, texts_of(call), call.lineno)

    def _origin(self, expressions: Iterable[ast.expr], scope: Scope) -> int:
        found = Origin.NOWHERE
        if self._flow is not None:
            for expression in expressions:
                found |= self._flow.of(expression, scope)
        return found

    def _sketch(self, expression: ast.expr, scope: Scope) -> str:
        return "" if self._flow is None else self._flow.sketch(expression, scope)

    @property
    def _written(self) -> set[str]:
        return set() if self._flow is None else self._flow.written

    def _executed(self, call: ast.Call, scope: Scope, name: str) -> None:
        where = 1 if name.startswith("_") else 0
        for code in call.args[where : where + 1]:
            self._runs(self._origin([code], scope), call.lineno)
            folded = self._names.folded(code) if name in _RUNS_TEXT or where else None
            if folded is not None and len(folded[0]) <= _LONGEST_CODE:
                self._nested(*folded, call.lineno)

    def _runs(self, origin: int, line: int) -> None:
        for known, code in (
            (Origin.DECODED, "exec-of-decoded"),
            (Origin.DOWNLOADED, "exec-of-downloaded"),
            (Origin.DATA, "exec-of-data"),
            (Origin.MESSAGE, "exec-of-message"),
        ):
            if origin & known:
                self._sign(code, line)

    def _starts(self, origin: int, texts: list[str], line: int) -> None:
        if origin & Origin.DECODED:
            self._sign("run-of-decoded", line)
        if origin & Origin.DOWNLOADED:
            self._sign("run-of-downloaded", line)
        if origin & Origin.PAYLOAD or any(PAYLOAD.search(text) for text in {*texts}):
            self._sign("payload-written", line)
        if origin & Origin.DROPPER or any(SHELL_DROPPER.search(text) for text in {*texts, " ".join(texts)}):
            self._sign("shell-dropper", line)

    def _started(self, call: ast.Call, name: str, scope: Scope) -> None:
        plain = name.startswith("subprocess") and not name.endswith(".__init__")
        origin = self._origin(call.args[:1] if plain else call.args, scope)
        given = [keyword.value for keyword in call.keywords if keyword.arg in ("args", "input")]
        origin |= self._origin(given, scope) & (Origin.DROPPER | Origin.DECODED)
        texts = self._command(call)
        self._starts(origin, texts, call.lineno)
        if any(path in text for path in self._written for text in texts):
            self._sign("run-of-downloaded", call.lineno)
        if _SENDS.search(" ".join(texts)):
            everything = self._origin(_arguments(call), scope)
            for known, code in ((Origin.ENVIRONMENT, "environment-sent"), (Origin.CREDENTIAL, "credential-sent")):
                if everything & known:
                    self._sign(code, call.lineno)
        if not _WRITING_COMMANDS.isdisjoint(texts) and any(STARTUP_PATH.search(text) for text in texts):
            self._sign("startup-write", call.lineno)
        if "-c" in texts:  # an interpreter that is given its program
            for text in texts[texts.index("-c") + 1 :][:1]:
                self._nested(text, False, call.lineno)
        shell = name in _SHELLS or any(
            keyword.arg == "shell" and getattr(keyword.value, "value", None) is True for keyword in call.keywords
        )
        if shell and call.args and not isinstance(call.args[0], ast.Constant):
            self._sign("dynamic-shell", call.lineno)
            if origin & Origin.MESSAGE:
                self._sign("exec-of-message", call.lineno)

    def _command(self, call: ast.Call) -> list[str]:
        """Return the constant text in a call's arguments, in order, put together or not."""
        folded = (self._names.folded(argument) for argument in call.args)
        named = (
            self._names.given.expressions.get(argument.id) for argument in call.args if isinstance(argument, ast.Name)
        )
        listed = (text for value in named if isinstance(value, ast.List | ast.Tuple) for text in _texts([value]))
        return [*(text[0] for text in folded if text is not None), *texts_of(call), *listed]

    def _loaded(self, call: ast.Call, scope: Scope) -> None:
        """Code that is loaded from a file which something downloaded was written to."""
        fetched = self._origin(call.args, scope) & Origin.DOWNLOADED
        if fetched or any(path in text for path in self._written for text in texts_of(call)):
            self._sign("exec-of-downloaded", call.lineno)

    def _native(self, call: ast.Call, name: str, scope: Scope) -> None:
        function = name.rpartition(".")[2]
        if function in _LIBRARIES or function in _INTERPRETERS:
            self._runs(self._origin(call.args[:1], scope) & ~Origin.DATA, call.lineno)
        if function in _INJECTORS:
            self._sign("shellcode", call.lineno)
        if function in _LIBC:  # there are ways to start a process that do not go round everybody who looks
            self._sign("hidden-call", call.lineno)
        if name == "mmap.mmap":
            parts = [part for value in _arguments(call) for part in ast.walk(value)]
            named = any(getattr(part, "attr", getattr(part, "id", "")) == "PROT_EXEC" for part in parts)
            if named or any(getattr(keyword.value, "value", None) == 7 for keyword in call.keywords):
                self._sign("shellcode", call.lineno)

    def _unpickled(self, call: ast.Call, scope: Scope) -> None:
        """What is pickled in the same breath is a live object's copy, wherever the object came from."""
        argument = call.args[0] if call.args else None
        pickler = self._names.resolve(argument.func) if isinstance(argument, ast.Call) else None
        copied = pickler is not None and pickler.name in PICKLERS
        if not copied and self._origin(call.args, scope) & Origin.DOWNLOADED:
            self._sign("unpickle-of-downloaded", call.lineno)
        data = None if argument is None else self._names.folded_bytes(argument)
        if data is not None and _calls_out(data):
            self._sign("pickle-that-runs", call.lineno)

    def _sent(self, call: ast.Call, name: str, scope: Scope) -> None:
        given = _arguments(call)
        origin = self._origin(given, scope)
        if origin & Origin.ENVIRONMENT:
            self._sign("environment-sent", call.lineno)
        places = [self._sketch(argument, scope) for argument in given] if origin & _PRECIOUS else []
        if origin & Origin.CREDENTIAL and not any(CREDENTIAL_URL.search(place) for place in places):
            self._sign("credential-sent", call.lineno)
        hosts = [match[1] for place in places if (match := _HOST.search(place)) is not None]
        if origin & Origin.SECRET and (sends_on(name) or any(not SECRET_OWNER.search(host) for host in hosts)):
            self._sign("secret-sent", call.lineno)
        if origin & Origin.PERSONAL and hosts:
            self._sign("files-sent", call.lineno)
        if origin & Origin.MEMORY:
            self._sign("memory-sent", call.lineno)
        if origin & Origin.IDENTITY and (scope.parent is None or scope.name in self._at_import):
            self._sign("identity-sent", call.lineno)
        if origin & Origin.ENCODED and name in RESOLVERS:
            self._sign("dns-tunnel", call.lineno)

    def _payload(self, call: ast.Call, scope: Scope) -> None:
        if self._origin(call.args, scope) & Origin.PAYLOAD:
            self._sign("payload-written", call.lineno)

    def _written_to(self, call: ast.Call, scope: Scope) -> None:
        """A stream: of the network, or into a command that runs."""
        stream = call.func.value if isinstance(call.func, ast.Attribute) else None
        if self._flow is None or stream is None or "network" not in self._signs.uses:
            return
        if isinstance(stream, ast.Attribute) and stream.attr == "stdin" and "process" in self._signs.uses:
            if self._origin(call.args, scope) & Origin.DOWNLOADED:
                self._sign("run-of-downloaded", call.lineno)
        elif self._origin([stream], scope) & Origin.DOWNLOADED:
            self._sent(call, ".write", scope)

    def _destroyed(self, call: ast.Call, name: str, scope: Scope) -> None:
        """Whole folders of a person's, or their files once these were encrypted."""
        if name != "shutil.rmtree" and not any(reached.endswith("encrypt") for reached in self._reached):
            return
        owner = call.func.value if name == ".unlink" and isinstance(call.func, ast.Attribute) else None
        for path in call.args[:1] if owner is None else [owner]:
            if PERSONS_FILES.fullmatch(self._sketch(path, scope).replace("\\", "/").rstrip("/")):
                self._sign("files-destroyed", call.lineno)

    def _touched(self, call: ast.Call, name: str, scope: Scope) -> None:
        if self._flow is None:
            return
        paths = call.args if name.endswith("read") else call.args[:1]
        writes = name in ("open", "io.open") and opened_for_writing(call)
        if isinstance(call.func, ast.Attribute) and call.func.attr == "read":
            writes = False  # as a parser of settings does
        elif name[:1] == "." and isinstance(call.func, ast.Attribute):
            paths, writes = [call.func.value], name.startswith(".write") or (name == ".open" and opens_to_write(call))
        elif name in COPIERS:
            paths, writes = call.args[1:2], True
        elif name in _REGISTRY:
            paths, writes = call.args, "winreg.SetValueEx" in self._reached or "winreg.SetValue" in self._reached
        elif name not in ("open", "io.open"):
            return
        if name.startswith(".write"):
            self._payload(call, scope)
        hooks = writes and any(HOOK_PATH.search(self._sketch(path, scope)) for path in paths)
        fetches = hooks and bool(self._origin(call.args, scope) & Origin.DROPPER)
        if fetches or (writes and self._origin(paths, scope) & Origin.STARTUP):
            self._sign("startup-write", call.lineno)
        if self._origin(call.args[:1] if name in COPIERS else paths, scope) & Origin.CREDENTIAL:
            self._sign("credential-read", call.lineno)


_PRECIOUS = Origin.CREDENTIAL | Origin.SECRET | Origin.PERSONAL


def sends_on(name: str) -> bool:
    """Say whether a name is that of a method which sends over a connection."""
    return name == ".send" or (name.endswith((".send", ".sendall", ".sendto")) and capability_of(name) == "network")


def _called_at_import(unit: Unit) -> Iterator[str]:
    """Yield the names of what a module calls when it is imported, and not only when it is run."""
    guarded = [
        range(node.lineno, (node.end_lineno or node.lineno) + 1)
        for node in unit.syntax.tree.body
        if isinstance(node, ast.If) and any(getattr(part, "id", "") == "__name__" for part in ast.walk(node.test))
    ]
    for call in unit.syntax.scopes[0].calls:
        if isinstance(call.func, ast.Name) and not any(call.lineno in lines for lines in guarded):
            yield call.func.id


def opens_to_write(call: ast.Call) -> bool:
    """Say whether ``path.open(mode)`` may write, as far as the mode is told."""
    modes = [*call.args[:1], *(keyword.value for keyword in call.keywords if keyword.arg == "mode")]
    texts = [mode.value for mode in modes if isinstance(mode, ast.Constant) and isinstance(mode.value, str)]
    return any(_MODE.fullmatch(text) is not None and not set(text).isdisjoint("wax+") for text in texts)


def _calls_out(data: bytes) -> bool:
    try:
        return any(is_telling(called) for called in calls_of(data))
    except Exception:  # noqa: BLE001 - it is somebody's bytes; what is no pickle cannot be loaded either
        return False


def _arguments(call: ast.Call) -> list[ast.expr]:
    return [*call.args, *(keyword.value for keyword in call.keywords)]


def texts_of(call: ast.Call) -> list[str]:
    """Return the constant text in a call's arguments, in order."""
    return _texts(_arguments(call))


def _texts(expressions: list[ast.expr]) -> list[str]:
    nodes = (node for expression in expressions for node in ast.walk(expression))
    return [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]
