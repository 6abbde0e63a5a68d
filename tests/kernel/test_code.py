"""Code generations: modules of their own names, over one snapshot, that leave nothing behind."""

from __future__ import annotations

import gc
import importlib
import linecache
import sys
import traceback
import weakref
from pathlib import Path
from types import ModuleType

import pytest

from aetherra.kernel.code import CodeGeneration
from aetherra.kernel.content import _contents
from aetherra.kernel.errors import PluginUnreadableError
from aetherra.kernel.finder import finder
from aetherra.kernel.snapshot import read_package


def write(folder: Path, files: dict[str, str]) -> Path:
    """Write files below a folder and return it."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def names_of(generation: CodeGeneration) -> list[str]:
    """The modules that are there of a generation."""
    return sorted(name for name in sys.modules if name.startswith(generation.root_name))


def forget(package: str) -> None:
    """Have a package that was imported in the ordinary way be imported anew."""
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        del sys.modules[name]


def kept_below(folder: Path) -> list[str]:
    """What the line cache and the cache of contents hold of files below a folder."""
    paths = [*linecache.cache, *(path for path, _ in list(_contents))]
    return sorted(path for path in paths if path.startswith(str(folder)))


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package with all kinds of imports of itself."""
    return write(
        tmp_path / "room",
        {
            "__init__.py": "from room.messages import NAME\nfrom . import heater\nimport room.sub.deep as deep\n",
            "messages.py": "NAME = 'room'\n",
            "heater.py": "import room.messages\nNAME = room.messages.NAME\ndef late():\n"
            "    from .cooler import NAME\n    return NAME\n",
            "cooler.py": "NAME = 'cooler'\nfrom .heater import late\n",
            "sub/__init__.py": "from ..messages import NAME\n",
            "sub/deep.py": "from room.sub import NAME\n",
        },
    )


class TestImports:
    def test_modules_of_a_package_are_not_its_own_generation(self, package: Path) -> None:
        """Relative and absolute imports, subpackages and imports inside functions lead to the same generation."""
        code = CodeGeneration("room", 3, package / "__init__.py", "room")
        module = code.load()
        assert module.__name__ == "room@3"
        assert (module.NAME, module.heater.NAME, module.deep.NAME) == ("room", "room", "room")
        assert module.heater.late() == "cooler"
        assert names_of(code) == [
            "room@3", "room@3.cooler", "room@3.heater", "room@3.messages", "room@3.sub", "room@3.sub.deep",
        ]  # fmt: skip
        assert "room" not in sys.modules
        code.unload()

    def test_generations_share_a_module(self, package: Path) -> None:
        """Two generations live side by side, each with its own state."""
        first = CodeGeneration("room", 1, package / "__init__.py", "room")
        write(package, {"messages.py": "NAME = 'changed'\n"})
        second = CodeGeneration("room", 2, package / "__init__.py", "room")
        assert (first.load().NAME, second.load().NAME) == ("room", "changed")
        assert sys.modules["room@1.heater"].late() == sys.modules["room@2.heater"].late() == "cooler"
        first.unload()
        assert names_of(second)
        second.unload()

    def test_a_change_after_the_snapshot_is_seen(self, package: Path) -> None:
        """What is imported late comes from the bytes that were there when the generation was made."""
        code = CodeGeneration("room", 1, package / "__init__.py", "room")
        module = code.load()
        (package / "cooler.py").write_text("NAME = 'other'\n")
        assert module.heater.late() == "cooler"
        assert code.files[package / "cooler.py"] == b"NAME = 'cooler'\nfrom .heater import late\n"
        code.unload()

    def test_a_circular_import_fails(self, tmp_path: Path) -> None:
        """Modules may import each other as ordinary ones may."""
        files = {"__init__.py": "from .a import A\n", "a.py": "from . import b\nA = 1\n", "b.py": "import ring.a\n"}
        folder = write(tmp_path / "ring", files)
        code = CodeGeneration("ring", 1, folder / "__init__.py", "ring")
        assert code.load().A == 1
        assert sys.modules["ring@1.b"].ring is sys.modules["ring@1"]
        code.unload()

    def test_a_dotted_import_of_a_package_inside_another_leads_elsewhere(self, tmp_path: Path) -> None:
        """``import acme.room.messages`` in ``acme.room`` binds an ``acme`` whose ``room`` is its own generation."""
        write(tmp_path, {"acme/__init__.py": "OWNER = 'acme'\n", "acme/tools.py": "T = 1\n"})
        text = "import acme.room.messages\nimport acme.room.messages as m\nimport acme.tools\n"
        use = "NAME = (acme.room.messages.NAME, m.NAME, acme.OWNER, acme.tools.T)\n"
        folder = write(tmp_path / "acme/room", {"__init__.py": text, "messages.py": "NAME = 1\n", "use.py": text + use})
        forget("acme")  # another test may have left one of its own
        sys.path.insert(0, str(tmp_path))
        try:
            code = CodeGeneration("room", 2, folder / "__init__.py", "acme.room")
            module = code.load()
            assert module.m is sys.modules["acme.room@2.messages"]
            use_module = __import__("acme.room@2.use", fromlist=["NAME"])
            assert use_module.NAME[0] == 1
            assert use_module.NAME[2] == "acme"
            assert "acme.room" not in sys.modules
            code.unload()
            assert not hasattr(sys.modules["acme"], "room@2")
        finally:
            sys.path.remove(str(tmp_path))
            forget("acme")

    def test_a_folder_without_an_init_is_not_imported(self, tmp_path: Path) -> None:
        """Namespace packages inside a package are its own, by relative and absolute names, and may hold packages."""
        folder = write(
            tmp_path / "room",
            {
                "__init__.py": "from .parts import heater\nimport room.parts.deep.pump as pump\n",
                "parts/heater.py": "from . import valve\nfrom room.parts.valve import NAME\n",
                "parts/valve.py": "NAME = 'valve'\n",
                "parts/deep/__init__.py": "",
                "parts/deep/pump.py": "from ..valve import NAME\nfrom ... import parts\n",
            },
        )
        code = CodeGeneration("room", 1, folder / "__init__.py", "room")
        module = code.load()
        assert (module.heater.NAME, module.pump.NAME) == ("valve", "valve")
        assert module.pump.parts is sys.modules["room@1.parts"]
        assert not hasattr(module.parts, "__file__")
        code.unload()
        assert names_of(code) == []

    def test_new_modules_are_not_seen_by_the_next_generation(self, package: Path) -> None:
        """New submodules and subpackages are there for the next generation, and never for one before."""
        first = CodeGeneration("room", 1, package / "__init__.py", "room")
        old = first.load()
        write(package, {"fan.py": "NAME = 'fan'\n", "attic/__init__.py": "", "attic/roof.py": "NAME = 'roof'\n"})
        (package / "heater.py").write_text("from . import fan\nfrom .attic.roof import NAME\ndef late(): pass\n")
        second = CodeGeneration("room", 2, package / "__init__.py", "room")
        assert second.load().heater.NAME == "roof"
        for late in ("fan", "attic"):
            with pytest.raises(ModuleNotFoundError, match=f"No module named 'room@1.{late}'"):
                importlib.import_module(f".{late}", old.__name__)
        first.unload()
        second.unload()

    def test_import_module_of_a_relative_name_leads_elsewhere(self, package: Path) -> None:
        """``importlib.import_module`` with ``__package__`` leads to its own generation; the plain name fails."""
        text = "import importlib\ndef at(name): return importlib.import_module(name, __package__)\n"
        (package / "sub/deep.py").write_text(text)
        code = CodeGeneration("room", 1, package / "__init__.py", "room")
        at = code.load().deep.at
        assert at("..messages") is sys.modules["room@1.messages"]
        assert at(".deep") is sys.modules["room@1.sub.deep"]
        with pytest.raises(ModuleNotFoundError):
            at("room.messages")
        code.unload()

    def test_a_missing_module_is_forgotten(self, package: Path) -> None:
        """An import in vain, also of a helper, says which files might have been it; what was found says nothing."""
        text = "try: from . import fan\nexcept ImportError: pass\ntry: import shared\nexcept ImportError: pass\n"
        for name in ("attic.roof", "json.nothing", "msgspec.nothing"):
            text += f"try: import {name}\nexcept ImportError: pass\n"
        (package / "cooler.py").write_text(text + "from .messages import NAME\n")
        code = CodeGeneration("room", 1, package / "__init__.py", "room", helpers=package.parent)
        code.load().heater.late()
        beside = package.parent
        wanted = [place / "__init__.py" for place in (package / "fan", beside / "shared", beside / "attic")]
        wanted += [package / "fan.py", beside / "shared.py", beside / "attic.py"]
        assert code.missing == set(wanted)
        code.unload()

    def test_a_missing_module_of_a_call_is_forgotten(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """What a call would look for in vain is known once the code is loaded; what is installed is not missing."""
        write(tmp_path, {"a.py": "def go():\n    import late_helper, json.tool, msgspec, found_late\n"})
        write(tmp_path, {"installed/found_late.py": ""})
        monkeypatch.syspath_prepend(tmp_path / "installed")
        code = CodeGeneration("a", 1, tmp_path / "a.py", "a", helpers=tmp_path)
        code.load()
        assert code.missing == {tmp_path / "late_helper.py", tmp_path / "late_helper/__init__.py"}
        code.unload()

    def test_a_helper_that_came_too_late_is_taken_in(self, tmp_path: Path) -> None:
        """A helper that was looked for in vain is not there for this generation, whenever it comes."""
        write(tmp_path, {"a.py": "def look():\n    import late_helper\n"})
        code = CodeGeneration("a", 1, tmp_path / "a.py", "a", helpers=tmp_path)
        look = code.load().look
        for _ in range(2):
            with pytest.raises(ModuleNotFoundError, match="late_helper"):
                look()
            write(tmp_path, {"late_helper.py": ""})
        code.unload()


class TestHelpers:
    def test_two_plugins_share_a_helper(self, tmp_path: Path) -> None:
        """A file beside a single-file plugin is its helper; each plugin has a copy of its own."""
        write(
            tmp_path,
            {
                "helper.py": "state = []\nimport tools.deep\n",
                "tools/__init__.py": "",
                "tools/deep.py": "from helper import state\n",
                "a.py": "import helper\nfrom tools import deep\n",
                "b.py": "import helper\n",
            },
        )
        a = CodeGeneration("a", 1, tmp_path / "a.py", "a", helpers=tmp_path)
        b = CodeGeneration("b", 1, tmp_path / "b.py", "b", helpers=tmp_path)
        helper = a.load().helper
        helper.state.append(1)
        assert sys.modules["a@1"].deep.state is helper.state
        assert b.load().helper.state == []
        assert "helper" not in sys.modules
        assert {path.name for path in a.files} == {"a.py", "helper.py", "__init__.py", "deep.py"}
        a.unload()
        b.unload()
        assert names_of(a) == names_of(b) == []

    def test_a_file_named_like_the_standard_library_hides_it(self, tmp_path: Path) -> None:
        """A neighbour, or the plugin itself, stands in for no module of the standard library, nor for Aetherra."""
        text = "import json, queue, __main__\nfrom aetherra.plugins import Plugin\nOK = json.dumps(1), queue.Queue\n"
        write(tmp_path, {"json.py": text, "queue.py": "1/0\n", "__main__.py": "1/0\n", "aetherra/plugins.py": "1/0\n"})
        (tmp_path / "aetherra/__init__.py").touch()
        code = CodeGeneration("json", 1, tmp_path / "json.py", "json", helpers=tmp_path)
        assert code.load().OK[0] == "1"
        assert list(code.files) == [tmp_path / "json.py"]
        code.unload()

    def test_a_folder_without_an_init_beside_it_is_no_helper(self, tmp_path: Path) -> None:
        """A namespace package beside a plugin is its helper, unless something of that name is installed."""
        write(
            tmp_path,
            {
                "a.py": "from tools.deep import pump\nimport msgspec\n",
                "tools/deep/pump.py": "import tools.valve\n",
                "tools/valve.py": "",
                "msgspec/oops.py": "",
            },
        )
        code = CodeGeneration("a", 1, tmp_path / "a.py", "a", helpers=tmp_path)
        module = code.load()
        assert module.pump.__name__ == "a@1:tools.deep.pump"
        assert module.msgspec is sys.modules["msgspec"]
        assert {path.name for path in code.files} == {"a.py", "pump.py", "valve.py"}
        code.unload()
        assert names_of(code) == []

    def test_a_helper_is_taken_for_the_package_of_its_name(self, tmp_path: Path) -> None:
        """Of a file and a package of one name beside a plugin, imports choose the package."""
        write(tmp_path, {"a.py": "import tools\n", "tools.py": "1 / 0\n", "tools/__init__.py": "X = 1\n"})
        code = CodeGeneration("a", 1, tmp_path / "a.py", "a", helpers=tmp_path)
        assert code.load().tools.X == 1
        code.unload()

    def test_a_neighbour_without_python_is_taken_for_a_helper(self, tmp_path: Path) -> None:
        """A folder of data beside a plugin is no module."""
        write(tmp_path, {"a.py": "import things\n", "things/data.txt": ""})
        code = CodeGeneration("a", 1, tmp_path / "a.py", "a", helpers=tmp_path)
        with pytest.raises(ModuleNotFoundError, match="things"):
            code.load()

    def test_half_of_a_helper_that_cannot_be_read_stays(self, tmp_path: Path) -> None:
        """A helper package that cannot be read whole is not there at all, and can be tried again."""
        write(tmp_path, {"a.py": "def go():\n    import tools.b\n", "tools/__init__.py": "", "tools/a.py": ""})
        (tmp_path / "tools/b.py").mkdir()
        code = CodeGeneration("a", 1, tmp_path / "a.py", "a", helpers=tmp_path)
        go = code.load().go
        with pytest.raises(PluginUnreadableError, match=r"tools/b\.py is not a file"):
            go()
        assert list(code.files) == [tmp_path / "a.py"]
        (tmp_path / "tools/b.py").rmdir()
        (tmp_path / "tools/b.py").touch()
        go()
        code.unload()

    def test_a_late_helper_is_newer_than_its_plugin(self, tmp_path: Path) -> None:
        """What only a call imports, and what that imports in turn, is as it was when the plugin was loaded."""
        files = {
            "a/__init__.py": "def go():\n    from .inner import NUMBERS\n    return NUMBERS\n",
            "a/inner.py": "import one, tools.deep\nNUMBERS = one.N, tools.deep.N\n",
            "one.py": "N = 1\ndef bad():\n    from ... import beyond\n",
            "tools/__init__.py": "import first\n",
            "first.py": "",
            "tools/deep.py": "import last\nimport msgspec.json\nN = last.N\n",
            "last.py": "N = 1\nimport one\n",
            "unused.py": "oops oops\n",
        }
        write(tmp_path, files)
        code = CodeGeneration("a", 1, tmp_path / "a/__init__.py", "a", helpers=tmp_path)
        go = code.load().go
        assert set(code.files) == {tmp_path / name for name in files if name != "unused.py"}
        assert names_of(code) == ["a@1"]
        write(tmp_path, {"one.py": "", "tools/deep.py": "", "last.py": ""})
        assert go() == (1, 1)
        code.unload()

    @pytest.mark.parametrize("where", ["a/late.py", "late.py"])
    def test_code_is_taken_whose_calls_will_fail(self, tmp_path: Path, where: str) -> None:
        """A module that only a call imports must compile like the others; it is named."""
        line = "from . import late" if "/" in where else "import late"
        write(tmp_path, {"a/__init__.py": f"def go():\n    {line}\n", where: "X = (\n"})
        code = CodeGeneration("a", 1, tmp_path / "a/__init__.py", "a", helpers=tmp_path)
        with pytest.raises(SyntaxError) as caught:
            code.load()
        assert str(caught.value.filename) == str(tmp_path / where)
        assert names_of(code) == []

    def test_two_threads_mix_two_states_of_a_helper(self, tmp_path: Path) -> None:
        """Of two threads that read a helper at once, one is first, and all of it is as that one read it."""
        write(tmp_path, {"a.py": "", "tools/__init__.py": "X = 1\n"})
        code = CodeGeneration("a", 1, tmp_path / "a.py", "a", helpers=tmp_path)
        first = read_package("a@1:tools", tmp_path / "tools")
        write(tmp_path, {"tools/__init__.py": "X = 2\n", "tools/new.py": ""})
        second = read_package("a@1:tools", tmp_path / "tools")
        code.add(first)
        code.add(second)
        assert {path: data for path, data in code.files.items() if data} == {tmp_path / "tools/__init__.py": b"X = 1\n"}
        assert len(code.files) == 2
        code.unload()


class TestDigest:
    def test_the_order_of_imports_changes_it(self, tmp_path: Path) -> None:
        """It is of the files' relative paths and bytes, helpers too, wherever they are and whatever came first."""
        digests = set()
        for folder, order in (("x", "bc"), ("y", "cb")):
            write(tmp_path / folder, {"a/__init__.py": "", "a/z.py": "Z = 1\n", "b.py": "B = 1\n", "c/__init__.py": ""})
            entry = tmp_path / folder / "a/__init__.py"
            code = CodeGeneration("a", 1, entry, "a", helpers=tmp_path / folder)
            inside = vars(code.load())
            before = code.digest
            for name in order:
                exec(f"import {name}", inside)
            digests.add(code.digest)
            code.unload()
            assert before not in digests
        assert len(digests) == 1
        assert len(digests.pop()) == 64

    @pytest.mark.parametrize("change", [{"heater.py": "1"}, {"new.py": ""}, {"sub/__init__.py": " "}])
    def test_other_files_have_the_same_digest(self, package: Path, change: dict[str, str]) -> None:
        """A changed byte, or a new file, makes another."""
        first = CodeGeneration("room", 1, package / "__init__.py", "room")
        write(package, change)
        second = CodeGeneration("room", 2, package / "__init__.py", "room")
        assert first.digest != second.digest
        first.unload()
        second.unload()


class TestFaults:
    @pytest.mark.parametrize(
        "end",
        [
            "x = (",
            "raise ValueError('half-way')",
            "raise SystemExit(3)",
            "raise KeyboardInterrupt",
            "raise GeneratorExit",
        ],
    )
    def test_a_failed_load_leaves_modules_behind(self, tmp_path: Path, end: str) -> None:
        """A syntax error, or whatever is raised half-way, leaves nothing of the code anywhere, and the name free."""
        text = f"from . import good\nimport shared\nfrom . import bad\n{end}\n"
        folder = write(tmp_path / "bad", {"__init__.py": text, "good.py": "", "bad.py": end, "../shared.py": ""})
        code = CodeGeneration("bad", 1, folder / "__init__.py", "bad", helpers=tmp_path)
        with pytest.raises((SyntaxError, ValueError, SystemExit, KeyboardInterrupt, GeneratorExit)):
            code.load()
        assert names_of(code) == []
        assert not [name for name in finder.sources if name.startswith("bad@")]
        assert sys.meta_path.count(finder) == 1
        del code
        gc.collect()
        assert kept_below(tmp_path) == []
        code = CodeGeneration("bad", 1, folder / "__init__.py", "bad")
        again = CodeGeneration("bad", 1, folder / "__init__.py", "bad")
        assert (code.root_name, again.root_name) == ("bad@1", "bad@1~2")
        code.unload()
        again.unload()

    def test_a_traceback_points_elsewhere(self, tmp_path: Path) -> None:
        """A fault in a plugin names its file and line."""
        write(tmp_path, {"faulty.py": "def fail():\n    raise ValueError('here')\n"})
        code = CodeGeneration("faulty", 1, tmp_path / "faulty.py", "faulty")
        module = code.load()
        with pytest.raises(ValueError, match="here") as caught:
            module.fail()
        frame = traceback.extract_tb(caught.value.__traceback__)[-1]
        assert (frame.filename, frame.lineno, frame.line) == (
            str(tmp_path / "faulty.py"), 2, "raise ValueError('here')",
        )  # fmt: skip
        code.unload()

    def test_a_package_that_cannot_be_read_keeps_its_name(self, tmp_path: Path) -> None:
        """A generation that could not be made holds nothing."""
        with pytest.raises(FileNotFoundError):
            CodeGeneration("gone", 1, tmp_path / "__init__.py", "gone")
        (tmp_path / "__init__.py").touch()
        code = CodeGeneration("gone", 1, tmp_path / "__init__.py", "gone")
        assert code.root_name == "gone@1"
        code.unload()


class TestUnload:
    def test_unloaded_modules_are_kept_alive(self, package: Path) -> None:
        """Once nobody uses a generation, its modules are freed."""
        code = CodeGeneration("room", 1, package / "__init__.py", "room")
        modules: list[ModuleType | None] = [code.load()]
        modules += [sys.modules[name] for name in names_of(code)]
        refs = [weakref.ref(module) for module in modules if module is not None]
        code.unload()
        modules.clear()
        gc.collect()
        assert [ref() for ref in refs] == [None] * len(refs)
        assert names_of(code) == []
        assert kept_below(package)
        del code
        gc.collect()
        assert kept_below(package) == []

    def test_a_second_unload_takes_what_is_anothers(self, package: Path) -> None:
        """Unloading twice does no harm to a later generation that has the name now."""
        first = CodeGeneration("room", 1, package / "__init__.py", "room")
        first.load()
        first.unload()
        second = CodeGeneration("room", 1, package / "__init__.py", "room")
        second.load()
        first.unload()
        assert "room@1" in sys.modules
        second.unload()

    def test_two_hosts_share_a_name(self, package: Path) -> None:
        """The same plugin and generation number of two kernels in a process stay apart."""
        first = CodeGeneration("room", 1, package / "__init__.py", "room")
        second = CodeGeneration("room", 1, package / "__init__.py", "room")
        assert first.load() is not second.load()
        assert (first.root_name, second.root_name) == ("room@1", "room@1~2")
        first.unload()
        assert "room@1~2.heater" in sys.modules
        second.unload()

    def test_code_that_still_runs_brings_modules_back(self, tmp_path: Path) -> None:
        """An import by code whose generation was unloaded fails and leaves nothing."""
        write(tmp_path, {"late.py": "def go():\n    import helper\n", "helper.py": ""})
        code = CodeGeneration("late", 1, tmp_path / "late.py", "late", helpers=tmp_path)
        module = code.load()
        code.unload()
        with pytest.raises(ModuleNotFoundError):
            module.go()
        assert names_of(code) == []
