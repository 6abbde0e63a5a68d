"""Neighbours: no threat comes in by halves, whichever half comes first and wherever it was found."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from aetherra.plugins.self_incorporation.gate.decision import Decision
from aetherra.plugins.self_incorporation.gate.item import Item
from aetherra.plugins.self_incorporation.integration.neighbours import Neighbours, Reach
from aetherra.plugins.self_incorporation.integration.plan import Plan
from aetherra.plugins.self_incorporation.integration.planner import IntegrationPlanner, Judged
from aetherra.plugins.self_incorporation.integration.registrations import Registration, registration
from tests.plugins.self_incorporation.gate.conftest import Tree
from tests.plugins.self_incorporation.integration.conftest import empty_world

RUNS = "from parts import TEXT\n\n\ndef run():\n    exec(TEXT)\n"
PLAIN = 'TEXT = "print(1)"\n'
DECODES = 'import base64\n\nTEXT = base64.b64decode("cHJpbnQoKQ==")\n'


class Site:
    """A tree to find items in, and a destination where they stand once they are in."""

    def __init__(self, folder: Path) -> None:
        self.tree = Tree(folder / "project")
        self.destination = folder / "incorporated"
        self.destination.mkdir()
        self.registered: dict[str, Registration] = {}
        self.reach: Reach = {}
        self.gate = self.tree.gate(grants=lambda _: ("code:dynamic", "process:spawn", "network:outbound"))

    def found(self, path: str) -> Item:
        return self.tree.items()[path]

    def plan(self, *paths: str) -> Plan:
        judged = [Judged(item, self.gate.decide(item, now=1.0)) for item in map(self.found, paths)]
        beside = Neighbours(
            self.destination, self.registered, judged, lambda item: self.gate.decide(item, now=1.0), self.reach
        )
        world = empty_world(registered=self.registered)
        return IntegrationPlanner().plan(judged, world, at=1.0, beside=beside.concerns)

    def bring_in(self, *paths: str) -> None:
        plan = self.plan(*paths)
        assert [step.path for step in plan.steps] and not plan.left_out, plan.left_out
        for step in plan.steps:
            for file in step.files:
                target = self.destination / file.target
                target.parent.mkdir(exist_ok=True)
                target.write_bytes((self.tree.folder / file.source).read_bytes())
            self.registered[step.name] = registration(step, "t", step.uses, None)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    (tmp_path / "project").mkdir()
    made = Site(tmp_path)
    yield made
    made.tree.safety.close()


@pytest.mark.parametrize("folder", ["", "deep/down/"])
def test_new_code_of_a_module_is_judged_with_those_that_import_it(site: Site, folder: str) -> None:
    """It is harmless by itself, and so was what runs its text; together they are not."""
    runs, parts = f"{folder}greeter.py", f"{folder}parts.py"
    site.tree.write({runs: RUNS, parts: PLAIN})
    site.bring_in(runs, parts)
    site.tree.write({parts: DECODES, f"{folder}other.py": "def f(): ...\n"})

    plan = site.plan(parts, f"{folder}other.py")
    assert [step.name for step in plan.steps] == ["other"]
    (out,) = plan.left_out
    assert (out.name, out.code) == ("parts", "beside")
    assert "'greeter', which came in before, would be blocked" in out.text
    site.tree.write({parts: PLAIN + "# still\n"})
    assert [step.needs_approval for step in site.plan(parts).steps] == [""]


def test_what_comes_is_judged_with_what_is_there(site: Site) -> None:
    """Though it was found elsewhere, with nothing beside it."""
    site.tree.write({"one/parts.py": DECODES, "two/greeter.py": RUNS, "three/good.py": "import parts\n"})
    site.bring_in("one/parts.py")
    plan = site.plan("two/greeter.py", "three/good.py")
    assert [step.name for step in plan.steps] == ["good"]
    assert [(out.name, out.code) for out in plan.left_out] == [("greeter", "beside")]
    assert "beside what came in before" in plan.left_out[0].text


def test_a_module_that_was_not_there_before_counts_too(site: Site) -> None:
    """It was imported all the same, and is found now; also a module behind a module."""
    site.tree.write({"a/greeter.py": RUNS, "b/parts.py": "from more import TEXT\n", "c/more.py": DECODES})
    site.bring_in("a/greeter.py")
    site.bring_in("b/parts.py")
    plan = site.plan("c/more.py")
    assert plan.steps == ()
    assert [out.code for out in plan.left_out] == ["beside"]


def test_halves_that_come_together_are_judged_together(site: Site) -> None:
    """From two folders, in one plan: neither was there before."""
    site.tree.write({"a/parts.py": DECODES, "b/greeter.py": RUNS})
    plan = site.plan("a/parts.py", "b/greeter.py")
    assert [step.name for step in plan.steps] == ["parts"]
    assert [out.name for out in plan.left_out] == ["greeter"]


def test_what_was_wrong_before_is_not_held_against_what_comes(site: Site) -> None:
    """Its grants are gone, as the gate says of it each time; a module that changes nothing about that comes in."""
    site.tree.write({"greeter.py": RUNS, "parts.py": PLAIN})
    site.bring_in("greeter.py", "parts.py")
    site.gate = site.tree.gate()
    site.tree.write({"parts.py": PLAIN + "MORE = 1\n"})
    assert [step.needs_approval for step in site.plan("parts.py").steps] == [""]


def test_a_file_that_is_not_what_was_judged_is_no_step(site: Site) -> None:
    """What stands there later is what was looked at, or nothing comes in."""
    site.tree.write({"parts.py": PLAIN})
    item = site.found("parts.py")
    judged = [Judged(item, site.gate.decide(item, now=1.0))]
    beside = Neighbours(site.destination, {}, judged, lambda item: site.gate.decide(item, now=1.0))
    site.tree.write({"parts.py": DECODES})
    plan = IntegrationPlanner().plan(judged, empty_world(), at=1.0, beside=beside.concerns)
    assert "not what was judged" in plan.left_out[0].text


def test_only_what_looks_for_a_new_module_is_judged_with_it(site: Site) -> None:
    """Who looks for what is found once, and again whenever other code has come in."""
    site.tree.write({"greeter.py": RUNS, "parts.py": PLAIN, "other.py": "import json\n", "new.py": "def f(): ...\n"})
    site.bring_in("greeter.py", "parts.py", "other.py")
    asked: list[str] = []
    real, reach = site.gate.decide, site.reach

    def decide(item: Item, *, now: float) -> Decision:
        asked.append(item.path)
        return real(item, now=now)

    site.gate.decide = decide  # type: ignore[method-assign]
    reach.clear()
    assert len(site.plan("new.py").steps) == 1
    assert sorted(set(asked) - {"new.py"}) == ["greeter.py", "other.py", "parts.py"]
    asked.clear()
    assert len(site.plan("new.py").steps) == 1
    assert set(asked) == {"new.py"}
    site.tree.write({"parts.py": DECODES})
    asked.clear()
    assert site.plan("parts.py").steps == ()
    assert set(asked) == {"parts.py", "greeter.py"}


def test_packages_are_judged_so_too(site: Site) -> None:
    """A package that runs the text of a module beside it, and nothing is left where it was looked at."""
    site.tree.write({"greeter/__init__.py": "from .deep import run\n", "greeter/deep.py": RUNS, "parts.py": PLAIN})
    site.bring_in("greeter", "parts.py")
    site.tree.write({"parts.py": DECODES})
    assert [out.code for out in site.plan("parts.py").left_out] == ["beside"]


def test_what_a_project_says_stands_against_what_comes_in(site: Site) -> None:
    """It is judged where it was found: beside others, only what is against an item there and was not before counts."""
    files = {"x/greeter.py": RUNS, "x/parts.py": PLAIN, "x/pyproject.toml": "[project]\nname = 'x'\n"}
    site.tree.write(files)
    judged: list[Item] = []
    decide = site.gate.decide
    site.gate.decide = lambda item, now: judged.append(item) or decide(item, now=now)  # type: ignore[method-assign]
    plan = site.plan("x/greeter.py", "x/parts.py")

    assert [step.name for step in plan.steps] == ["parts", "greeter"]
    assert [item.project is None for item in judged] == [False] * 2 + [True] * (len(judged) - 2)
    assert len(judged) > 2
