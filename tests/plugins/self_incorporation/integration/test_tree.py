"""From one state of files to another, from wherever a crash left them."""

from __future__ import annotations

import os
import random
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aetherra.plugins.self_incorporation.integration.blobs import Blobs
from aetherra.plugins.self_incorporation.integration.errors import PlaceChangedError
from aetherra.plugins.self_incorporation.integration.tree import File, Folder, Tree
from tests.plugins.self_incorporation.integration.conftest import snapshot


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    (tmp_path / "place").mkdir()
    return Tree({"place": tmp_path / "place"}, Blobs(tmp_path / "blobs"))


def file(tree: Tree, content: bytes, mode: int = 0o644) -> File:
    return File(tree.blobs.put(content), len(content), mode)


class TestAChange:
    def test_goes_there_and_back_byte_for_byte(self, tree: Tree) -> None:
        """Content, permissions, absence, and folders that came or went."""
        place = tree.places["place"]
        (place / "pkg" / "old").mkdir(parents=True)
        (place / "pkg" / "old" / "a.py").write_bytes(b"a")
        (place / "pkg" / "old" / "a.py").chmod(0o600)
        (place / "pkg" / "old").chmod(0o750)
        (place / "pkg" / "b.py").write_bytes(b"b")
        before = snapshot(place)

        wanted = {"pkg/b.py": file(tree, b"new b", 0o755), "pkg/new/c.py": file(tree, b"c")}
        changes = tree.change("place", "pkg", wanted)
        tree.become(changes, "after")
        after = snapshot(place)
        assert {path.removeprefix(f"{place}/"): told[2] for path, told in after.items() if told[0] == "file"} == {
            "pkg/b.py": b"new b",
            "pkg/new/c.py": b"c",
        }
        assert tree.become(changes, "before") == ()
        assert snapshot(place) == before
        tree.become(changes, "after")
        assert snapshot(place) == after

    def test_may_turn_a_file_into_a_folder(self, tree: Tree) -> None:
        """And back."""
        place = tree.places["place"]
        (place / "greeter").write_bytes(b"file")
        before = snapshot(place)
        changes = tree.change("place", "greeter", {"greeter/__init__.py": file(tree, b"package")})

        tree.become(changes, "after")
        assert (place / "greeter" / "__init__.py").read_bytes() == b"package"
        tree.become(changes, "before")
        assert snapshot(place) == before

    def test_says_what_somebody_else_has_changed(self, tree: Tree) -> None:
        """Content, permissions and presence; what is as it was is none of it."""
        place = tree.places["place"]
        changes = tree.change("place", "a.py", {"a.py": file(tree, b"a")})
        assert tree.differing(changes, "before") == []
        assert len(tree.differing(changes, "after")) == 1
        tree.become(changes, "after")
        assert tree.differing(changes, "after") == tree.differing(changes, "before", "after") == []
        (place / "a.py").chmod(0o600)
        assert len(tree.differing(changes, "before", "after")) == 1
        (place / "a.py").chmod(0o644)
        (place / "a.py").write_bytes(b"mine")
        assert len(tree.differing(changes, "before", "after")) == 1

    def test_leaves_what_somebody_has_put_into_a_folder(self, tree: Tree) -> None:
        """A folder that is to go and is not empty stays, and is named; compiled files of the interpreter go."""
        place = tree.places["place"]
        changes = tree.change("place", "pkg", {"pkg/__init__.py": file(tree, b"")})
        tree.become(changes, "after")
        (place / "pkg" / "__pycache__").mkdir()
        (place / "pkg" / "__pycache__" / "x.pyc").write_bytes(b"")
        (place / "pkg" / "notes.txt").write_bytes(b"mine")

        (left,) = tree.become(changes, "before")
        assert "pkg" in left
        assert [path.name for path in (place / "pkg").iterdir()] == ["notes.txt"]

    def test_does_not_follow_links(self, tree: Tree, tmp_path: Path) -> None:
        """Neither at its path nor on the way to it."""
        place = tree.places["place"]
        (tmp_path / "outside").mkdir()
        (place / "link").symlink_to(tmp_path / "outside")
        for top, path in (("link", "link"), ("link/a.py", "link/a.py")):
            with pytest.raises(PlaceChangedError, match="link"):
                tree.change("place", top, {path: file(tree, b"")})
        with pytest.raises(ValueError, match="below"):
            tree.path("place", "../outside/a.py")
        with pytest.raises(ValueError, match="below"):
            tree.path("place", "/etc/passwd")

    def test_takes_any_name_that_a_file_can_have(self, tree: Tree) -> None:
        """Newlines, and bytes that are no text."""
        place = tree.places["place"]
        (place / "odd").mkdir()
        name = os.fsdecode(b"odd\n\xff.py")
        (place / "odd" / name).write_bytes(b"1")
        before = snapshot(place)

        changes = tree.change("place", "odd", {"odd/__init__.py": file(tree, b"")})
        tree.become(changes, "after")
        assert not (place / "odd" / name).exists()
        tree.become(changes, "before")
        assert snapshot(place) == before

    def test_a_folder_without_right_to_write_gets_its_permissions_back(self, tree: Tree) -> None:
        """Permissions of folders are set last, when all is in them."""
        place = tree.places["place"]
        (place / "pkg").mkdir()
        (place / "pkg" / "a.py").write_bytes(b"a")
        (place / "pkg").chmod(0o555)
        before = snapshot(place)
        changes = tree.change("place", "pkg", {})
        (place / "pkg").chmod(0o755)
        tree.become(changes, "after")
        assert not (place / "pkg").exists()
        tree.become(changes, "before")
        assert snapshot(place) == before
        (place / "pkg").chmod(0o755)


NAMES = st.sampled_from(["p/a", "p/b", "p/c/a", "p/c/b", "p/d/e/a", "p/a/x"])
CONTENTS = st.dictionaries(NAMES, st.sampled_from([b"", b"1", b"22"]), max_size=4).filter(
    lambda files: not ({"p/a", "p/a/x"} <= files.keys())
)


@settings(max_examples=50)
@given(CONTENTS, CONTENTS, st.randoms(use_true_random=False), st.booleans())
def test_any_state_between_two_leads_to_either(
    old: dict[str, bytes], new: dict[str, bytes], chance: random.Random, forward: bool
) -> None:
    """Whatever part of a change was made, it can be finished or undone, to the byte."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder, "place")
        place.mkdir()
        tree = Tree({"place": place}, Blobs(Path(folder, "blobs")))

        def fill(contents: dict[str, bytes]) -> None:
            wanted = {path: File(tree.blobs.put(data), len(data), 0o644) for path, data in contents.items()}
            tree.become(tree.change("place", "p", wanted), "after")

        fill(old)
        before = snapshot(place)
        wanted = {path: File(tree.blobs.put(data), len(data), 0o644) for path, data in new.items()}
        changes = tree.change("place", "p", wanted)
        tree.become(changes, "after")
        after = snapshot(place)
        tree.become(changes, "before")
        assert snapshot(place) == before

        # What a kill leaves: the first steps of the way that `become` takes.
        steps = [change for change in changes if change.after is None or not isinstance(change.before, Folder)]
        for change in chance.sample(steps, chance.randint(0, len(steps))):
            target = tree.path("place", change.path)
            if isinstance(change.after, File) and isinstance(change.before, File):
                target.write_bytes(tree.blobs.read(change.after.sha256))
            elif change.after is None and isinstance(change.before, File):
                target.unlink()
        if changes and (beside := tree.path("place", changes[-1].path).parent).is_dir():
            (beside / ".aetherra-new-0").write_bytes(b"half")
        assert tree.differing(changes, "before", "after") == []
        tree.become(changes, "after" if forward else "before")
        assert snapshot(place) == (after if forward else before)
