"""What the import system, and those who ask it, see of the modules of a generation."""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.resources
import importlib.util
import pkgutil
import sys
from collections.abc import Generator
from pathlib import Path
from types import ModuleType

import pytest

from aetherra.kernel.code import CodeGeneration
from aetherra.kernel.finder import finder


@pytest.fixture
def room(tmp_path: Path) -> Generator[CodeGeneration]:
    """A package with data, loaded."""
    for name, text in {
        "room/__init__.py": "PATH = __file__\n",
        "room/data.txt": "one",
        "room/sub/__init__.py": "",
        "room/sub/data.txt": "two",
        "room/loose/x.py": "",
        "room/loose/data.txt": "three",
        "room/files/data.txt": "four",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    code = CodeGeneration("room", 1, tmp_path / "room/__init__.py", "room")
    code.load()
    yield code
    code.unload()


def of(room: CodeGeneration, name: str = "") -> ModuleType:
    """A module of the package."""
    return importlib.import_module(room.root_name + name)


class TestResources:
    @pytest.mark.parametrize(("name", "text"), [("", "one"), (".sub", "two"), (".loose", "three"), (".files", "four")])
    def test_files_beside_the_code_are_not_found(self, room: CodeGeneration, name: str, text: str) -> None:
        """``importlib.resources`` finds data by ``__package__``, also in a folder that has nothing else."""
        package = of(room, name).__package__
        assert package == f"room@1{name}"
        assert (importlib.resources.files(package) / "data.txt").read_text() == text
        with importlib.resources.as_file(importlib.resources.files(package) / "data.txt") as path:
            assert path.read_text() == text

    def test_pkgutil_finds_nothing(self, room: CodeGeneration) -> None:
        """``pkgutil`` reads data and lists the modules that a plugin of many parts may import one by one."""
        assert pkgutil.get_data("room@1.sub", "data.txt") == b"two"
        found = [module.name for module in pkgutil.walk_packages(of(room).__path__, "room@1.")]
        assert found == ["room@1.sub"]


class TestModules:
    def test_the_path_of_a_module_is_a_riddle(self, room: CodeGeneration) -> None:
        """Its own code has it as an ordinary string; it is the path to all."""
        module = of(room)
        assert type(module.PATH) is str
        assert module.__file__ == module.PATH == str(room.entry)
        assert module.__spec__ is not None
        assert module.__spec__.origin == module.PATH
        module.__file__ = "elsewhere.py"
        assert module.__file__ == "elsewhere.py"
        assert importlib.util.find_spec("room@1.sub").submodule_search_locations == [str(room.entry.parent / "sub")]

    def test_its_loader_knows_no_source(self, room: CodeGeneration) -> None:
        """Tools that ask the loader get the source and the code of this generation."""
        room.entry.write_text("PATH = 'other'\n")
        loader = of(room).__loader__
        assert loader.get_source("room@1") == "PATH = __file__\n"
        assert loader.get_code("room@1").co_names == ("__file__", "PATH")
        assert loader.is_package("room@1")
        loose = of(room, ".loose").__loader__
        assert (loose.get_source("x"), loose.get_code("x"), loose.is_package("x")) == (None, None, True)


class TestTheDisk:
    def test_new_files_get_into_a_generation(self, room: CodeGeneration) -> None:
        """Python files, packages and bytecode that came after the snapshot are not imported into it."""
        folder = room.entry.parent
        (folder / "late.py").touch()
        (folder / "files/late.py").touch()
        (folder / "later").mkdir()
        (folder / "later/__init__.py").touch()
        (folder / "compiled.pyc").touch()
        for name in (".late", ".files.late", ".later", ".compiled", ".sub.nothing"):
            with pytest.raises(ModuleNotFoundError) as caught:
                of(room, name)
            assert caught.value.name == f"room@1{name}"
        assert folder / "late.py" in room.missing
        assert not [name for name in sys.path_importer_cache if name.startswith(str(folder))]

    def test_extension_modules_are_not_found(self, room: CodeGeneration) -> None:
        """Compiled modules inside a package are imported from where they are."""
        target = room.entry.parent / f"fast{importlib.machinery.EXTENSION_SUFFIXES[0]}"
        target.touch()
        spec = finder.find_spec("room@1.fast")
        assert spec is not None
        assert isinstance(spec.loader, importlib.machinery.ExtensionFileLoader)
        assert spec.origin == str(target)

    def test_other_modules_are_looked_for(self, room: CodeGeneration) -> None:
        """It says nothing about modules that are no generation's."""
        assert finder.find_spec("room") is None
        assert finder.find_spec("msgspec.nothing") is None
        assert finder.find_spec("room@2") is None
