"""The house: what is listed is there, what is there is listed, and layers are kept."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import tomllib
from pathlib import Path

import pytest

from aetherra.plugins import Plugin

ROOT = Path(__file__).parents[1]
LAYERS = ("registry", "kernel", "hmr", "plugins")
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PACKAGES = SETTINGS["tool"]["setuptools"]["packages"]
ENTRY_POINTS = SETTINGS["project"]["entry-points"]["aetherra.plugins"]
MAY_IMPORT = {
    "registry": {"registry"},
    "kernel": {"registry", "kernel"},
    "hmr": {"registry", "kernel", "hmr"},
    "plugins": {"plugins"},
}


def sources():
    return sorted(path for layer in LAYERS for path in (ROOT / layer).rglob("*.py"))


def name_of(path):
    return str(path.relative_to(ROOT))


def imported_by(path):
    """Return the modules of this project that a file imports, also those inside functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        yield from (name for name in names if name.startswith("aetherra."))


class TestPackages:
    def test_a_folder_is_missing_from_the_wheel(self):
        """Every folder with Python files is listed as a package, and every listed one is there."""
        folders = {path.parent.relative_to(ROOT) for path in sources()}

        assert {".".join(("aetherra", *folder.parts)) for folder in folders} == set(PACKAGES)

    @pytest.mark.parametrize("package", PACKAGES)
    def test_a_package_is_not_typed_or_has_no_front(self, package):
        """Each package has an ``__init__.py``; each layer says that it is typed."""
        folder = ROOT.joinpath(*package.split(".")[1:])

        assert (folder / "__init__.py").is_file()
        assert folder.parent != ROOT or (folder / "py.typed").is_file()

    @pytest.mark.parametrize("package", PACKAGES)
    def test_a_public_name_is_not_listed(self, package):
        """``__all__`` is sorted, and holds what ``__init__.py`` imports, even if late, or defines, and nothing else."""
        module = importlib.import_module(package)
        tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
        late = [node for block in tree.body if isinstance(block, ast.If) for node in block.body]
        bound = {
            alias.asname or alias.name
            for node in (*tree.body, *late)
            if isinstance(node, ast.ImportFrom) and node.module.startswith("aetherra.")
            for alias in node.names
        }
        bound |= {node.name for node in tree.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))}

        assert set(module.__all__) == {name for name in bound if not name.startswith("_")}
        assert len(module.__all__) == len(set(module.__all__))
        assert module.__all__ == sorted(module.__all__, key=_order)
        assert all(hasattr(module, name) for name in module.__all__)

    @pytest.mark.parametrize("package", PACKAGES)
    def test_a_public_name_is_not_explained(self, package):
        """Each public class and function has a docstring of its own."""
        module = importlib.import_module(package)
        public = [getattr(module, name) for name in module.__all__]
        own = [value for value in public if inspect.isclass(value) or inspect.isfunction(value)]

        assert [value.__name__ for value in own if not vars(value).get("__doc__", value.__doc__)] == []


def _order(name):
    """Constants first, then classes, then functions: the order that the linter keeps ``__all__`` in."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)


class TestFiles:
    @pytest.mark.parametrize("path", sources(), ids=name_of)
    def test_a_file_does_not_say_what_it_owns(self, path):
        """Each file begins with a docstring, and is named after what it holds."""
        assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
        assert path.stem not in {"utils", "util", "helpers", "helper", "common", "misc"}

    @pytest.mark.parametrize(
        "path", sorted(path for layer in LAYERS for path in (ROOT / "tests" / layer).rglob("test_*.py")), ids=name_of
    )
    def test_a_test_mirrors_no_file(self, path):
        """Each test file stands where the file it tests stands, and is named after it."""
        inside = path.relative_to(ROOT / "tests")

        assert (ROOT / inside.with_name(inside.name.removeprefix("test_"))).is_file()


class TestLayers:
    @pytest.mark.parametrize("path", sources(), ids=name_of)
    def test_an_import_goes_up(self, path):
        """A layer imports only itself and those below; plugins only the front door, and others' messages."""
        layer, *inside = path.relative_to(ROOT).parts
        for name in imported_by(path):
            target, *rest = name.split(".")[1:]
            if layer == "plugins" and len(inside) == 1:
                assert target in {"kernel", "registry"}, name
            else:
                assert target in MAY_IMPORT[layer], name
            if layer == "plugins" and len(inside) > 1 and rest and (ROOT / "plugins" / rest[0]).is_dir():
                assert rest[0] == inside[0] or rest[1:2] == ["messages"], name

    @pytest.mark.parametrize(
        "name", SETTINGS["project"]["entry-points"]["aetherra.plugins"].items(), ids=lambda x: x[0]
    )
    def test_an_entry_point_leads_nowhere(self, name):
        """Each entry point is a plugin class of that name."""
        module, _, attribute = name[1].partition(":")
        plugin = getattr(importlib.import_module(module), attribute)

        assert issubclass(plugin, Plugin)
        assert plugin.name == name[0]


class TestArchitecture:
    def test_a_part_of_self_incorporation_is_on_no_map(self):
        """The page on the architecture names each file of it that knows the host, and none that is not there."""
        page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
        section = page.partition("## How code comes in, and goes")[2]
        there = {path.name for path in (ROOT / "plugins" / "self_incorporation").glob("*.py")}

        assert set(re.findall(r"\b(\w+\.py)\b", section)) == there - {"__init__.py", "errors.py"}
