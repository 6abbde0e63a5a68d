"""Conflicts: each has its code, names what it is with, and says what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from aetherra.plugins.self_incorporation.code.classifier import FileKind
from aetherra.plugins.self_incorporation.integration.planner import IntegrationPlanner
from aetherra.plugins.self_incorporation.integration.world import Distribution, Present, installed
from tests.plugins.self_incorporation.integration.conftest import empty_world, item_at, judged, plan_of
from tests.plugins.self_incorporation.integration.test_planner import make, registered


def codes(plan: Any) -> list[tuple[str, str, str]]:
    return sorted((conflict.code, conflict.item, conflict.other) for conflict in plan.conflicts)


HOST = Present("lamp", "1", "light", ("lamp.on",), "lamp.py (the configuration)")


class TestWithTheHost:
    @pytest.mark.parametrize(
        ("fields", "expected"),
        [
            ({"name": "lamp"}, ("duplicate_name", "lamp")),
            ({"handles": ("lamp.on", "a.b")}, ("duplicate_tag", "lamp.on")),
            ({"service": "light"}, ("duplicate_service", "light")),
            ({"requires": ("nobody",)}, ("missing_plugin", "nobody")),
            ({"requires_python": ">=4"}, ("version_conflict", "python")),
            ({"requires_python": "later"}, ("version_conflict", "python")),
            ({"dependencies": ("nothing-there>=1",)}, ("dependency_conflict", "nothing-there>=1")),
            ({"dependencies": ("there<2",)}, ("dependency_conflict", "there<2")),
            ({"dependencies": ("There[fast]>=2",)}, ("dependency_conflict", "There[fast]>=2")),
            ({"dependencies": ("!!",)}, ("dependency_conflict", "!!")),
            ({"dependencies": ("x; os_name ~= 'y'",)}, ("dependency_conflict", "x; os_name ~= 'y'")),
            ({"dependencies": ("x; 'y' in 'z'",)}, ("dependency_conflict", "x; 'y' in 'z'")),
            ({"dependencies": ("x; " + "(" * 3000,)}, ("dependency_conflict", "x; " + "(" * 3000)),
            ({"unreadable": {"a/pyproject.toml": "it is no TOML"}}, ("metadata_unreadable", "a/pyproject.toml")),
            (
                {"dependencies": ("x @ https://example.org/x.whl",)},
                ("dependency_conflict", "x @ https://example.org/x.whl"),
            ),
        ],
    )
    def test_an_item_that_does_not_fit_is_left_out(self, root: Path, fields: Any, expected: tuple[str, str]) -> None:
        """With its conflict, and without a step."""
        world = empty_world(
            plugins={"lamp": HOST},
            distributions={"there": Distribution("2.1", ("speed>=3; extra == 'fast'",)), "x": Distribution("1")},
            python="3.11.4",
        )
        plan = plan_of(make(root, "a.py", **fields), world=world)
        assert codes(plan) == [(expected[0], "a.py", expected[1])]
        assert (plan.steps, [out.code for out in plan.left_out]) == ((), ["conflict"])

    @pytest.mark.parametrize(
        "fields",
        [
            {"requires": ("lamp", "aetherra-api>=1")},
            {"requires": ("light",)},
            {"requires_python": ">=3.9,<4"},
            {"dependencies": ("there>=2,<3", "There[slow]", "gone; python_version < '3'", "gone; extra == 'dev'")},
            {"handles": ("a.b",), "service": "a"},
        ],
    )
    def test_an_item_that_fits_comes_in(self, root: Path, fields: Any) -> None:
        """What is met is no conflict, and neither is what does not apply here."""
        world = empty_world(
            plugins={"lamp": HOST}, distributions={"there": Distribution("2.1", ("speed>=3; extra == 'fast'",))}
        )
        plan = plan_of(make(root, "a.py", **fields), world=world)
        assert codes(plan) == []
        assert len(plan.steps) == 1

    @pytest.mark.parametrize("name", ["json", "sys", "msgspec", "aetherra", "no-name"])
    def test_a_module_that_would_hide_another_is_left_out(self, root: Path, name: str) -> None:
        """That of the standard library, of what is installed, or that could not be imported at all."""
        plan = plan_of(make(root, f"{name}.py", FileKind.UTILITY), world=empty_world(**installed()))
        assert codes(plan) == [("namespace_collision", f"{name}.py", name)]
        assert ("use that one, or rename this" in plan.conflicts[0].text) is (name in ("msgspec", "aetherra"))

    def test_a_requirement_stands_nowhere(self, root: Path) -> None:
        """A conflict tells the file that says so, what is there, and what to do."""
        said_in = {">=4": "p/pyproject.toml", "there<2": "p/a.py"}
        item = make(root, "a.py", requires_python=">=4", dependencies=("there<2", "no"), said_in=said_in)
        plan = plan_of(item, world=empty_world(distributions={"there": Distribution("2.1")}, python="3.11.4"))

        assert [conflict.text for conflict in plan.conflicts] == [
            "'p/pyproject.toml': it needs Python >=4, this is 3.11.4; run the host on such a one",
            "'p/a.py': it needs 'there<2', and there 2.1 is installed; install one that fits",
            "it needs 'no', which is not installed; install it, and start the host again",
        ]

    def test_a_grant_that_is_missing_is_named(self, root: Path) -> None:
        """With the line for the configuration."""
        item = make(root, "a.py")
        plan = IntegrationPlanner().plan(
            [judged(item, "needs_approval", missing_grants=("network:outbound",))], empty_world(), at=1.0
        )
        assert codes(plan) == [("missing_capability", "a.py", "network:outbound")]
        assert '"grants": ["network:outbound"]' in plan.conflicts[0].text

    def test_an_earlier_version_does_not_take_the_place_of_a_later(self, root: Path) -> None:
        """A later one does, from wherever it comes; the same only from where it came."""
        old = registered(make(root, "a.py", version="1.10"))
        world = empty_world(registered={"a": old}, plugins={"a": Present("a", "1.10", "a", ("a.b",), "incorporated")})

        def found(path: str, version: str) -> list[str]:
            target = root / path
            target.parent.mkdir(exist_ok=True)
            target.write_text(f"# {version}", encoding="utf-8")
            item = item_at(root, path, name="a", version=version, handles=("a.b",), service="a")
            return [conflict.code for conflict in plan_of(item, world=world).conflicts]

        assert found("a.py", "1.9") == ["version_conflict"]
        assert found("a.py", "1.10") == found("a.py", "1.11") == found("new/a.py", "2") == []
        assert found("new/a.py", "1.10") == ["duplicate_name"]


class TestAmongItems:
    def test_those_that_share_something_are_left_out(self, root: Path) -> None:
        """All of them, as nobody can tell which was meant."""
        plan = plan_of(
            make(root, "a/greeter.py", handles=("x.y",)),
            make(root, "b/greeter.py", handles=("x.z",)),
            make(root, "one.py", handles=("t.t",), service="s1"),
            make(root, "two.py", handles=("t.t",), service="s2"),
            make(root, "three.py", service="s3"),
            make(root, "four.py", service="s3"),
            make(root, "five.py"),
        )
        assert [step.name for step in plan.steps] == ["five"]
        assert {code for code, *_ in codes(plan)} == {
            "duplicate_name",
            "namespace_collision",
            "duplicate_tag",
            "duplicate_service",
        }

    def test_what_needs_one_that_is_left_out_is_left_out(self, root: Path) -> None:
        """To the end of the chain."""
        plan = plan_of(
            make(root, "a.py", requires=("nobody",)),
            make(root, "b.py", requires=("a",)),
            make(root, "c.py", requires=("b",)),
        )
        assert codes(plan) == [
            ("missing_plugin", "a.py", "nobody"),
            ("missing_plugin", "b.py", "a"),
            ("missing_plugin", "c.py", "b"),
        ]
