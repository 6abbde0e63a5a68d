"""Places that are there, that are not, that are links, and items in and beside the incoming folders."""

from pathlib import Path

import pytest

from aetherra.plugins.self_incorporation.places import Places


class TestPlaces:
    def test_a_root_that_is_gone_stops_the_others(self, tmp_path: Path) -> None:
        """Roots that are there have a name in the index, each once; the others have none, and are told of as paths."""
        (tmp_path / "here").mkdir()
        (tmp_path / "link").symlink_to("here")
        places = Places(tmp_path, ["here", "gone", "link"], [])

        assert places.roots() == [str(tmp_path / "here")]
        assert places.paths() == [tmp_path / "here", tmp_path / "gone", tmp_path / "link"]
        assert places.path() == tmp_path / "here"

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
