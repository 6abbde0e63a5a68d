"""Contents of files: compiled once, and quoted as they were by whatever tells of them."""

from __future__ import annotations

import bdb
import contextlib
import gc
import inspect
import io
import json
import linecache
import logging
import os
import pickle
import py_compile
import traceback
import tracemalloc
import warnings
import weakref
from collections.abc import Callable
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

import pytest

from aetherra.kernel.code import CodeGeneration
from aetherra.kernel.content import Content, Filename, _contents, _pinned

FAULTY = """import warnings


class Faulty:
    '''{0}'''

    def fail(self):
        raise ValueError('{0}')  # {0}


def warn():
    warnings.warn('{0}', UserWarning)  # {0}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "faulty.py"


def load(file: Path, text: str, number: int = 1) -> tuple[CodeGeneration, ModuleType]:
    """Save a file and load it."""
    file.write_text(text)
    code = CodeGeneration("faulty", number, file, "faulty")
    return code, code.load()


def failure(call: Callable[[], object]) -> BaseException:
    """What a call raises."""
    try:
        call()
    except Exception as exc:
        return exc
    raise AssertionError


class TestTracebacks:
    def test_a_traceback_quotes_another_generation(self, file: Path) -> None:
        """Each of two generations, and of what is on disk since, has its own lines, whatever checks the line cache."""
        first, old = load(file, FAULTY.format("old"))
        second, new = load(file, "# moved\n" + FAULTY.format("new"), 2)
        file.write_text("# rejected\n" * 30)
        for _ in range(2):
            for module, line, word in ((old, 8, "old"), (new, 9, "new"), (old, 8, "old")):
                exc = failure(module.Faulty().fail)
                frame = traceback.extract_tb(exc.__traceback__)[-1]
                assert (frame.filename, frame.lineno) == (str(file), line)
                assert frame.line == f"raise ValueError('{word}')  # {word}"
                text = "".join(traceback.format_exception(exc))
                assert f"File \"{file}\", line {line}, in fail\n    raise ValueError('{word}')" in text
                linecache.checkcache()
        first.unload()
        second.unload()

    def test_a_log_quotes_another_generation(self, file: Path) -> None:
        """``exc_info`` in a log, and a warning, too."""
        first, old = load(file, FAULTY.format("old"))
        second, new = load(file, "# moved\n" + FAULTY.format("new"), 2)
        for module, word in ((old, "old"), (new, "new")):
            exc, out = failure(module.Faulty().fail), io.StringIO()
            handler = logging.StreamHandler(out)
            handler.emit(logging.LogRecord("x", 40, "", 0, "oops", (), (type(exc), exc, exc.__traceback__)))
            assert f"# {word}\n" in out.getvalue()
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                module.warn()
            (warning,) = caught
            said = warnings.formatwarning(warning.message, warning.category, warning.filename, warning.lineno)
            assert f"# {word}\n" in said
        first.unload()
        second.unload()

    def test_inspect_shows_another_generation(self, file: Path) -> None:
        """The source of a class and of a function of each generation is that generation's."""
        first, old = load(file, FAULTY.format("old"))
        second, new = load(file, "# moved\n" + FAULTY.format("new"), 2)
        file.unlink()
        for module, word in ((old, "old"), (new, "new")):
            assert f"'''{word}'''" in inspect.getsource(module.Faulty)
            assert inspect.getsource(module.warn).endswith(f"# {word}\n")
            assert inspect.getsource(module).endswith(f"# {word}\n")
        first.unload()
        second.unload()

    def test_an_error_of_a_retired_generation_quotes_the_disk(self, file: Path) -> None:
        """A rejected import, or a generation that is gone, is quoted rightly for as long as its error is kept."""
        code, module = load(file, FAULTY.format("old"))
        kept = [failure(module.Faulty().fail)]
        code.unload()
        file.write_text("1 / 0  # rejected\n")
        kept.append(failure(CodeGeneration("faulty", 2, file, "faulty").load))
        file.write_text("# other\n" * 30)
        del code, module
        gc.collect()
        for exc, line in zip(kept, ("raise ValueError('old')  # old", "1 / 0  # rejected"), strict=True):
            assert traceback.extract_tb(exc.__traceback__)[-1].line == line
        kept.clear()
        del exc
        gc.collect()
        assert str(file) not in [str(name) for name in linecache.cache]
        assert str(file) not in [str(name) for name in _pinned]

    @pytest.mark.parametrize(
        ("line", "offset"),
        [("def f(:  # old\n", 7), ("return x  # old\n", 1), ("x = '  # old\n", 5), ("é = 'é' + 'éé' + (1, 2 3)\n", 22)],
    )
    def test_a_syntax_error_quotes_the_disk(self, file: Path, line: str, offset: int) -> None:
        """Line and place are those of what was read, whatever stage of the compiler refuses it."""
        content = Content.of(file, f"x = 1\n{line}".encode())
        file.write_text("#\n" * 30)
        with pytest.raises(SyntaxError) as caught:
            content.code()
        error = caught.value
        assert (error.filename, error.lineno, error.offset, error.text) == (str(file), 2, offset, line)
        assert line.strip() in "".join(traceback.format_exception(error))
        assert (error.__cause__, error.__suppress_context__) == (None, True)

    def test_a_syntax_error_of_a_file_that_is_gone_hides_it(self, file: Path) -> None:
        """The file may be removed before its code is compiled."""
        with pytest.raises(SyntaxError) as caught:
            Content.of(file, b"x = (\n").code()
        assert (caught.value.lineno, caught.value.text) == (1, "x = (\n")

    @pytest.mark.parametrize("end", ["", "break\n"])
    def test_a_warning_of_the_compiler_quotes_the_disk(
        self, file: Path, end: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It shows the line as it was read, and leaves no lines behind, also if the code is refused afterwards."""
        said: list[str] = []
        content = Content.of(file, f"x = 1 is 1  # old\n{end}".encode())
        file.write_text("# other\n" * 30)
        with warnings.catch_warnings(), contextlib.suppress(SyntaxError):
            warnings.simplefilter("always")
            monkeypatch.setattr(warnings, "showwarning", lambda *args: said.append(warnings.formatwarning(*args[:4])))
            content.code()
        assert said[0].splitlines()[1] == "  x = 1 is 1  # old"
        del content
        gc.collect()
        assert str(file) not in [str(name) for name in linecache.cache]

    @pytest.mark.parametrize(
        "data",
        [b"x = 1\0\n", b"x = '\xff'\n", b"# coding: nope\n", b"# coding: utf-8\nx = '\xff'\n", b"-" * 200_000 + b"1"],
    )
    def test_what_is_no_text_is_not_named(self, file: Path, data: bytes) -> None:
        """Null bytes, a wrong or unknown encoding and code too deep for the compiler are errors that name the file."""
        file.write_text("# other\n")
        with pytest.raises(SyntaxError) as caught:
            Content.of(file, data).code()
        assert (caught.value.filename, caught.value.text) in [(str(file), None), (str(file), "x = 1\0\n")]
        assert "faulty.py" in str(caught.value)

    def test_lines_end_where_python_does_not_end_them(self, file: Path) -> None:
        """A form feed, a foreign line separator or a carriage return in a file moves no line."""
        text = "x = '\u2028\x0b\x0c'\r\n\x0cdef fail():\r\n    1 / 0  # there"
        content = Content.of(file, text.encode())
        names: dict[str, Any] = {}
        exec(content.code(), names)
        frame = traceback.extract_tb(failure(names["fail"]).__traceback__)[-1]
        assert frame.line == "1 / 0  # there"


class TestFilename:
    def test_a_name_is_no_path(self, file: Path) -> None:
        """It is the path for all who compare, print, open, copy or send it."""
        name = Filename(file)
        assert (name, str(name), Path(name), f"{name}", json.dumps(name)) == (
            str(file), str(file), file, str(file), json.dumps(str(file)),
        )  # fmt: skip
        copy = pickle.loads(pickle.dumps(name))
        assert (type(copy), copy) == (str, str(file))

    def test_two_contents_share_a_key(self, file: Path) -> None:
        """Equal names are different keys, of which each is found."""
        one, two = Filename(file), Filename(file)
        table = {one: 1, two: 2, str(file): 3}
        assert (table[one], table[two], table[str(file)]) == (1, 2, 3)

    def test_tracing_memory_ends_the_process(self, file: Path) -> None:
        """What tracemalloc notes of code with such a name can be read and stored."""
        code, module = load(file, "def make():\n    return [bytearray(1000) for _ in range(10)]\n")
        tracemalloc.start(3)
        try:
            kept = module.make()
            snapshot = tracemalloc.take_snapshot()
        finally:
            tracemalloc.stop()
        found = snapshot.filter_traces([tracemalloc.Filter(True, str(file))]).statistics("filename")
        assert sum(one.size for one in found) > 1000 * len(kept)
        snapshot.dump(str(file.with_suffix(".snapshot")))
        code.unload()


class TestSharing:
    def test_equal_files_are_compiled_twice(self, tmp_path: Path) -> None:
        """A file that has not changed since has the same code in the next generation, with builtins of its own."""
        (tmp_path / "__init__.py").write_text("from . import same\n")
        (tmp_path / "same.py").write_text("def f():\n    from . import same\n    return same, __builtins__\n")
        first = CodeGeneration("room", 1, tmp_path / "__init__.py", "room")
        old = first.load()
        (tmp_path / "__init__.py").write_text("from . import same  # edited\n")
        second = CodeGeneration("room", 2, tmp_path / "__init__.py", "room")
        new = second.load()
        assert old.same.f.__code__ is new.same.f.__code__
        assert (old.same.f()[0], new.same.f()[0]) == (old.same, new.same)
        assert old.same.f()[1] is not new.same.f()[1]
        first.unload()
        second.unload()

    def test_equal_size_in_one_second_is_not_seen(self, file: Path) -> None:
        """Two saves of equal size and time are told apart, and no bytecode is written."""
        file.write_text("X = 1\n")
        stat = file.stat()
        first = CodeGeneration("faulty", 1, file, "faulty")
        file.write_text("X = 2\n")
        os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        second = CodeGeneration("faulty", 2, file, "faulty")
        assert (first.load().X, second.load().X) == (1, 2)
        assert list(file.parent.iterdir()) == [file]
        first.unload()
        second.unload()

    def test_bytecode_on_disk_is_believed(self, tmp_path: Path) -> None:
        """A .pyc that lies about a module, or stands without one, is not read."""
        (tmp_path / "lie.py").write_text("X = 'lie'\n")
        py_compile.compile(str(tmp_path / "lie.py"), invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
        py_compile.compile(str(tmp_path / "lie.py"), cfile=str(tmp_path / "alone.pyc"))
        (tmp_path / "lie.py").write_text("X = 'true'\n")
        (tmp_path / "__init__.py").write_text("from .lie import X\n")
        code = CodeGeneration("room", 1, tmp_path / "__init__.py", "room")
        module = code.load()
        assert module.X == "true"
        with pytest.raises(ImportError, match="alone"):
            exec("from . import alone", vars(module))
        code.unload()

    def test_what_nobody_uses_is_kept(self, file: Path) -> None:
        """A content goes with the last generation that has it, its lines with the last code of it."""
        first, module = load(file, FAULTY.format("old"))
        second = CodeGeneration("faulty", 2, file, "faulty")
        assert second.sources[second.root_name].part.content is first.sources[first.root_name].part.content
        content = weakref.ref(first.sources[first.root_name].part.content)
        kept = module.warn.__code__
        first.unload()
        del first, module
        gc.collect()
        assert content() is not None
        second.unload()
        del second
        gc.collect()
        assert content() is None
        assert not [path for path, _ in list(_contents) if path == str(file)]
        assert linecache.getline(kept.co_filename, 12).endswith("# old\n")
        del kept
        gc.collect()
        assert str(file) not in [str(name) for name in linecache.cache]

    def test_clearing_the_line_cache_breaks_the_end(self, file: Path) -> None:
        """Somebody may clear the line cache at any time."""
        code, module = load(file, FAULTY.format("old"))
        linecache.clearcache()
        code.unload()
        del code, module
        gc.collect()
        assert str(file) not in [str(name) for name in _pinned]


class TestTools:
    def test_a_debugger_misses_its_breakpoint(self, file: Path) -> None:
        """A breakpoint that is set by the path of the file stops the code of every generation."""
        stops: list[tuple[str, int]] = []

        class Debugger(bdb.Bdb):
            def user_line(self, frame: FrameType) -> None:
                if self.break_here(frame):
                    stops.append((frame.f_globals["__name__"], frame.f_lineno))
                self.set_continue()

        first, old = load(file, "def f():\n    x = 1\n    return x\n")
        second, new = load(file, "def f():\n    x = 2\n    return x\n", 2)
        debugger = Debugger()
        debugger.set_break(str(file), 3)
        for module in (old, new):
            debugger.runcall(module.f)
        assert stops == [(first.root_name, 3), (second.root_name, 3)]
        first.unload()
        second.unload()
