"""Recognition: a plugin is told by its text, and by those of the modules that it imports beside it."""

from __future__ import annotations

import pytest

from aetherra.hmr.recognition import Texts


def texts(folder):
    found = {file: file.stat() for file in folder.rglob("*.py")}
    return Texts(folder, {file: (at.st_mtime_ns, at.st_size, at.st_ino) for file, at in found.items()})


@pytest.fixture
def write(tmp_path):
    def write(files):
        for name, text in files.items():
            file = tmp_path / f"{name}.py"
            file.parent.mkdir(exist_ok=True)
            file.write_text(text)

    return write


class TestOneFile:
    @pytest.mark.parametrize(
        ("text", "names"),
        [
            ("from aetherra.plugins import Plugin\nclass SlowCounter(Plugin): ...", "slow_counter"),
            ("from aetherra.plugins import Plugin\nclass A(Plugin):\n    name = 'given'", "given"),
            ("from aetherra.plugins import Plugin\nclass A(Plugin):\n    name: str = 'given'", "given"),
            ("from aetherra.kernel import Plugin as P\nclass A(P[int]): ...", "a"),
            ("import aetherra.plugins\nclass A(aetherra.plugins.Plugin): ...", "a"),
            ("import aetherra.plugins as ap\nclass A(ap.Plugin[int]): ...", "a"),
            ("from aetherra import plugins\nclass A(plugins.Plugin): ...", "a"),
            ("from aetherra.plugins import Plugin\nclass Base(Plugin): ...\nclass B(Base): ...", "b"),
            ("from aetherra.plugins import Plugin\nclass A(Plugin): ...\nclass B(Plugin): ...", "a b"),
            ("import aetherra.plugins as ap\nclass A(ap.Message): ...", ""),
            ("class A(B): ...\nclass B(A): ...", ""),
            ("from some import A\nclass B(A): ...", ""),
            ("from elsewhere import Plugin\nclass A(Plugin): ...", ""),
            ("from aetherra.plugins import Plugin\nprint(Plugin)", ""),
            ("from aetherra.plugins import Plugin\nclass A(Plugin:", ""),
            ("\x00", ""),
            ("# -*- coding: no-such -*-\nclass A: ...", ""),
        ],
    )
    def test_a_plugin_is_not_known_by_its_text(self, tmp_path, text, names):
        """By the base of its class, whatever that is called there."""
        file = tmp_path / "some.py"
        file.write_text(text)
        assert texts(tmp_path).plugins_in(file) == names.split()


DOOR = "from aetherra.plugins import Plugin\n"


class TestNeighbours:
    def test_a_base_beside_it_is_not_found(self, write, tmp_path):
        """A class is a plugin by its ancestors, wherever they are in the folder, and a base is none."""
        write(
            {
                "base": f"{DOOR}class Base(Plugin): ...",
                "q": "from base import Base\nclass Q(Base): ...",
                "r": "import base as b\nclass R(b.Base[int]): ...",
                "s": "from base import Base\nprint(Base)",
            }
        )
        found = texts(tmp_path)
        places = [tmp_path / f"{name}.py" for name in ("base", "q", "r", "s")]
        assert [found.plugins_in(place) for place in places] == [[], ["q"], ["r"], []]

    def test_a_base_in_its_package_is_not_found(self, write, tmp_path):
        """By relative and absolute imports, and through a module that imports it on."""
        write(
            {
                "pack/__init__": "from .base import Base as Root\nfrom pack.plugin import Real",
                "pack/base": f"{DOOR}class Base(Plugin): ...",
                "pack/plugin": "from . import Root\nclass Real(Root): ...",
                "packs": f"{DOOR}class Other(Plugin): ...",
            }
        )
        found = texts(tmp_path)
        assert found.plugins_in(tmp_path / "pack") == ["real"]
        assert found.plugins_in(tmp_path / "packs.py") == ["other"]

    def test_a_circle_of_imports_has_no_end(self, write, tmp_path):
        """Two modules that take each other's names define nothing."""
        write({"a": "from b import X\nclass A(X): ...", "b": "from a import X"})
        assert texts(tmp_path).plugins_in(tmp_path / "a.py") == []


class TestProblems:
    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            (f"{DOOR}class A(Plugin:", "invalid syntax (some.py, line 2)"),
            ("def half(", ""),
            (f"{DOOR}class A(Plugin): ...", ""),
            (f"# -*- coding: no-such -*-\n{DOOR}", "some.py"),
        ],
    )
    def test_what_cannot_be_read_is_not_told(self, tmp_path, text, problem):
        """If it seems to be meant as a plugin, it is, with the line."""
        file = tmp_path / "some.py"
        file.write_text(text)
        found = texts(tmp_path).problem_in(file)
        assert problem in found
        assert bool(problem) == bool(found)
