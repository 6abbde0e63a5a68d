"""A file or a folder as a whole."""

import os
import stat
from pathlib import Path

import pytest

from aetherra.plugins.self_incorporation.gate.whole import clear, content_of, copy, put


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    tree = tmp_path / "tree"
    (tree / "sub").mkdir(parents=True)
    (tree / "sub" / "tool").write_bytes(b"#!")
    (tree / "link").symlink_to("sub")
    return tree


@pytest.mark.parametrize("change", ["byte", "mode", "time", "name", "link"])
def test_what_is_other_has_the_same_digest(tree: Path, change: str) -> None:
    """Every name, mode, time, link and byte counts."""
    digest = content_of(tree)[0]
    tool = tree / "sub" / "tool"
    times = tool.stat().st_mtime_ns
    if change == "byte":
        tool.write_bytes(b"#?")
        os.utime(tool, ns=(times, times))
    elif change == "mode":
        tool.chmod(0o700)
    elif change == "time":
        os.utime(tool, ns=(1, 1))
    elif change == "name":
        tool.rename(tool.with_name("tools"))
    else:
        (tree / "link").unlink()
        (tree / "link").symlink_to("sub/tool")

    assert content_of(tree)[0] != digest


def test_a_copy_is_another(tree: Path, tmp_path: Path) -> None:
    """It has the digest and the size of what it was made of."""
    copy(tree, tmp_path / "copy")

    assert content_of(tmp_path / "copy") == content_of(tree)


@pytest.mark.parametrize("folder", [True, False])
def test_something_else_is_overwritten(tree: Path, tmp_path: Path, folder: bool) -> None:
    """A place that is taken stays as it is."""
    (tmp_path / "place").write_bytes(b"new")

    with pytest.raises(FileExistsError):
        put(tree if folder else tree / "sub" / "tool", tmp_path / "place", folder)
    assert (tmp_path / "place").read_bytes() == b"new"


def test_what_a_link_leads_to_is_cleared(tree: Path, tmp_path: Path) -> None:
    """All that is below goes, whatever its modes, and nothing beyond a link changes."""
    (tmp_path / "kept").mkdir(mode=0o750)
    (tree / "sub" / "away").symlink_to(tmp_path / "kept")
    (tree / "sub").chmod(0)
    clear(tree)
    clear(tree)

    assert not tree.exists()
    assert stat.S_IMODE((tmp_path / "kept").stat().st_mode) == 0o750
