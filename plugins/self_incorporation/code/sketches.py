"""What a path or an address looks like as far as the source tells: ``*`` stands where only running it would.

Nothing of the source is run. A sketch says what a place is about (``~/.ssh/*``); it opens nothing.
"""

import ast
from collections.abc import Callable, Iterable

from aetherra.plugins.self_incorporation.code.syntax import Scope, dotted_text

__all__ = ["Sketches"]

_UNKNOWN = "*"
_LONGEST = 400
_DEEPEST = 9
_MOST_BINDINGS = 4
_HOMES = frozenset(["HOME", "USERPROFILE"])
# What these return is what they are given, to whoever asks which place it is.
_SAME = frozenset(
    (
        *("os.path.expanduser", "os.path.expandvars", "os.path.abspath", "os.path.realpath", "os.path.normpath"),
        *("os.fspath", "str", "glob.glob", "glob.iglob", "sorted", "list", "tuple", "set", "reversed", "iter"),
    )
)
_SAME_METHODS = frozenset(["expanduser", "resolve", "absolute", "as_posix", "as_uri", "strip", "lower", "encode"])
_JOINERS = frozenset(["os.path.join", "posixpath.join", "ntpath.join"])
_PATHS = frozenset(f"pathlib.{kind}" for kind in ("Path", "PurePath", "PosixPath", "WindowsPath", "PurePosixPath"))
_LISTERS = frozenset(["os.listdir", "os.scandir", "os.walk"])
_PACKAGES = frozenset(
    (
        *("site.getsitepackages", "site.getusersitepackages", "sysconfig.get_path", "sysconfig.get_paths"),
        *("distutils.sysconfig.get_python_lib",),
    )
)


class Sketches:
    """The sketches of one file.

    Args:
        scopes: Of the file.
        reached: Returns the dotted name an expression reaches, or nothing.
    """

    def __init__(self, scopes: Iterable[Scope], reached: Callable[[ast.expr], str]) -> None:
        self._reached = reached
        self._bound: dict[str, list[ast.expr]] = {}
        for scope in scopes:
            for targets, value in scope.bindings:
                for target in targets:
                    self._bound.setdefault(target, []).append(value)
        self._known: dict[ast.expr, str] = {}
        # Each name is looked into once from each depth: names that stand for names would otherwise multiply.
        self._stands_for: dict[tuple[str, int], str] = {}

    def of(self, node: ast.expr) -> str:
        """Return the sketch of an expression; ``*`` if nothing of it is known."""
        if (known := self._known.get(node)) is None:
            known = self._known[node] = self._of(node, 0)
        return known

    def _of(self, node: ast.expr, depth: int) -> str:  # noqa: C901 - one line for each kind of expression
        if depth > _DEEPEST:
            return _UNKNOWN
        deeper = depth + 1
        match node:
            case ast.Constant(value=str(text)):
                return text[:_LONGEST]
            case ast.Constant(value=bytes(data)):
                return data[:_LONGEST].decode("latin-1")
            case ast.Name(id=name):
                return self._named(name, deeper)
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                return (self._of(left, deeper) + self._of(right, deeper))[:_LONGEST]
            case ast.BinOp(left=left, op=ast.Div(), right=right):
                return self._joined([left, right], deeper)
            case ast.BinOp(left=left, op=ast.Mod()):
                return self._of(left, deeper).replace("%s", _UNKNOWN)
            case ast.JoinedStr(values=values):
                return "".join(self._of(value, deeper) for value in values)[:_LONGEST]
            case ast.FormattedValue(value=value) | ast.Starred(value=value) | ast.Await(value=value):
                return self._of(value, deeper)
            case ast.Subscript(value=value, slice=key):
                if self._reached(value) == "os.environ":
                    return self._variable(key)
                return self._of(value, deeper)
            case ast.IfExp(body=one, orelse=other) | ast.BoolOp(values=[one, other, *_]):
                return max(self._of(one, deeper), self._of(other, deeper), key=len)
            case ast.List(elts=elements) | ast.Tuple(elts=elements):
                return max((self._of(element, deeper) for element in elements[:_MOST_BINDINGS]), key=len, default="*")
            case ast.GeneratorExp(elt=element) | ast.ListComp(elt=element):
                return self._of(element, deeper)
            case ast.Attribute(attr=attribute, value=value):
                return self._attribute(node, attribute, value, deeper)
            case ast.Call():
                return self._called(node, deeper)
            case _:
                return _UNKNOWN

    def _named(self, name: str, depth: int) -> str:
        bound = self._bound.get(name)
        if bound is None or depth > _DEEPEST:
            return _UNKNOWN
        if (known := self._stands_for.get((name, depth))) is None:
            known = max((self._of(value, depth) for value in bound[:_MOST_BINDINGS]), key=len)
            self._stands_for[name, depth] = known
        return known

    def _attribute(self, node: ast.expr, attribute: str, value: ast.expr, depth: int) -> str:
        if attribute == "parent":
            return self._of(value, depth).rpartition("/")[0] or _UNKNOWN
        if attribute in ("path", "name"):
            return self._of(value, depth)
        text = dotted_text(node)
        return _UNKNOWN if text is None else self._named(text, depth)

    def _variable(self, key: ast.expr) -> str:
        if not (isinstance(key, ast.Constant) and isinstance(key.value, str)):
            return _UNKNOWN
        return "~" if key.value in _HOMES else f"%{key.value}%"

    def _joined(self, parts: list[ast.expr], depth: int) -> str:
        joined = ""
        for part in parts:
            text = self._of(part, depth)
            joined = text if text[:1] in ("/", "~") or not joined else f"{joined.rstrip('/')}/{text}"[:_LONGEST]
        return joined

    def _called(self, call: ast.Call, depth: int) -> str:
        name, arguments = self._reached(call.func), call.args
        method = call.func.attr if isinstance(call.func, ast.Attribute) else ""
        if name in _PACKAGES:
            return "/site-packages"
        if name == "pathlib.Path.home":
            return "~"
        if name in ("os.getenv", "os.environ.get") and arguments:
            return self._variable(arguments[0])
        if arguments and (name in _JOINERS or name in _PATHS):
            return self._joined(arguments, depth)
        if arguments and name in _SAME:
            return self._of(arguments[0], depth)
        if arguments and name in _LISTERS:
            return self._of(arguments[0], depth).rstrip("/") + "/*"
        if not isinstance(call.func, ast.Attribute):
            return _UNKNOWN
        owner = call.func.value
        if method in ("joinpath", "glob", "rglob") and arguments:
            return self._joined([owner, *arguments], depth)
        if method == "iterdir":
            return self._of(owner, depth).rstrip("/") + "/*"
        if method == "with_name" and arguments:
            return self._of(owner, depth).rpartition("/")[0] + "/" + self._of(arguments[0], depth)
        if method == "format":
            return self._of(owner, depth)
        return self._of(owner, depth) if method in _SAME_METHODS else _UNKNOWN
