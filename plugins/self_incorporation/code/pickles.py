"""What a pickle would call when it is loaded, read off its opcodes without loading it."""

from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["Called", "calls_of", "is_telling", "looks_pickled"]

_TELLING_MODULES = frozenset(
    (
        *("asyncio", "bdb", "code", "codeop", "ctypes", "functools", "importlib", "nt", "operator", "os", "pdb", "pip"),
        *("posix", "pty", "runpy", "shutil", "socket", "subprocess", "sys", "types", "webbrowser"),
    )
)
_TELLING_BUILTINS = frozenset(
    ["__import__", "breakpoint", "compile", "eval", "exec", "execfile", "getattr", "globals", "open", "setattr", "vars"]
)
_MAGIC = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


class Called(NamedTuple):
    """A thing that a pickle reaches for; no module where only loading it would tell."""

    module: str
    name: str


def looks_pickled(data: bytes) -> bool:
    """Say whether bytes begin as pickles do today."""
    return data[:2] in _MAGIC


def is_telling(called: Called) -> bool:
    """Say whether no data needs such a thing."""
    root = called.module.partition(".")[0]
    return root in _TELLING_MODULES or (root in ("builtins", "__builtin__") and called.name in _TELLING_BUILTINS)


def calls_of(data: bytes) -> Iterator[Called]:
    """Yield what a pickle reaches for.

    Raises:
        Exception: Any; what is no pickle may do anything to who reads it as one.
    """
    import pickletools  # noqa: PLC0415  # 3 ms, for who meets a pickle

    texts: list[str] = []
    memo: dict[int, str] = {}
    for opcode, argument, _ in pickletools.genops(data):
        name = opcode.name
        if name in ("GLOBAL", "INST"):
            module, _, member = str(argument).partition(" ")
            yield Called(module, member)
        elif name == "STACK_GLOBAL":
            yield Called(*(texts[-2:] if len(texts) > 1 else ("", "")))
        elif name in ("MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT"):
            memo[len(memo) if argument is None else int(argument)] = texts[-1] if texts else ""
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            texts = [*texts[-1:], memo.get(int(argument or 0), "")]
        elif isinstance(argument, str):
            texts = [*texts[-1:], argument]
