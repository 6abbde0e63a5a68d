"""Where a path leads."""

from __future__ import annotations

import pytest

from aetherra.plugins.homeostasis.corrector.places import OutsideError, inside, is_inside


def test_a_path_leads_out(tmp_path):
    """Dots, absolute paths and links are followed; the project itself is no place in it."""
    root, outside = tmp_path / "project", tmp_path / "project of another"
    root.mkdir()
    outside.mkdir()
    (root / "link").symlink_to(outside)
    (root / "inner").symlink_to(root / "data")

    assert inside(root, "data/zones.json") == root / "data" / "zones.json"
    assert inside(root, "inner/zones.json") == root / "data" / "zones.json"
    for path in ("../project of another/x", str(outside / "x"), "link/x", "link", ".", "data/../..", ""):
        with pytest.raises(OutsideError):
            inside(root, path)
    assert not is_inside(root, "a\0b")


def test_a_project_behind_a_link_is_outside_of_itself(tmp_path):
    """A project that is reached by a link is the same project."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")

    assert inside(tmp_path / "link", "x") == tmp_path / "real" / "x"
    assert is_inside(tmp_path / "link", tmp_path / "real" / "x")
