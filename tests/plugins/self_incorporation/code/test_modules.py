"""What files are called when they are imported."""

import pytest

from aetherra.plugins.self_incorporation.code.modules import Modules, is_source, module_of

MODULES = Modules("a/p", ["a/p/__init__.py", "a/p/q/__init__.py", "a/p/q/r.py", "a/s.py"])


class TestModules:
    def test_a_file_has_another_name(self) -> None:
        """Names are counted from the folder that the item lies in."""
        assert list(MODULES.names) == ["p", "p.q", "p.q.r", "s"]

    @pytest.mark.parametrize(
        ("path", "name", "absolute"),
        [
            ("a/p/q/r.py", ".x", "p.q.x"),
            ("a/p/q/r.py", "..x", "p.x"),
            ("a/p/q/r.py", ".", "p.q"),
            ("a/p/q/r.py", "...s.y", "s.y"),
            ("a/p/q/r.py", "....x", ""),
            ("a/p/__init__.py", ".q", "p.q"),
            ("a/s.py", "os.path", "os.path"),
        ],
    )
    def test_a_relative_import_leads_elsewhere(self, path: str, name: str, absolute: str) -> None:
        """As Python would; what leaves the item upwards is nothing."""
        assert MODULES.absolute(path, name) == absolute

    def test_a_stub_leads_out_of_its_package(self) -> None:
        """It is no module, and what it imports is counted from where it lies."""
        assert MODULES.absolute("a/p/q/r.pyi", "..x") == "p.x"
        assert MODULES.absolute("a/p/__init__.pyi", ".x") == "p.x"

    def test_a_name_is_not_found_in_its_module(self) -> None:
        """By the longest module that it begins with."""
        assert MODULES.file("p.q.r.run") == ("a/p/q/r.py", "run")
        assert MODULES.file("p.x.run") == ("a/p/__init__.py", "x.run")
        assert MODULES.file("os.system") is None


class TestNames:
    def test_what_is_no_source_is_taken_for_one(self) -> None:
        """Only what Python imports as source is."""
        assert [is_source(path) for path in ("a.py", "a.pyw", "a.pyi", "a.txt", "py")] == [
            True,
            True,
            False,
            False,
            False,
        ]
        assert module_of("a/b.py", "a") == "b"
        assert module_of("a/b/__init__.py", "") == "a.b"
