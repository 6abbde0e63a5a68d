"""Plans: what comes in, in what order, and why the rest does not."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from aetherra.plugins.self_incorporation.code.classifier import FileKind
from aetherra.plugins.self_incorporation.gate.decision import Ground
from aetherra.plugins.self_incorporation.gate.item import Item
from aetherra.plugins.self_incorporation.integration.plan import Concern, Plan, digest_of
from aetherra.plugins.self_incorporation.integration.planner import IntegrationPlanner
from aetherra.plugins.self_incorporation.integration.registrations import Registration
from tests.plugins.self_incorporation.integration.conftest import empty_world, file_of, item_at, judged, plan_of


def make(root: Path, path: str, kind: FileKind = FileKind.PLUGIN, **fields: object) -> Item:
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(f"# {path}", encoding="utf-8")
    return item_at(root, path, kind, **fields)


def registered(item: Item, **fields: object) -> Registration:
    given: dict[str, object] = {
        "name": item.name,
        "action": "load_plugin",
        "kind": item.kind,
        "path": Path(item.path).name,
        "origin": f"{item.root}/{item.path}",
        "digest": item.digest,
        "version": item.version,
        "files": {},
        "settings": {},
        "token": "t1",
    }
    return Registration(**{**given, **fields})  # type: ignore[arg-type]


class TestAPlan:
    def test_says_what_is_done_with_each_kind(self, root: Path) -> None:
        """Code is copied, and flows and data are read; what there is nothing to be done with is left out."""
        items = [
            make(root, "a/greeter.py"),
            make(root, "b/helper.py", FileKind.UTILITY),
            make(root, "c/scout.py", FileKind.AGENT),
            make(root, "d/setup.json", FileKind.WORKFLOW),
            make(root, "d/more.aether", FileKind.AETHER),
            make(root, "e/prices.csv", FileKind.DATASET),
            make(root, "f/README.md", FileKind.DOCS),
            make(root, "g/run.sh", FileKind.WORKFLOW),
            make(root, "h/x.parquet", FileKind.DATASET),
            make(root, "i/fast.c", FileKind.UTILITY),
        ]
        plan = plan_of(*items)

        assert {step.name: (step.action, step.main, [file.target for file in step.files]) for step in plan.steps} == {
            "greeter": ("load_plugin", "greeter.py", ["greeter.py"]),
            "helper": ("import_utility", "helper.py", ["helper.py"]),
            "scout": ("register_agent", "scout.py", ["scout.py"]),
            "setup.json": ("execute_workflow", "d/setup.json", [""]),
            "more.aether": ("execute_workflow", "d/more.aether", [""]),
            "prices.csv": ("index_dataset", "e/prices.csv", [""]),
        }
        assert {out.item: out.code for out in plan.left_out} == {
            "f/README.md": "wrong_kind",
            "g/run.sh": "wrong_kind",
            "h/x.parquet": "unusable",
            "i/fast.c": "unusable",
        }

    def test_copies_a_package_whole(self, root: Path) -> None:
        """Under its own folder's name, wherever it was found."""
        (root / "deep" / "greeter" / "parts").mkdir(parents=True)
        for name in ("__init__.py", "messages.py", "parts/__init__.py"):
            (root / "deep" / "greeter" / name).write_text("", encoding="utf-8")
        (step,) = plan_of(item_at(root, "deep/greeter")).steps

        assert step.main == "greeter"
        assert [file.target for file in step.files] == [
            "greeter/__init__.py",
            "greeter/messages.py",
            "greeter/parts/__init__.py",
        ]

    def test_copies_the_project_of_a_package(self, root: Path) -> None:
        """Under the package's folder, where there is none; that of a module alone is read, and not copied."""
        for name in ("x/src/greeter/__init__.py", "x/pyproject.toml"):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text("", encoding="utf-8")
        project = file_of(root, "x/pyproject.toml")
        package, module = item_at(root, "x/src/greeter", project=project), make(root, "x/alone.py", project=project)
        steps = plan_of(package, module).steps

        assert {step.name: [(file.source, file.target) for file in step.files[1:]] for step in steps} == {
            "greeter": [("x/pyproject.toml", "greeter/pyproject.toml")],
            "alone": [("x/pyproject.toml", "")],
        }

    def test_tests_of_a_project_come_in_unasked(self, root: Path) -> None:
        """What a project does not ship is left out, but for plugins and for what somebody has named."""
        (root / "x").mkdir()
        (root / "x" / "pyproject.toml").write_text("", encoding="utf-8")
        project, tool = file_of(root, "x/pyproject.toml"), FileKind.UTILITY
        inside = [make(root, f"x/{path}.py", tool, project=project) for path in ("mod", "src/sub", "test_mod", "setup")]
        below = [make(root, "x/docs/conf.py", tool, project=project), make(root, "x/more/lamp.py", project=project)]
        items = [judged(item) for item in (*inside, *below, make(root, "tests.py", tool))]

        plan = IntegrationPlanner().plan(items, empty_world(), at=1.0)
        assert {step.name for step in plan.steps} == {"mod", "sub", "lamp", "tests"}
        assert {out.item: out.code for out in plan.left_out} == dict.fromkeys(
            ("x/test_mod.py", "x/setup.py", "x/docs/conf.py"), "not_shipped"
        )
        assert len(IntegrationPlanner().plan(items, empty_world(), at=1.0, named=True).steps) == 7

    def test_what_is_left_to_a_build_comes_in_unasked(self, root: Path) -> None:
        """Nobody knows what it needs, so a person is asked."""
        (step,) = plan_of(make(root, "a.py", left_open={"pyproject.toml": ("dependencies",)})).steps
        assert step.needs_approval == (
            "'pyproject.toml' leaves dependencies to its build, so nobody knows what it needs"
        )

    def test_puts_what_is_needed_first_and_then_the_least_risky(self, root: Path) -> None:
        """By plugins required and modules imported; a learnt weight takes the place of the risk."""
        low, high = make(root, "low.py", risk=0.1), make(root, "high.py", risk=0.6)
        tool = make(root, "tool.py", FileKind.UTILITY, risk=0.9)
        user = make(root, "user.py", risk=0.0, imports=("tool.part", "json"), requires=("high", "aetherra-api>=1,<2"))
        items = [judged(item) for item in (high, user, low, tool)]

        plan = IntegrationPlanner().plan(items, empty_world(), at=1.0)
        assert [step.name for step in plan.steps] == ["low", "high", "tool", "user"]
        assert (plan.steps[3].after, plan.steps[3].uses, plan.steps[3].requires) == ((2, 3), ("tool",), ("high",))
        backwards = IntegrationPlanner(lambda item: -item.risk).plan(items, empty_world(), at=1.0)
        assert [step.name for step in backwards.steps] == ["tool", "high", "low", "user"]

    def test_leaves_out_a_circle_and_what_hangs_on_it(self, root: Path) -> None:
        """Those that need each other can come in neither first nor last."""
        plan = plan_of(
            make(root, "a.py", requires=("b",)),
            make(root, "b.py", requires=("a",)),
            make(root, "c.py", requires=("a",)),
            make(root, "d.py"),
        )
        assert [step.name for step in plan.steps] == ["d"]
        assert {out.name: out.code for out in plan.left_out} == {"a": "circle", "b": "circle", "c": "circle"}

    def test_takes_only_what_the_gate_lets_in_as_it_was_judged(self, root: Path) -> None:
        """What needs approval is in the plan, which says so."""
        a, b, c, d = (make(root, f"{name}.py") for name in "abcd")
        ground = (Ground("threat", "it downloads and runs"),)
        plan = IntegrationPlanner().plan(
            [
                judged(a),
                judged(b, "blocked", rationale=ground),
                judged(c, digest="other"),
                judged(d, "needs_approval", rationale=ground),
            ],
            empty_world(),
            at=1.0,
        )
        assert [(step.name, step.needs_approval) for step in plan.steps] == [("a", ""), ("d", "it downloads and runs")]
        assert {out.name: out.code for out in plan.left_out} == {"b": "not_approved", "c": "judged_otherwise"}
        assert "it downloads and runs" in plan.needs_approval
        assert "downloads" in next(out.text for out in plan.left_out if out.name == "b")

    def test_is_bound_to_all_that_would_be_done(self, root: Path) -> None:
        """Other bytes, names or settings are another plan; the time is not."""
        item = make(root, "a.py")
        one = plan_of(item)
        assert one.digest == digest_of(one.steps) == plan_of(item).digest
        assert plan_of(item, settings={"a": {"x": 1}}).digest != one.digest
        (root / "a.py").write_text("# other", encoding="utf-8")
        assert plan_of(item_at(root, "a.py")).digest != one.digest

    def test_knows_what_is_registered(self, root: Path) -> None:
        """The same bytes are left out; others replace them."""
        item = make(root, "a.py", version="1")
        world = empty_world(registered={"a": registered(item)})
        assert [out.code for out in plan_of(item, world=world).left_out] == ["unchanged"]
        (root / "a.py").write_text("# new", encoding="utf-8")
        (step,) = plan_of(item_at(root, "a.py", version="1"), world=world).steps
        assert step.replaces == item.digest

    def test_asks_a_person_where_something_else_comes_in_under_a_name(self, root: Path) -> None:
        """From another place, or with fewer requests answered than before."""
        item = make(root, "a.py", version="1", handles=("a.x", "a.y"))
        world = empty_world(registered={"a": registered(item, tags=("a.x", "a.y"))})
        (root / "a.py").write_text("# new", encoding="utf-8")
        (step,) = plan_of(item_at(root, "a.py", version="2", handles=("a.x", "a.y", "a.z")), world=world).steps
        assert step.needs_approval == ""
        (step,) = plan_of(item_at(root, "a.py", version="2", handles=("a.y",)), world=world).steps
        assert step.needs_approval == "it would answer 'a.x' no more"
        elsewhere = make(root, "new/a.py", version="2", handles=("a.x", "a.y"))
        (step,) = plan_of(elsewhere, world=world).steps
        assert step.needs_approval == f"it would replace 'a', which came from {root}/a.py"

    def test_is_made_again_without_what_cannot_stand_there(self, root: Path) -> None:
        """Until nothing more is against it; a person is asked where that is enough."""
        items = [make(root, f"{name}.py") for name in "abc"]
        seen: list[list[str]] = []

        def beside(plan: Plan) -> list[Concern]:
            names = [step.name for step in plan.steps]
            seen.append(names)
            found = [Concern(str(root), "a.py", True, "a breaks b")] * ("a" in names)
            return found or [Concern(str(root), "b.py", False, "b is odd")]

        plan = IntegrationPlanner().plan([judged(item) for item in items], empty_world(), at=1.0, beside=beside)
        assert [(step.name, step.needs_approval) for step in plan.steps] == [("b", "b is odd"), ("c", "")]
        assert [(out.name, out.code, out.text) for out in plan.left_out] == [("a", "beside", "a breaks b")]
        assert seen == [["a", "b", "c"], ["b", "c"], ["b", "c"]]

    @pytest.mark.parametrize("name", ["a\nb.csv", "…", "x" * 300])
    def test_refuses_names_that_no_registration_can_have(self, root: Path, name: str) -> None:
        """A name is a file's name, too."""
        item = make(root, "a.csv", FileKind.DATASET)
        odd = type(item)(**{field: getattr(item, field) for field in item.__struct_fields__} | {"path": f"{name}.csv"})
        assert [out.code for out in plan_of(odd).left_out] == ["unusable"]

    def test_a_plugin_that_nothing_would_find_is_planned(self, root: Path) -> None:
        """What cannot be loaded costs no approval."""
        item = msgspec.structs.replace(make(root, "greeter.py", FileKind.PLUGIN), unloadable="it is not named")

        assert [(out.code, out.text) for out in plan_of(item).left_out] == [("unusable", "it is not named")]
