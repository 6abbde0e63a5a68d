"""Items put together from an index: packages whole, files by themselves, what was refused, and one by its path."""

import os
from pathlib import Path

import pytest

from aetherra.plugins.self_incorporation.gate.items import assemble
from aetherra.plugins.self_incorporation.index.code_index import CodeIndex
from aetherra.plugins.self_incorporation.index.scanner import Scanner
from aetherra.plugins.self_incorporation.stock import ALL, Stock

FILES = {
    "single.py": "def one():\n    return 1\n",
    "notes.md": "# Notes\n",
    "single.py.sig": "{}",
    "pack/__init__.py": "from pack.inner import two\n",
    "pack/inner.py": "import os\n\ndef two():\n    return os.environ\n",
    "pack/data.csv": "a,b\n1,2\n",
    "pack/sub/__init__.py": "",
    "pack/sub/deep.py": "x = 1\n",
    "pack2/__init__.py": "",
    "loose/beside.py": "y = 2\n",
    "proj/pyproject.toml": "[project]\nname = 'p'\ndependencies = ['a']\n",
    "proj/src/inner/__init__.py": "",
    "proj/tool.py": "",
    "linked/inner/__init__.py": "",
    "linked/tool.py": "",
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (root / "pack" / "broken.py").write_text("def (:\n")
    (root / "linked" / "pyproject.toml").symlink_to(root / "proj" / "pyproject.toml")
    return root


@pytest.fixture
def index(tree: Path, tmp_path: Path):
    with CodeIndex(":memory:") as index:
        Scanner(index, clock=lambda: 0.0).scan(tree, now=0.0)
        yield index


class TestStock:
    def test_an_item_is_another_than_if_all_were_put_together_at_once(self, tree: Path, index: CodeIndex) -> None:
        """One at a time or all at once, the items are the same."""
        root = str(tree)
        found = sorted(Stock(index).items(root), key=lambda item: item.path)

        assert found == list(
            assemble(root, index.records(root), findings=index.findings(root, limit=ALL), refusals=index.refusals(root))
        )
        assert [item.path for item in found] == [
            *("linked/inner", "linked/tool.py", "loose/beside.py", "notes.md", "pack", "pack2"),
            *("proj/pyproject.toml", "proj/src/inner", "proj/tool.py", "single.py"),
        ]
        assert {item.path for item in found if item.project is not None} == {"proj/src/inner", "proj/tool.py"}
        linked = {item.path: item.refused for item in found if item.path.startswith("linked/")}
        assert linked == dict.fromkeys(("linked/inner", "linked/tool.py"), ("linked/pyproject.toml",))

    def test_a_folder_that_nobody_can_list_belongs_to_nothing(
        self, tree: Path, index: CodeIndex, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What it holds is as little known as a file that was refused: it is held against its package, and told."""
        (tree / "shut").mkdir()
        scandir = os.scandir

        def guarded(path: str) -> object:
            if path.endswith(("pack/sub", "shut")):
                raise PermissionError(13, "Permission denied")
            return scandir(path)

        monkeypatch.setattr(os, "scandir", guarded)
        Scanner(index, clock=lambda: 0.0).scan(tree, now=60.0)
        stock = Stock(index)

        found = {item.path: item.refused for item in stock.items(str(tree))}
        assert (found["pack"], found["pack2"]) == (("pack/broken.py", "pack/sub"), ())
        for item in (stock.item(str(tree), "pack"), *stock.touched(str(tree), ["pack/sub"])):
            assert item is not None
            assert item.refused == found["pack"]
        assert [it.path for it in stock.refusals(str(tree), "pack")] == ["pack/broken.py", "pack/sub"]
        assert "shut" in [it.path for it in stock.refusals(str(tree), "")]
        assert [it.path for it in stock.refusals(str(tree), "shut")] == ["shut"]
        refused = stock.refused(str(tree), "shut")
        assert refused is not None
        assert refused.detail == "Permission denied"

    @pytest.mark.parametrize(
        ("path", "item"),
        [("pack", "pack"), ("pack/sub/deep.py", "pack"), ("pack/data.csv", "pack"), ("single.py", "single.py")],
    )
    def test_a_path_leads_to_the_wrong_item(self, tree: Path, index: CodeIndex, path: str, item: str) -> None:
        """A file of a package leads to the whole package."""
        found = Stock(index).item(str(tree), path)

        assert found is not None
        assert found.path == item
        assert found in list(Stock(index).items(str(tree)))

    @pytest.mark.parametrize("path", ["nothing.py", "loose", "single.py.sig", "", "../tree/single.py", "/"])
    def test_what_is_no_item_is_one(self, tree: Path, index: CodeIndex, path: str) -> None:
        """A folder that is no package, a signature, and what is not there are no items."""
        assert Stock(index).item(str(tree), path) is None

    def test_what_was_refused_is_forgotten(self, tree: Path, index: CodeIndex) -> None:
        """A file of a package that could not be parsed is told of with the package."""
        found = Stock(index).item(str(tree), "pack")

        assert found is not None
        assert found.refused == ("pack/broken.py",)

    def test_a_root_that_is_a_package_is_taken_apart(self, tree: Path) -> None:
        """Where the root itself is a package, it is one item with all that lies below."""
        (tree / "__init__.py").write_text("")
        with CodeIndex(":memory:") as index:
            Scanner(index, clock=lambda: 0.0).scan(tree, now=0.0)
            (found,) = Stock(index).items(str(tree))
            assert Stock(index).item(str(tree), "pack/inner.py") == found

        assert found.path == "."


class TestTouched:
    @pytest.mark.parametrize(
        ("changed", "paths"),
        [
            (["single.py"], ["single.py"]),
            (["single.py.sig"], ["single.py"]),
            (["pack/sub/deep.py"], ["pack"]),
            (["pack/SIGNATURE.json"], ["pack"]),
            (["pack"], ["pack"]),
            (["loose"], ["loose/beside.py"]),
            (["gone.py", "pack2", "notes.md"], ["pack2", "notes.md"]),
        ],
    )
    def test_a_save_has_the_wrong_items_looked_at(
        self, tree: Path, index: CodeIndex, changed: list[str], paths: list[str]
    ) -> None:
        """Those that hold what has changed, or lie in folders that have, and no others; whole."""
        root = str(tree)
        stock = Stock(index)
        found = list(stock.touched(root, changed))

        assert [item.path for item in found] == paths
        assert found == [stock.item(root, path) for path in paths]

    @pytest.mark.parametrize(
        "changed", [["loose/__init__.py"], [""], ["single.py", "pack/__init__.py"], ["proj/pyproject.toml"]]
    )
    def test_files_stay_with_a_package_that_is_gone(self, tree: Path, index: CodeIndex, changed: list[str]) -> None:
        """Where a package comes or goes, a project changes, or nobody knows what has changed, it is all items."""
        assert list(Stock(index).touched(str(tree), changed)) == list(Stock(index).items(str(tree)))

    def test_what_is_left_of_an_item_is_gone(self, tree: Path, index: CodeIndex) -> None:
        """An item is there as long as the index holds a file of it."""
        stock, root = Stock(index), str(tree)

        assert [stock.holds(root, path) for path in ("single.py", "pack", ".", "gone.py", "pac")] == [
            True, True, True, False, False,
        ]  # fmt: skip
        assert stock.refused(root, "pack/broken.py") is not None
        assert stock.refused(root, "single.py") is None
