"""What no single call shows: signs that only the whole of a file gives."""

import ast
import re
import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from aetherra.plugins.self_incorporation.code.names import Resolved
from aetherra.plugins.self_incorporation.code.origins import Origins
from aetherra.plugins.self_incorporation.code.pattern import Pattern
from aetherra.plugins.self_incorporation.code.program import Unit
from aetherra.plugins.self_incorporation.code.rules import SENDERS, SHELL_PROGRAM, capability_of
from aetherra.plugins.self_incorporation.code.signs import MAX_LINES, Signs
from aetherra.plugins.self_incorporation.code.sinks import sends_on, texts_of
from aetherra.plugins.self_incorporation.code.syntax import Scope, dotted_text

__all__ = ["Seen", "correlate"]

_ENCODED = Pattern(r"[A-Za-z0-9+/=_\-\s]+")
_OUT_OF_SIGHT = re.compile(r";[ \t]{80,}\S|\S[ \t]{80,};")
_WALK = Pattern(r"\{[\w.\[\]]{0,80}\.__(?:globals|builtins|subclasses|mro|base|bases|code|dict)__")
_WALK_WORDS = (".__globals__", ".__builtins__", ".__subclasses__", ".__mro__", ".__base", ".__code__", ".__dict__")
# An address of a wallet, or a pattern of one.
_WALLET = Pattern(
    r"\bbc1[a-z0-9\[(]|\[13\]\[|\[13L?\]|0x\[a-fA-F0-9\]|0x[0-9a-fA-F]{40}\b|\b[13][1-9A-HJ-NP-Za-km-z]{26,33}\b"
)
_PASTES = frozenset(["pyperclip.paste", "clipboard.paste", "win32clipboard.GetClipboardData"])
_COPIES = frozenset(
    ["pyperclip.copy", "clipboard.copy", "win32clipboard.SetClipboardData", "win32clipboard.SetClipboardText"]
)
_KEYS = frozenset(
    ["pynput.keyboard.Listener", "keyboard.on_press", "keyboard.hook", "keyboard.record", "keyboard.on_release"]
)
_SCREENS = frozenset(["PIL.ImageGrab.grab", "pyautogui.screenshot", "mss.mss", "pyscreenshot.grab"])
_PLACES = Pattern(r"\w+://[\w.-]+|^(?:\d{1,3}\.){3}\d{1,3}$")
# These have a function called with whatever the process does.
_WATCHERS = frozenset(
    ["sys.setprofile", "sys.settrace", "sys.addaudithook", "threading.setprofile", "threading.settrace"]
)
_FURTHEST = 2
_PATHS_OF_MODULES = frozenset(["sys.path.insert", "sys.path.append", "site.addsitedir"])


class Seen(NamedTuple):
    """One call of a file: where it stands, and what it reaches; ``.send`` is a method of who knows what."""

    scope: Scope
    call: ast.Call
    resolved: Resolved


def correlate(unit: Unit, signs: Signs, calls: Sequence[Seen], flow: Origins | None) -> None:
    """Note what the calls of a file show together, and what its text does."""
    _shells(signs, calls)
    _installs(unit, signs, calls)
    _spies(unit, signs, calls)
    _interposes(unit, signs, calls, flow)
    if flow is not None and any(path.endswith(".py") for path in flow.written):
        for _, call, resolved in calls:
            if resolved.name in _PATHS_OF_MODULES:
                signs.sign("import-of-downloaded", call.lineno)
    for constant in unit.syntax.long_constants:
        if _looks_encoded(constant.value):
            signs.sign("encoded-constant", constant.lineno)
    for match in islice(_OUT_OF_SIGHT.finditer(unit.text), MAX_LINES):
        signs.sign("code-out-of-sight", unit.text.count("\n", 0, match.start()) + 1)
    if any(word in unit.text for word in _WALK_WORDS):
        for line in islice(_walks(unit), MAX_LINES):
            signs.sign("attribute-walk", line)


def _shells(signs: Signs, calls: Sequence[Seen]) -> None:
    duplicated = [call.lineno for _, call, resolved in calls if resolved.name == "os.dup2" and _of_socket(call)]
    started = [call for _, call, resolved in calls if capability_of(resolved.name) == "process"]
    shell = any(SHELL_PROGRAM.search(text) for call in started for text in texts_of(call))
    piped = [call.lineno for call in started if sum(_of_socket(keyword.value) for keyword in call.keywords) > 1]
    if (shell and duplicated) or piped:
        for line in duplicated + piped:
            signs.sign("socket-to-shell", line)


def _installs(unit: Unit, signs: Signs, calls: Sequence[Seen]) -> None:
    if unit.path.rpartition("/")[2] == "setup.py":
        for _, call, resolved in calls:
            if capability_of(resolved.name) == "network":
                signs.sign("network-at-install", call.lineno)
    if unit.path.endswith(".pth"):
        signs.sign("code-at-start", 1)


def _spies(unit: Unit, signs: Signs, calls: Sequence[Seen]) -> None:
    """Recorders of what a person types, sees and copies."""
    pastes = False
    copies: list[int] = []
    for _, call, resolved in calls:
        if resolved.name in _KEYS:
            signs.sign("keys-recorded", call.lineno)
        elif resolved.name in _SCREENS:
            signs.sign("screen-recorded", call.lineno)
        elif resolved.name in _COPIES:
            copies.append(call.lineno)
        pastes = pastes or resolved.name in _PASTES
    if pastes and copies and _WALLET.search(unit.text):
        for line in copies:
            signs.sign("clipboard-swap", line)


def _interposes(unit: Unit, signs: Signs, calls: Sequence[Seen], flow: Origins | None) -> None:
    """Functions of others that are replaced by one that sends to a place it names."""
    if flow is None or "network" not in signs.uses:
        return
    posing = list(_posing(unit)) if "sys.modules[" in unit.text else []
    if posing and any(_sends(resolved) for _, _, resolved in calls):
        for line in posing:
            signs.sign("interposed", line)
    replaced = dict(_replaced(unit, calls))
    if not replaced:
        return
    _reach_further(unit, calls, replaced)
    for scope, call, resolved in calls:
        owners = [replaced[name] for name in _enclosing(scope) if name in replaced]
        if owners and (_sends(resolved) or capability_of(resolved.name) == "network"):
            given = [*call.args, *(keyword.value for keyword in call.keywords)]
            if any(
                _PLACES.search(text)
                for argument in given
                for text in (flow.sketch(argument, scope), *_constants(argument))
            ):
                signs.sign("interposed", call.lineno)


def _reach_further(unit: Unit, calls: Sequence[Seen], replaced: dict[str, int]) -> None:
    """Add the functions of the file that these call, or hand on to be called."""
    own = {scope.name for scope in unit.syntax.scopes if scope.name}
    for _ in range(_FURTHEST):
        for scope, call, _ in calls:
            if any(name in replaced for name in _enclosing(scope)):
                given = [call.func, *call.args, *(keyword.value for keyword in call.keywords)]
                for name in (each.id for each in given if isinstance(each, ast.Name)):
                    if name in own:
                        replaced.setdefault(name, call.lineno)


def _sends(resolved: Resolved) -> bool:
    return resolved.name in SENDERS or sends_on(resolved.name)


def _posing(unit: Unit) -> Iterator[int]:
    """Yield the lines that put something made here in the place of a module of the standard library."""
    for node in ast.walk(unit.syntax.tree):
        for target in node.targets if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) else ():
            if (
                isinstance(target, ast.Subscript)
                and dotted_text(target.value) == "sys.modules"
                and isinstance(target.slice, ast.Constant)
                and target.slice.value in sys.stdlib_module_names
            ):
                yield target.lineno


def _replaced(unit: Unit, calls: Sequence[Seen]) -> Iterator[tuple[str, int]]:
    """Yield the file's own functions that are put in the place of another module's, with the line that does it."""
    names = unit.names
    for scope in unit.syntax.scopes:
        for targets, value in scope.bindings:
            maker = value.func if isinstance(value, ast.Call) else value
            if isinstance(maker, ast.Name) and any(_is_of_another(names.aliases, target) for target in targets):
                yield maker.id, value.lineno
    for _, call, resolved in calls:
        if resolved.name in _WATCHERS and call.args and isinstance(call.args[0], ast.Name):
            yield call.args[0].id, call.lineno
        elif resolved.name == "setattr" and len(call.args) == 3 and isinstance(call.args[2], ast.Name):
            owner = names.resolve(call.args[0])
            if owner is not None and not owner.name.startswith("."):
                yield call.args[2].id, call.lineno


def _is_of_another(aliases: dict[str, str], target: str) -> bool:
    root, dot, _ = target.partition(".")
    reached = aliases.get(root, "")
    return bool(dot and reached) and not reached.startswith(".")


def _enclosing(scope: Scope) -> Iterator[str]:
    level: Scope | None = scope
    while level is not None:
        yield level.name
        level = level.parent


def _constants(node: ast.expr) -> Iterator[str]:
    return (part.value for part in ast.walk(node) if isinstance(part, ast.Constant) and isinstance(part.value, str))


def _walks(unit: Unit) -> Iterator[int]:
    """Yield the lines of constant text that reaches inside when it is formatted; docstrings reach for nothing."""
    for scope in unit.syntax.scopes:
        values = [value for _, value in scope.bindings] + [argument for call in scope.calls for argument in call.args]
        owners = [call.func.value for call in scope.calls if isinstance(call.func, ast.Attribute)]
        for value in [*values, *owners, *scope.returns]:
            if isinstance(value, ast.Constant) and isinstance(value.value, str) and _WALK.search(value.value):
                yield value.lineno


def _of_socket(node: ast.AST) -> bool:
    return any(isinstance(part, ast.Attribute) and part.attr == "fileno" for part in ast.walk(node))


def _looks_encoded(value: object) -> bool:
    text = value.decode("latin-1") if isinstance(value, bytes) else value
    if not isinstance(text, str) or _ENCODED.fullmatch(text) is None or len(text.split()) > len(text) / 40:
        return False
    return len(set(text)) >= 16 and any(map(str.isdigit, text))
