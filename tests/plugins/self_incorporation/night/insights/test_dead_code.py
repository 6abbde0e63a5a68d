"""What nothing names."""

from __future__ import annotations

from aetherra.plugins.self_incorporation.code.classifier import FileKind
from aetherra.plugins.self_incorporation.code.facts import Definition
from aetherra.plugins.self_incorporation.night.insights.census import Census, CountedFile
from aetherra.plugins.self_incorporation.night.insights.dead_code import MOST_TOLD, dead_code_in
from aetherra.plugins.self_incorporation.night.insights.measure import Measured


def census(names, **files):
    found = {
        f"{name}.py": CountedFile(
            path=f"{name}.py",
            kind=FileKind.UTILITY,
            lines=9,
            definitions=tuple(definitions),
            has_test=False,
            measured=Measured(sha256="x"),
        )
        for name, definitions in files.items()
    }
    return Census(files=found, names=set(names), unmeasured={})


def function(name, *decorators):
    return Definition(name, "function", 3, decorators=decorators)


class TestDeadCode:
    def test_what_nobody_uses_is_not_told(self, run):
        """Each with its line; a file of nothing else is quiet."""
        found = run(
            dead_code_in(census({"used"}, a=[function("used"), function("unused")], b=[function("alone")], c=[]))
        )

        assert found.definitions == 2 and found.quiet == ("b.py",)
        assert [(one.path, one.text) for one in found.insights] == [
            ("a.py", "the function 'unused' in line 3 is named nowhere else"),
            ("b.py", "the function 'alone' in line 3 is named nowhere else"),
        ]

    def test_what_is_found_by_its_name_is_dead(self, run):
        """Tests, hooks, visitors, ``main`` and what is decorated may be used without being named."""
        names = ["test_x", "TestX", "pytest_configure", "visit_Name", "main", "__getattr__", "setup", "upgrade"]
        definitions = [*map(function, names), function("registered", "app.route")]

        assert run(dead_code_in(census((), a=definitions))).definitions == 0

    def test_a_plugin_is_dead(self, run):
        """The host finds its class by what it is; a class of another base is told."""
        bases = ("aetherra.plugins.Plugin", "aetherra.kernel.plugin.Plugin", "somewhere.Plugin")
        classes = [Definition(f"C{i}", "class", 3, bases=(base,)) for i, base in enumerate(bases)]
        found = run(dead_code_in(census(set(), a=classes)))
        assert [one.text for one in found.insights] == ["the class 'C2' in line 3 is named nowhere else"]

    def test_a_report_without_end(self, run):
        """All are counted, and the first are told."""
        found = run(dead_code_in(census((), a=[function(f"f{number}") for number in range(MOST_TOLD + 20)])))

        assert (found.definitions, len(found.insights)) == (MOST_TOLD + 20, MOST_TOLD)
