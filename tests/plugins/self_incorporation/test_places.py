"""Places that are there, that are not, that are links, and items in and beside the incoming folders."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from aetherra.plugins.self_incorporation.places import Places
from aetherra.plugins.storage import StateFile


class TestPlaces:
    def test_a_root_that_is_gone_stops_the_others(self, tmp_path: Path) -> None:
        """Roots that are there have a name in the index, each once; the others have none, and are told of as paths."""
        (tmp_path / "here").mkdir()
        (tmp_path / "link").symlink_to("here")
        places = Places(tmp_path, ["here", "gone", "link"], [])

        assert places.roots() == [str(tmp_path / "here")]
        assert places.paths() == [tmp_path / "here", tmp_path / "gone", tmp_path / "link"]
        assert places.path() == tmp_path / "here"

    @pytest.mark.parametrize("through", ["loop", "shut/root"])
    def test_a_root_that_nobody_can_look_at_stops_the_others(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, through: str
    ) -> None:
        """One behind links in a circle, or in a folder that may not be entered, has no name; the others have."""
        (tmp_path / "here").mkdir()
        (tmp_path / "loop").symlink_to("loop")
        really = os.lstat

        def guarded(path: Any, **given: Any) -> os.stat_result:
            if "/shut" in os.fspath(path):
                raise PermissionError(13, "Permission denied", path)
            return really(path, **given)

        monkeypatch.setattr(os, "lstat", guarded)
        assert Places(tmp_path, ["here", through], []).roots() == [str(tmp_path / "here")]

    @pytest.mark.parametrize(
        ("path", "incoming"),
        [
            ("incoming/a.py", True),
            ("incoming", True),
            ("incoming/deep/b.py", True),
            ("incoming2/a.py", False),
            ("a.py", False),
        ],
    )
    def test_what_lies_beside_comes_in(self, tmp_path: Path, path: str, incoming: bool) -> None:
        """Only what lies in an incoming folder is meant to come in; a folder whose name begins alike is another."""
        assert Places(tmp_path, ["."], ["incoming"]).incoming().holds(str(tmp_path), path) is incoming

    def test_an_incoming_folder_that_is_a_link_is_missed(self, tmp_path: Path) -> None:
        """What a link of the configuration leads to counts."""
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "incoming").symlink_to("elsewhere")

        assert Places(tmp_path, ["."], ["incoming"]).incoming().holds(str(tmp_path), "elsewhere/a.py")

    def test_all_comes_in_where_nothing_is_meant_to(self, tmp_path: Path) -> None:
        """Without an incoming folder nothing is incoming."""
        assert not Places(tmp_path, ["."], []).incoming().holds(str(tmp_path), "a.py")

    @pytest.mark.parametrize(
        ("changed", "touched"),
        [("incoming/a.py", True), ("incoming", True), ("", True), ("incoming2/a.py", False), ("docs/a.md", False)],
    )
    def test_a_save_elsewhere_has_the_incoming_folder_looked_at(
        self, tmp_path: Path, changed: str, touched: bool
    ) -> None:
        """What changed touches an incoming folder if it lies in it, is it, or holds it."""
        incoming = Places(tmp_path, ["."], ["incoming"]).incoming()

        assert incoming.touches(str(tmp_path), {changed}) is touched
        assert incoming.below(str(tmp_path)) == ["incoming"]
        assert incoming.below(str(tmp_path / "other")) == []

    def test_an_incoming_folder_that_is_misspelt_is_empty(self, tmp_path: Path) -> None:
        """One that is not there, or lies in no root, is told of; what is there and looked at is not."""
        (tmp_path / "root" / "in").mkdir(parents=True)
        (tmp_path / "beside").mkdir()
        places = Places(tmp_path, ["root"], ["root/in", "root/im", "beside"])

        gone, beside = places.misplaced()
        assert (
            gone == f"nothing comes in from {str(tmp_path / 'root' / 'im')!r}: it is not there, or may not be looked at"
        )
        assert (
            beside
            == f"nothing comes in from {str(tmp_path / 'beside')!r}: it lies in no root, which are {tmp_path}/root"
        )
        (tmp_path / "root" / "im").mkdir()
        assert places.misplaced() == [beside]


class TestStrays:
    @staticmethod
    def places(tmp_path: Path, *roots: str) -> Places:
        """Return places as the next run has them."""
        return Places(tmp_path, roots, [], StateFile(tmp_path / "roots.json", dict[str, str]))

    def test_what_is_in_no_root_any_more_stays(self, tmp_path: Path) -> None:
        """Names of trees that the settings do not name are strays."""
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
        held = [str(tmp_path / name) for name in ("one", "two")]

        assert self.places(tmp_path, "one", "two").strays(held) == []
        assert self.places(tmp_path, "one").strays(held) == [held[1]]

    def test_a_root_that_is_not_mounted_loses_its_items(self, tmp_path: Path) -> None:
        """It keeps the name it had, which nothing tells while the link to it lies on the disk that is gone."""
        disk, tree = tmp_path / "disk", tmp_path / "tree"
        disk.mkdir()
        tree.mkdir()
        (disk / "link").symlink_to(tree)
        held = [str(tree), "/stray"]
        self.places(tmp_path, "disk/link").note()

        disk.rename(tmp_path / "elsewhere")
        assert self.places(tmp_path, "disk/link").strays(held) == ["/stray"]
        assert self.places(tmp_path, "other").strays(held) == ["/stray", str(tree)]

    def test_nobody_knows_what_it_was_called_and_it_loses_its_items(self, tmp_path: Path) -> None:
        """As long as a root that is not there may be any of them, nothing is a stray, however often it is asked."""
        (tmp_path / "here").mkdir()
        held = [str(tmp_path / "here"), "/tree"]
        for _ in range(2):
            places = self.places(tmp_path, "here", "disk/link")
            assert places.strays(held) == []
            places.note()

        (tmp_path / "disk" / "link").mkdir(parents=True)
        assert self.places(tmp_path, "here", "disk/link").strays(held) == ["/tree"]

    def test_a_root_that_was_never_there_keeps_strays_for_ever(self, tmp_path: Path) -> None:
        """Where names were noted before, it has none; nor is one missed whose name nothing but its path tells."""
        (tmp_path / "here").mkdir()
        assert self.places(tmp_path, "here", "later").strays([]) == []
        assert self.places(tmp_path, "here", "later").strays(["/tree"]) == ["/tree"]
        (tmp_path / "roots.json").unlink()
        assert self.places(tmp_path, "here", "later").strays([str(tmp_path / "later"), "/tree"]) == ["/tree"]

    def test_threads_take_the_file_from_each_other(self, tmp_path: Path) -> None:
        """Whoever notes what the roots are called, and whoever asks for strays, do so one after the other."""
        (tmp_path / "here").mkdir()
        with ThreadPoolExecutor(4) as pool:
            for _ in range(10):
                places = self.places(tmp_path, "here")
                strays = [pool.submit(places.strays, ["/tree"]) for _ in range(3)]
                pool.submit(places.note).result()
                assert [each.result() for each in strays] == [["/tree"]] * 3
                (tmp_path / "roots.json").unlink()
