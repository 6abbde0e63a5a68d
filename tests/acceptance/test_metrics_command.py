"""``aetherra metrics`` and ``aetherra improve``, from another process, against a real host."""

from __future__ import annotations

import math
import re
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.acceptance.conftest import Project, RunningHost

SHOP = """
from aetherra.plugins import Knob, hookimpl

class Shop(Plugin):
    name = "shop"
    pool = 1

    def set_pool(self, value):
        self.pool = value

    @hookimpl
    def knobs(self):
        return [Knob(
            name="shop.pool", read=lambda: self.pool, write=self.set_pool, low=1, high=16, step=2, scale="log",
            unit="customers", role="capacity", moves={"shop.wait": "down"}, impact="low", cost="room",
        )]
"""
DAY = 1440
"""Minutes, and points."""

COMMANDS = [
    ["metrics", "list"],
    ["metrics", "show", "loop.lag"],
    ["metrics", "show", "loop.lag", "--plot", "lag.svg"],
    ["improve", "status"],
    ["improve", "proposals"],
    ["improve", "explain", "nope"],
    ["improve", "approve", "nope"],
    ["improve", "reject", "nope"],
    ["improve", "undo", "nope"],
    ["improve", "strategies"],
    ["improve", "simulate"],
    ["improve", "cycles"],
]


class TestNobodyToAsk:
    def test_no_host_is_an_answer(self, project: Project) -> None:
        """Each command says that none runs here, and how to start one."""
        project.configure()
        for command in COMMANDS:
            ended = project.aetherra(*command)
            assert (ended.status, ended.out) == (1, ""), command
            assert "no host is running here" in ended.err
            assert "aetherra run ." in ended.err
        assert not (project.path / "lag.svg").exists()

    def test_a_host_without_the_plugin_answers(self, project: Project) -> None:
        """It says that it does not do that, and what was asked of it."""
        project.configure()
        with project.host() as host:
            for command in COMMANDS:
                ended = project.aetherra(*command)
                assert (ended.status, ended.out) == (1, ""), command
                does_not = "keeps no history of its metrics" if command[0] == "metrics" else "does not improve itself"
                assert does_not in ended.err
                assert "nothing answers 'selfimprovement." in ended.err
            assert host.stop() == 0


class TestMisuse:
    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["metrics", "show"], "Missing argument 'NAME'"),
            (["metrics", "show", "loop.lag", "--window", "soon"], "expected seconds, or a span as 90s"),
            (["metrics", "show", "loop.lag", "--window", "0"], "expected seconds, or a span as 90s"),
            (["metrics", "show", "loop.lag", "--plot", "lag.pdf"], "ends with .png or .svg, got 'lag.pdf'"),
            (["metrics", "show", "loop.lag", "--plot", "lag"], "ends with .png or .svg, got 'lag'"),
            (["metrics", "show", "loop.lag", "--plot", "folder.svg"], "is a directory"),
            (["improve", "proposals", "--state", "forgotten"], "'waiting_approval'"),
            (["improve", "approve"], "Missing argument 'ID'"),
            (["improve", "simulate", "--window", "x"], "expected seconds, or a span as 90s"),
            (["improve", "cycles", "--limit", "0"], "1<=x<="),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, list) else "",
    )
    def test_ends_with_another_status_than_2(self, project: Project, arguments: list[str], said: str) -> None:
        """What makes no sense is told before a host is asked."""
        (project.path / "folder.svg").mkdir()
        ended = project.aetherra(*arguments)
        assert (ended.status, ended.out) == (2, "")
        assert said in ended.err
        assert "Traceback" not in ended.err


def feed(host: RunningHost) -> None:
    """Record a day of four metrics, a point a minute: a rise, a step with a spike, a constant, and one point alone."""
    start = time.time() - 60 * DAY

    def noise(i: int) -> float:
        return (i * 7919 % 101) / 101 - 0.5

    points: list[dict[str, Any]] = []

    def add(name: str, i: int, value: float, unit: str) -> None:
        points.append({"name": name, "value": value, "unit": unit, "timestamp": start + 60 * i})

    for i in range(DAY):
        add("shop.wait", i, 0.5 + 0.0004 * i + 0.02 * noise(i), "s")
        add("shop.users", i, 50 + 4 * noise(i) + (20 if i >= 700 else 0) + (60 if i == 1200 else 0), "users")
        add("shop.rooms", i, 7.0, "rooms")
    add("shop.doors", DAY - 1, 2.0, "doors")
    assert host.call("selfimprovement.record_metrics", {"points": points}, timeout=60)["stored"] == 3 * DAY + 1


@contextmanager
def a_shop(project: Project) -> Iterator[RunningHost]:
    """Run a host whose history has a day of a shop, and that asks before it changes anything."""
    project.plugin("shop", SHOP)
    setpoints = {"shop.wait": {"good": 0.4, "bad": 2.0}, "shop.users": {"good": 150, "bad": 1000}}
    trial = {"settle": 0, "after": 10.0, "every": 0.1}  # nothing is tried before a host was left alone for as long
    section = {"mode": "propose", "setpoints": setpoints, "trial": trial}
    project.configure(discover=True, plugins={"self_improvement": section})
    with project.host() as running:
        feed(running)
        yield running
        assert running.stop() == 0, running.log


@pytest.fixture
def project(asyncio_project: Project) -> Project:
    """An empty project; what is told here does not depend on the event loop."""
    return asyncio_project


@pytest.fixture
def host(project: Project) -> Iterator[RunningHost]:
    """The shop's host."""
    with a_shop(project) as running:
        yield running


def elements(file: Path) -> set[str]:
    return {found for each in ET.parse(file).iter() if (found := each.get("id"))}


def texts(file: Path) -> str:
    return "\n".join(each.text or "" for each in ET.parse(file).iter("{http://www.w3.org/2000/svg}text"))


class TestHistory:
    def test_a_metric_is_not_told(self, project: Project, host: RunningHost) -> None:
        """All metrics are listed; of one there are figures, trend, changes, anomalies, outliers and what is to come."""
        listed = {each["name"]: each for each in project.aetherra("metrics", "list", "--json").json}
        assert {"shop.wait", "shop.users", "shop.rooms", "shop.doors"} <= listed.keys()
        assert listed["shop.users"]["unit"] == "users"
        assert listed["shop.users"]["last"] - listed["shop.users"]["first"] == pytest.approx(60 * (DAY - 1), abs=1)
        assert "shop.rooms" in project.aetherra("metrics", "list").out

        told = project.aetherra("metrics", "show", "shop.users")
        assert (told.status, told.err) == (0, "")
        lines = {line.split("  ")[0]: line for line in told.out.splitlines()}
        assert re.search(r"1,4[34]\d, from 20", lines["points"])
        assert lines.keys() >= {"last", "mean", "range", "p50, p95, p99", "trend", "forecast", "setpoint"}
        assert re.search(r"rising by .*; \S+ users an hour", lines["trend"])
        assert "an hour" not in project.aetherra("metrics", "show", "shop.rooms").out
        assert "CHANGED" in told.out
        assert re.search(r"\d+\S* users +\d+\S* users +up from", told.out)
        assert "OUTLIER" in told.out
        assert "ANOMALY" in told.out

        report = project.aetherra("metrics", "show", "shop.users", "--json").json
        assert report["analysis"]["summary"]["count"] == len(report["points"])
        assert [len(report["analysis"][key]) for key in ("change_points", "outliers")] == [1, 1]
        hour = project.aetherra("metrics", "show", "shop.users", "--window", "1h", "--json").json
        assert 58 <= len(hour["points"]) <= 60
        assert hour["points"] == report["points"][-len(hour["points"]) :]

    def test_a_slip_of_the_pen_has_a_history(self, project: Project, host: RunningHost) -> None:
        """An unknown metric is answered with those near it, or with where all are."""
        for command in ([], ["--json"], ["--plot", "slip.png"]):
            slip = project.aetherra("metrics", "show", "shop.wiat", *command)
            assert (slip.status, slip.out) == (1, "")
            assert slip.err == "aetherra: no metric 'shop.wiat' has a history; nearest: 'shop.wait'\n"
        assert "'aetherra metrics list' has all" in project.aetherra("metrics", "show", "zzzz").err
        assert not (project.path / "slip.png").exists()

    def test_a_plot_lacks_what_was_found(self, project: Project, host: RunningHost) -> None:
        """PNG and SVG are drawn; the SVG has an element for each finding and none for what was not found."""
        drawn = project.aetherra("metrics", "show", "shop.users", "--plot", "users.svg")
        assert (drawn.status, drawn.err) == (0, "")
        assert drawn.out.startswith("users.svg: shop.users, 1,4")
        found = elements(project.path / "users.svg")
        assert found >= {
            "points",
            "trend",
            "levels",
            "changes",
            "anomalies",
            "outliers",
            "forecast",
            "forecast-band",
            "setpoint",
        }
        assert "setpoint" in texts(project.path / "users.svg")
        assert "users" in texts(project.path / "users.svg").splitlines()

        rising = project.aetherra("metrics", "show", "shop.wait", "--plot", "wait.svg", "--json").json
        assert rising["analysis"]["trend"]["movement"] == "rising"
        assert {"points", "trend", "forecast"} <= elements(project.path / "wait.svg")
        assert not {"levels", "outliers"} & elements(project.path / "wait.svg")
        assert "trend: rising" in texts(project.path / "wait.svg")

        for name, unfit in (("shop.rooms", {"anomalies", "outliers", "levels", "setpoint"}), ("shop.doors", {"trend"})):
            assert project.aetherra("metrics", "show", name, "--plot", f"{name}.svg").status == 0
            assert "points" in elements(project.path / f"{name}.svg")
            assert not elements(project.path / f"{name}.svg") & unfit

        assert project.aetherra("metrics", "show", "shop.users", "--plot", "users.png").status == 0
        assert (project.path / "users.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")

    def test_a_plot_that_cannot_be_made_leaves_something(self, project: Project, host: RunningHost) -> None:
        """No folder, no library: a line each, status 1, and what was there before is still there."""
        show = ("metrics", "show", "shop.users", "--plot")
        nowhere = project.aetherra(*show, "no/where.svg")
        assert (nowhere.status, nowhere.out) == (1, "")
        assert nowhere.err == "aetherra: cannot write no/where.svg: No such file or directory\n"

        (project.path / "old.svg").write_text("old", encoding="utf-8")
        (project.path / "sitecustomize.py").write_text(
            "import sys\nsys.modules['matplotlib'] = None\n", encoding="utf-8"
        )
        before = sorted(each.name for each in project.path.iterdir())
        without = project.aetherra(*show, "old.svg", PYTHONPATH=str(project.path))
        assert (without.status, without.out) == (1, "")
        assert without.err == "aetherra: plots need 'matplotlib': pip install 'aetherra[plot]'\n"
        assert (project.path / "old.svg").read_text(encoding="utf-8") == "old"
        assert sorted(each.name for each in project.path.iterdir() if each.name != "__pycache__") == before
        assert project.aetherra("metrics", "show", "shop.users", PYTHONPATH=str(project.path)).status == 0


class TestImprovement:
    def test_nobody_is_asked(self, project: Project, host: RunningHost) -> None:
        """A proposal is told, explained, approved, tried and taken back, each with the reason that a person gave."""

        def value() -> int:
            knobs = {knob["name"]: knob["value"] for knob in host.call("kernel.list_knobs")["knobs"]}
            return int(knobs["shop.pool"])

        host.call("selfimprovement.propose", timeout=60)
        (proposal,) = [
            each
            for each in project.aetherra("improve", "proposals", "--json").json["proposals"]
            if each["knob"] == "shop.pool"
        ]
        assert (proposal["state"], proposal["before"], proposal["after"]) == ("waiting_approval", 1, 2)
        told = project.aetherra("improve", "proposals", "--state", "waiting_approval").out
        assert "shop.pool 1 -> 2 customers" in told
        assert "waiting approval" in told
        assert "passed over" not in told
        assert project.aetherra("improve", "proposals", "--state", "kept", "--json").json["proposals"] == []

        explained = project.aetherra("improve", "explain", proposal["id"])
        assert (explained.status, "shop.wait" in explained.out, "evidence" in explained.out) == (0, True, True)
        assert project.aetherra("improve", "explain", proposal["id"], "--json").json["proposal"]["id"] == proposal["id"]

        approved = project.aetherra("improve", "approve", proposal["id"], "--reason", "worth a try")
        assert (approved.status, approved.err) == (0, "")
        assert approved.out.startswith(f"{proposal['id']}: ap")
        project.until(lambda: value() == 2, "the knob is turned")
        project.until(lambda: host.call("selfimprovement.status")["on_trial"] == proposal["id"], "it is on trial")
        assert proposal["id"] in project.aetherra("improve", "status").out

        undone = project.aetherra("improve", "undo", proposal["id"], "--reason", "changed my mind", "--json")
        assert (undone.status, undone.err) == (0, "")
        project.until(lambda: value() == 1, "the knob is turned back")
        project.until(
            lambda: "changed my mind" in project.aetherra("improve", "proposals", "--state", "undone").out,
            "it is undone",
        )
        assert "worth a try" in project.aetherra("improve", "explain", proposal["id"]).out
        late = project.aetherra("improve", "reject", proposal["id"])
        assert (late.status, late.out) == (1, "")
        assert "'undone' and cannot become 'rejected'" in late.err

    def test_a_rejected_proposal_is_forgotten(self, project: Project, host: RunningHost) -> None:
        """It is kept with the reason; unknown ones are answered with where all are."""
        host.call("selfimprovement.propose", timeout=60)
        proposals = project.aetherra("improve", "proposals", "--json").json["proposals"]
        (name,) = [each["id"] for each in proposals if each["knob"] == "shop.pool"]
        rejected = project.aetherra("improve", "reject", name, "--reason", "no room")
        assert rejected.status == 0
        assert rejected.out.startswith(f"{name}: rejected: ")
        assert "no room" in rejected.out
        assert "no room" in project.aetherra("improve", "proposals", "--state", "rejected").out
        for command in ("explain", "approve", "reject", "undo"):
            unknown = project.aetherra("improve", command, "nope")
            assert (unknown.status, unknown.out) == (1, "")
            assert "there is no proposal 'nope'" in unknown.err

    def test_what_was_found_is_not_told(self, project: Project, host: RunningHost) -> None:
        """Analyses, what is known to work, and a replay: tables for people, documents for programs."""
        host.call("selfimprovement.analyse", timeout=60)
        (cycle, *_) = project.aetherra("improve", "cycles", "--json").json
        assert cycle["metrics"] >= 4
        assert math.isfinite(cycle["seconds"])
        assert str(cycle["metrics"]) in project.aetherra("improve", "cycles", "--limit", "1").out
        assert project.aetherra("improve", "strategies", "--json").json == []
        assert project.aetherra("improve", "strategies", "--metric", "shop.wait").out.startswith("KNOB")

        replay = project.aetherra("improve", "simulate", "--window", "12h", "--step", "2h", "--json", timeout=60).json
        assert replay["looks"] == 7
        assert "shop.pool" in {each["proposal"]["knob"] for each in replay["proposals"]}
        text = project.aetherra("improve", "simulate", "--window", "12h", "--step", "2h", timeout=60).out
        assert text.startswith("7 looks, one each 2.0 h, from 20")
        assert "shop.pool 1 -> 2 customers" in text
        assert project.aetherra("improve", "proposals", "--state", "applied", "--json").json["proposals"] == []
