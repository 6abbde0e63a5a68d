"""Sources: files, folders, entry points and classes, and which class in them is meant."""

from __future__ import annotations

import importlib
import importlib.metadata
import inspect
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from aetherra.kernel import Plugin, PluginDefinitionError
from aetherra.kernel.sources import ClassSource, FileSource, Loaded, helpers_folder, installed_plugins, module_owner
from tests.kernel.conftest import offer

ONE = "from aetherra.plugins import Plugin\nclass Room(Plugin):\n    version = '{}'\n"


def offered(name: str) -> list[ClassSource]:
    """The installed plugins of a name."""
    return [source for source in installed_plugins() if source.name == name]


class TestFileSource:
    def test_code_that_is_brought_up_afresh_is_read_anew(self, tmp_path: Path) -> None:
        """It is the same snapshot in fresh modules, with its helpers, whatever became of the files."""
        path = tmp_path / "again.py"
        body = "import again_helper\nclass Again(Plugin):\n    held = again_helper.HELD\n"
        path.write_text(f"from aetherra.plugins import Plugin\n{body}")
        (tmp_path / "again_helper.py").write_text("HELD = []\n")
        source = FileSource("again", str(path))
        first = source.load(1)
        path.unlink()
        (tmp_path / "again_helper.py").write_text("HELD = None\n")

        second = source.again(first, 2)
        first.unload()

        try:
            assert second.plugin_type is not first.plugin_type
            assert (second.plugin_type.held, second.digest) == ([], first.digest)  # type: ignore[attr-defined]
            assert second.plugin_type.held is not first.plugin_type.held  # type: ignore[attr-defined]
            assert second.origin is first.origin
            assert sorted(name for name in sys.modules if name.startswith("again@")) == [
                "again@2",
                "again@2:again_helper",
            ]
        finally:
            second.unload()

    def test_a_file_or_folder_is_not_loaded(self, tmp_path: Path) -> None:
        """A file, and a folder with an ``__init__.py``, are plugins; their path is what is watched."""
        (tmp_path / "room.py").write_text(ONE.format(1))
        (tmp_path / "hall").mkdir()
        (tmp_path / "hall/__init__.py").write_text("from .plugin import Room\n")
        (tmp_path / "hall/plugin.py").write_text(ONE.format(2))
        for path, version in ((tmp_path / "room.py", "1"), (tmp_path / "hall", "2")):
            source = FileSource("room", str(path))
            loaded = source.load(1)
            assert (loaded.plugin_type.__name__, loaded.plugin_type.version) == ("Room", version)
            assert module_owner(loaded.plugin_type.__module__) == "room"
            assert (str(source), source.watched(), source.trusted) == (str(path), path, False)
            loaded.unload()

    def test_a_later_load_is_the_same_code(self, tmp_path: Path) -> None:
        """Each load reads the file anew."""
        path = tmp_path / "room.py"
        path.write_text(ONE.format(1))
        source = FileSource("room", str(path))
        first = source.load(1)
        path.write_text(ONE.format(2))
        second = source.load(2)
        assert (first.plugin_type.version, second.plugin_type.version) == ("1", "2")
        first.unload()
        second.unload()

    def test_a_wrong_path_is_not_named(self, tmp_path: Path) -> None:
        """What is not there, or is no package, is an error that says so."""
        with pytest.raises(FileNotFoundError, match=r"no plugin at .*gone\.py: expected a \.py file or a folder"):
            FileSource("room", str(tmp_path / "gone.py")).load(1)
        with pytest.raises(FileNotFoundError, match="no plugin at"):
            FileSource("room", str(tmp_path)).load(1)

    def test_one_of_several_classes_cannot_be_chosen(self, tmp_path: Path) -> None:
        """The only class, the last of a line of bases, or the one that is named."""
        path = tmp_path / "room.py"
        path.write_text(ONE.format(1) + "class Base(Plugin): pass\nclass Other(Base): pass\n")
        with pytest.raises(PluginDefinitionError, match=r"several plugins \(Other, Room\); expected one, or name it"):
            FileSource("room", str(path)).load(1)
        for wanted in ("Room", "Base"):
            loaded = FileSource("room", f"{path}:{wanted}").load(1)
            assert loaded.plugin_type.__name__ == wanted
            loaded.unload()
        with pytest.raises(PluginDefinitionError, match=r"'Hall' of .* is None; expected a subclass of Plugin"):
            FileSource("room", f"{path}:Hall").load(1)
        path.write_text("from aetherra.hmr import HmrController\n")
        with pytest.raises(PluginDefinitionError, match=r"defines no subclass of Plugin; expected one$"):
            FileSource("room", str(path)).load(1)
        assert not any(name.startswith("room@") for name in sys.modules)


class TestHelpers:
    def test_a_package_shares_what_is_beside_it(self, tmp_path: Path) -> None:
        """A module beside a package plugin is a helper of each plugin that imports it: a copy, one of its files."""
        (tmp_path / "shared.py").write_text("NAMES = []\n")
        (tmp_path / "other.py").write_text(ONE.format("other"))
        for name in ("hall", "room"):
            (tmp_path / name).mkdir()
            (tmp_path / name / "__init__.py").write_text("from .plugin import Room\n")
            (tmp_path / name / "plugin.py").write_text(f"import shared\nshared.NAMES.append('{name}')\n" + ONE)
        sources = [FileSource(name, str(tmp_path / name)) for name in ("hall", "room", "other.py")]
        hall, room, other = (source.load(1) for source in sources)
        copies = [sys.modules[loaded.plugin_type.__module__].shared for loaded in (hall, room)]
        assert [copy.NAMES for copy in copies] == [["hall"], ["room"]]
        files = [loaded.code.files if loaded.code is not None else {} for loaded in (hall, room, other)]
        assert [tmp_path / "shared.py" in each for each in files] == [True, True, False]
        (tmp_path / "shared.py").write_text("NAMES = ['edited']\n")
        again = sources[1].load(2)
        assert sys.modules[again.plugin_type.__module__].shared.NAMES == ["edited", "room"]
        assert copies[1].NAMES == ["room"]
        assert len({loaded.digest for loaded in (hall, room, other, again)}) == 4
        for loaded in (hall, room, other, again):
            loaded.unload()
        assert not [name for name in sys.modules if ":shared" in name]

    @pytest.mark.parametrize("folder", ["site-packages", "dist-packages/deep", "link"])
    def test_installed_modules_are_copied(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str) -> None:
        """Where packages are installed, what is beside a plugin is everybody's."""
        place = tmp_path / folder
        if folder == "link":
            (tmp_path / "site-packages").mkdir()
            place.symlink_to("site-packages")
        place.mkdir(parents=True, exist_ok=True)
        monkeypatch.syspath_prepend(place)
        (place / "beside_the_plugin.py").touch()
        (place / "room.py").write_text("import beside_the_plugin\n" + ONE)
        (place / "hall").mkdir()
        (place / "hall/__init__.py").write_text("import beside_the_plugin\n" + ONE)
        for name in ("room.py", "hall"):
            loaded = FileSource("room", str(place / name)).load(1)
            assert sys.modules[loaded.plugin_type.__module__].beside_the_plugin is sys.modules["beside_the_plugin"]
            loaded.unload()
        monkeypatch.delitem(sys.modules, "beside_the_plugin")

    def test_the_standard_library_is_copied(self) -> None:
        """Nor is anything in the standard library a helper."""
        assert helpers_folder(Path(json.__file__)) is None
        assert helpers_folder(Path(inspect.__file__)) is None


class TestEntryPoints:
    def test_an_installed_plugin_is_not_found(self, site: Path) -> None:
        """An entry point in the group leads to its class, which is not trusted as our own are."""
        (site / "found_room.py").write_text(ONE.format(1))
        offer(site, "found-rooms", "room = found_room:Room")
        (source,) = offered("room")
        assert str(source) == "found_room:Room (entry point of found-rooms)"
        assert not source.trusted
        assert "found_room" not in sys.modules
        loaded = source.load(1)
        assert loaded == Loaded(sys.modules["found_room"].Room, None)
        assert source.watched() == site / "found_room.py"
        assert all(own.trusted for own in offered("hmr"))

    def test_a_later_load_is_the_first_class(self, site: Path) -> None:
        """The second load reads the files again, also if the first one failed, and takes the whole package."""
        package = site / "acme_rooms"
        package.mkdir()
        (package / "__init__.py").write_text("")
        (package / "messages.py").write_text("VERSION = '2'\n")
        (package / "plugin.py").write_text("1 / 0\n")
        offer(site, "acme", "room = acme_rooms.plugin:Room")
        (source,) = offered("room")
        with pytest.raises(ZeroDivisionError):
            source.load(1)
        text = "from acme_rooms.messages import VERSION\n" + ONE.replace("'{}'", "VERSION")
        (package / "plugin.py").write_text(text)
        loaded = source.load(1)
        assert loaded.code is not None
        assert loaded.plugin_type.version == "2"
        assert loaded.plugin_type.__module__ == "acme_rooms@1.plugin"
        assert source.watched() == package
        loaded.unload()

    def test_a_later_load_copies_what_is_beside_it(self, site: Path) -> None:
        """An installed plugin shares what is installed beside it, whichever generation it is."""
        (site / "found_helper.py").touch()
        (site / "found_room.py").write_text("import found_helper\n" + ONE)
        offer(site, "rooms", "room = found_room:Room")
        (source,) = offered("room")
        assert source.load(1).digest == ""
        loaded = source.load(2)
        assert loaded.digest
        assert sys.modules["found_room@2"].found_helper is sys.modules["found_helper"]
        loaded.unload()

    @pytest.mark.parametrize("value", ["no value at all", "found_room", "found_room:", "found_room:Nothing", ":x"])
    def test_a_broken_offer_keeps_others_from_being_found(self, site: Path, value: str) -> None:
        """An entry point that is none fails when it is loaded, by itself."""
        (site / "found_room.py").write_text(ONE.format(1))
        offer(site, "broken", f"broken = {value}")
        offer(site, "rooms", "room = found_room:Room")
        (source,) = offered("room")
        assert source.load(1).plugin_type.__name__ == "Room"
        for broken in offered("broken"):
            with pytest.raises((PluginDefinitionError, ImportError, ValueError)):
                broken.load(1)


class Given(Plugin):
    version = "given"


class TestClassSource:
    def test_the_given_class_is_not_the_one(self) -> None:
        """A class from the host is used as it is; afresh it comes from its file."""
        source = ClassSource.of_class(Given)
        assert source.at_hand() == Loaded(Given, None)
        assert source.at_hand() is None
        assert source.trusted
        loaded = source.load(2)
        assert loaded.plugin_type.version == "given"
        assert loaded.plugin_type is not Given
        loaded.unload()
        assert str(source) == f"{__name__}:Given (the host's own code)"

    def test_a_helper_of_the_hosts_own_file_is_not_loaded_anew(self, site: Path) -> None:
        """What is beside a class's single file in the host's code is read again with it."""
        (site / "own_helper.py").write_text("X = 1\n")
        (site / "own_room.py").write_text("import own_helper\n" + ONE)
        source = ClassSource.of_class(importlib.import_module("own_room").Room)
        source.at_hand()
        (site / "own_helper.py").write_text("X = 2\n")
        loaded = source.load(2)
        assert (sys.modules["own_helper"].X, sys.modules["own_room@2"].own_helper.X) == (1, 2)
        loaded.unload()

    def test_a_local_class_is_loaded_anew(self) -> None:
        """A class inside a function, or of no module, can be used once and not be watched."""

        class Local(Plugin):
            pass

        homeless: type[Plugin[Any]] = type("Homeless", (Plugin,), {"__module__": "gone"})
        for plugin_type in (Local, homeless):
            source = ClassSource.of_class(plugin_type)
            assert source.at_hand() == Loaded(plugin_type, None)
            assert source.watched() is None
            with pytest.raises((PluginDefinitionError, ImportError), match=r"cannot be loaded anew|gone"):
                source.load(2)

    def test_the_metadata_of_this_project_are_broken(self) -> None:
        """What this project installs is found."""
        names = {entry_point.name for entry_point in importlib.metadata.entry_points(group="aetherra.plugins")}
        assert {"hmr", "homeostasis"} <= names
