"""Snapshots: what belongs to a package, and what in it cannot be read."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from aetherra.kernel.errors import PluginUnreadableError
from aetherra.kernel.snapshot import read_module, read_package


def write(folder: Path, *names: str) -> None:
    """Make files that hold their own names."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# {name}\n")


class TestPackages:
    def test_what_is_no_module_is_read(self, tmp_path: Path) -> None:
        """Bytecode, data, names that no import can have, an editor's lock, and a virtual environment stay out."""
        write(
            tmp_path, "__init__.py", "a.py", "sub/__init__.py", "sub/b.py", "loose/deep/c.py", "no-import/__init__.py"
        )
        write(tmp_path, "__pycache__/x.py", "data/x.txt", "a.b.py", "no-name/d.py", ".git/e.py", "a.pyc", "py")
        write(tmp_path, "venv/lib/f.py", "venv/pyvenv.cfg", "nothing/here/x.txt")
        (tmp_path / ".#a.py").symlink_to("me@here.1")
        parts = read_package("room", tmp_path)
        assert sorted(parts) == [
            "room", "room.a", "room.loose", "room.loose.deep", "room.loose.deep.c", "room.no-import", "room.sub",
            "room.sub.b",
        ]  # fmt: skip
        assert {name for name, part in parts.items() if part.loose} == {
            "room.loose", "room.loose.deep", "room.loose.deep.c",
        }  # fmt: skip
        assert {name for name, part in parts.items() if part.content is None} == {"room.loose", "room.loose.deep"}
        assert {part.content.data.decode() for part in parts.values() if part.content} >= {"# a.py\n", "# sub/b.py\n"}

    def test_a_module_is_taken_for_the_package_of_its_name(self, tmp_path: Path) -> None:
        """Of a file and a folder of one name, imports choose the folder if it has an ``__init__.py``, else the file."""
        write(tmp_path, "__init__.py", "a.py", "a/__init__.py", "a/x.py", "b.py", "b/x.py")
        parts = read_package("room", tmp_path)
        assert (parts["room.a"].folder, parts["room.b"].folder) == (tmp_path / "a", None)
        assert sorted(parts) == ["room", "room.a", "room.a.x", "room.b"]

    def test_a_link_to_elsewhere_is_refused(self, tmp_path: Path) -> None:
        """Files and folders that are links are part of the package, by their names in it."""
        write(tmp_path, "room/__init__.py", "other/__init__.py", "other/x.py", "file.py")
        (tmp_path / "room/sub").symlink_to(tmp_path / "other")
        (tmp_path / "room/a.py").symlink_to(tmp_path / "file.py")
        parts = read_package("room", tmp_path / "room")
        assert parts["room.sub.x"].place == tmp_path / "room/sub/x.py"
        assert parts["room.a"].place == tmp_path / "room/a.py"


class TestFaults:
    @pytest.mark.parametrize(
        ("make", "problem"),
        [
            (lambda place: place.mkdir(), "is not a file, but a folder, a device or a link to nothing"),
            (os.mkfifo, "is not a file, but a folder, a device or a link to nothing"),
            (lambda place: place.symlink_to("nowhere"), "is not a file, but a folder, a device or a link to nothing"),
            (lambda place: place.symlink_to(place), "cannot be read: Too many levels of symbolic links"),
        ],
        ids=["folder", "pipe", "link to nothing", "link to itself"],
    )
    def test_what_is_no_file_hangs_or_is_not_named(
        self, tmp_path: Path, make: Callable[[Path], object], problem: str
    ) -> None:
        """A module, or ``__init__.py``, that cannot be read is an error that names it."""
        for room, name in (("a", "x.py"), ("b", "sub/__init__.py"), ("c", "loose/x.py")):
            write(tmp_path / room, "__init__.py")
            place = tmp_path / room / name
            place.parent.mkdir(exist_ok=True)
            make(place)
            with pytest.raises(PluginUnreadableError) as caught:
                read_package("room", tmp_path / room)
            assert str(caught.value) == f"{place} {problem}"

    @pytest.mark.parametrize("target", [".", "..", "../../room"])
    def test_a_link_back_goes_on_for_ever(self, tmp_path: Path, target: str) -> None:
        """A folder that leads back to one that it is in is an error that names it."""
        write(tmp_path / "room", "__init__.py", "sub/__init__.py")
        (tmp_path / "room/sub/loop").symlink_to(target)
        with pytest.raises(PluginUnreadableError, match=r"room/sub/loop is a link back to a folder that it is in"):
            read_package("room", tmp_path / "room")

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
    def test_what_may_not_be_read_is_not_named(self, tmp_path: Path) -> None:
        """A file or a folder without permission is an error that names it."""
        write(tmp_path, "room/__init__.py", "room/a.py", "room/sub/x.py")
        for place in (tmp_path / "room/a.py", tmp_path / "room/sub"):
            place.chmod(0)
            try:
                with pytest.raises(PluginUnreadableError, match=f"{place} cannot be read: Permission denied"):
                    read_package("room", tmp_path / "room")
            finally:
                place.chmod(0o700)

    def test_what_is_gone_is_another_error(self, tmp_path: Path) -> None:
        """A file that is not there is a ``FileNotFoundError``, as everywhere."""
        with pytest.raises(FileNotFoundError):
            read_module(tmp_path / "gone.py")
        with pytest.raises(FileNotFoundError):
            read_package("gone", tmp_path / "gone")
