"""What one source file held: compiled once, its lines at hand for tracebacks as long as any of that code is left."""

from __future__ import annotations

import importlib.util
import linecache
import threading
import weakref
from pathlib import Path
from types import CodeType

from aetherra.kernel.imports import Import, imports_inside

_lock = threading.RLock()
_contents: weakref.WeakValueDictionary[tuple[str, bytes], Content] = weakref.WeakValueDictionary()
_pinned: dict[Filename, dict[int, weakref.ref[CodeType]]] = {}


class Filename(str):
    """A file's path, as code made of one content of it says where it is from.

    It equals the path and prints as it, so that debuggers, coverage and editors find the file; but each object is a
    key of its own, under which ``linecache`` has the lines of that content. The hash is one of C, as tracemalloc
    asks for it in the middle of an allocation. Copied or pickled it is a plain ``str``; ``marshal`` refuses it, and
    so does ``cProfile`` to write its figures to a file. What C prints by itself, as an error that ends a thread, quotes
    the disk before Python 3.13.
    """

    __slots__ = ()
    __hash__ = object.__hash__

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        return str, (str(self),)


class Content:
    """The bytes of a source file, and the code made of them, which all generations with these bytes share.

    Use ``Content.of``. It is forgotten once no generation has it; its lines, once none of its code is left.
    """

    __slots__ = ("__weakref__", "_code", "_late_imports", "data", "filename")

    def __init__(self, path: str, data: bytes) -> None:
        self.filename = Filename(path)
        self.data = data
        self._code: CodeType | None = None
        self._late_imports: tuple[Import, ...] | None = None

    @classmethod
    def of(cls, path: Path, data: bytes) -> Content:
        """Return the content that a file has with these bytes, the same one as long as somebody keeps it."""
        key = (str(path), data)
        with _lock:
            content = _contents.get(key)
            if content is None:
                content = _contents[key] = cls(*key)
            return content

    def text(self) -> str:
        """Return it decoded.

        Raises:
            SyntaxError: It names an encoding that there is not.
            UnicodeDecodeError: It is not in the encoding that it names, or in UTF-8.
        """
        return importlib.util.decode_source(self.data)

    def code(self) -> CodeType:
        """Return it compiled; no bytecode is read or written.

        Raises:
            SyntaxError: It is not Python; says the file, and quotes the line as it was read.
        """
        with _lock:
            if self._code is None:
                self._code = self._made()
            return self._code

    def late_imports(self) -> tuple[Import, ...]:
        """Return what its functions import when they are called.

        Raises:
            SyntaxError: It is not Python.
        """
        if self._late_imports is None:
            self._late_imports = tuple(dict.fromkeys(imports_inside(self.code())))
        return self._late_imports

    def _made(self) -> CodeType:
        # Without a time of change it is never compared with the file. A warning of the compiler quotes it, too.
        linecache.cache[self.filename] = (len(self.data), None, self._lines(), str(self.filename))
        try:
            code = self._compile(self.data, self.filename)
        except SyntaxError as exc:
            linecache.cache.pop(self.filename, None)
            raise self._as_read(exc) from exc.__cause__
        except BaseException:
            linecache.cache.pop(self.filename, None)
            raise
        _unpin_after(code, self.filename)
        return code

    def _compile(self, source: str | bytes, name: str) -> CodeType:
        try:
            return compile(source, name, "exec", dont_inherit=True)
        except (ValueError, RecursionError, MemoryError, OverflowError) as exc:
            raise SyntaxError(f"it cannot be compiled: {str(exc) or type(exc).__name__}") from exc

    def _as_read(self, fault: SyntaxError) -> SyntaxError:
        """Return the error as the bytes have it: the compiler quotes, and measures, what is on disk by now."""
        if not self._is_on_disk():
            try:
                self._compile(self.text(), f"<{self.filename}>")  # which is no file
            except SyntaxError as exc:
                fault = exc
            except UnicodeDecodeError:
                pass
        fault.filename = str(self.filename)
        fault.text = self._line(fault.lineno)
        return fault

    def _is_on_disk(self) -> bool:
        try:
            return Path(self.filename).read_bytes() == self.data
        except OSError:
            return False

    def _line(self, number: int | None) -> str | None:
        lines = self._lines()
        return lines[number - 1] if number is not None and 0 < number <= len(lines) else None

    def _lines(self) -> list[str]:
        try:
            text = self.text()
        except (SyntaxError, UnicodeDecodeError):
            return []
        return [line + "\n" for line in text.removesuffix("\n").split("\n")]


def _unpin_after(code: CodeType, filename: Filename) -> None:
    """Have ``linecache`` forget the lines once the code, and all functions made of it, are gone."""

    def forget(ref: weakref.ref[CodeType]) -> None:
        living.pop(id(ref), None)
        if not living:
            _pinned.pop(filename, None)
            linecache.cache.pop(filename, None)

    parts = [code]
    for part in parts:  # it grows by what is inside of each
        parts += [constant for constant in part.co_consts if type(constant) is CodeType]
    refs = [weakref.ref(part, forget) for part in parts]
    living = {id(ref): ref for ref in refs}
    _pinned[filename] = living
