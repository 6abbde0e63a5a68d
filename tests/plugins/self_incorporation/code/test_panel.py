"""Other plugins' classifiers."""

from collections.abc import Callable
from typing import Any, NamedTuple

from aetherra.plugins import SourceFacts, Vote
from aetherra.plugins.self_incorporation.code.classifier import Feature, FileKind
from aetherra.plugins.self_incorporation.code.facts import Facts
from aetherra.plugins.self_incorporation.code.panel import FAULTS, GRACE, SLOW, Panel


class Theirs(NamedTuple):
    plugin: str
    version: str
    call: Callable[..., Any]


def panel(*asked: Theirs, said: list[str] | None = None, clock: Callable[[], float] = lambda: 0.0) -> Panel:
    made = Panel(lambda: asked, clock=clock, say=(said if said is not None else []).append)
    made.convene()
    return made


def docs(**_: object) -> Vote:
    return Vote("docs", 2.0, "reads like prose")


def broken(**_: object) -> Vote:
    raise KeyError("x")


class TestPanel:
    def test_what_each_says_is_a_feature_under_its_name(self) -> None:
        """Two plugins may use the same words; one that cannot tell says nothing."""
        asked = panel(Theirs("b", "1", docs), Theirs("a", "1", docs), Theirs("c", "1", lambda **_: None))

        assert list(asked.features("x.md", b"", None)) == [
            Feature("a: reads like prose", FileKind.DOCS, 2.0),
            Feature("b: reads like prose", FileKind.DOCS, 2.0),
        ]

    def test_each_is_asked_about_the_file_and_what_is_known_of_it(self) -> None:
        """By the names that the hook has."""
        asked: list[dict[str, object]] = []
        facts = Facts((), (), (), 0)

        def remember(**arguments: object) -> None:
            asked.append(arguments)

        assert list(panel(Theirs("a", "1", remember)).features("x.py", b"head", facts)) == []
        assert asked == [{"path": "x.py", "head": b"head", "facts": facts}]

    def test_one_that_raises_is_left_out_and_said_once(self) -> None:
        """The others are asked on; it is asked again from the next scan on, and then not said again."""
        said: list[str] = []
        asked = panel(Theirs("bad", "1", broken), Theirs("good", "1", docs), said=said)
        for _ in range(2):
            for _ in range(2 * FAULTS):
                assert [feature.label for feature in asked.features("x.md", b"", None)] == ["good: reads like prose"]
            assert asked.is_whole  # it has never answered: nothing is missed
            asked.convene()

        assert said == [
            f"the classifier of plugin 'bad' {what}: it raised KeyError: 'x' (at 'x.md')"
            for what in ("says nothing", "is left out of this scan")
        ]

    def test_one_that_does_not_bear_a_file_is_asked_about_the_others(self) -> None:
        """Until it has raised on some; then it is missing, as it might have answered."""

        def picky(path: str, **_: object) -> Vote:
            if path.startswith("bad"):
                raise KeyError(path)
            return docs()

        asked = panel(Theirs("a", "1", picky))
        seen = [
            (len(list(asked.features(path, b"", None))), asked.is_whole)
            for path in ("bad1", "x", "bad2", "x", "bad3", "x")
        ]
        assert seen == [(0, True), (1, True), (0, True), (1, True), (0, False), (0, False)]

        asked.convene()
        assert (len(list(asked.features("x", b"", None))), asked.is_whole) == (1, True)

    def test_one_that_would_end_the_host_is_left_out(self) -> None:
        """``sys.exit()`` is a fault like any other."""

        def leave(**_: object) -> None:
            raise SystemExit(3)

        said: list[str] = []
        asked = panel(Theirs("a", "1", leave), said=said)
        for _ in range(FAULTS):
            assert list(asked.features("x", b"", None)) == []
        assert "SystemExit: 3" in said[0] and "is left out" in said[1]

    def test_one_that_is_slow_on_the_whole_is_left_out(self) -> None:
        """One slow file is forgiven, many are not, so that a scan takes as long as a scan."""
        said: list[str] = []
        now, took = 0.0, [GRACE, 0.0, 0.0, 0.0, *[2.1 * SLOW] * 10]

        def slow(**_: object) -> Vote:
            nonlocal now
            now += took.pop(0)
            return docs()

        asked = panel(Theirs("a", "1", slow), Theirs("b", "1", docs), said=said, clock=lambda: now)
        counts = [len(list(asked.features("x", b"", None))) for _ in range(10)]

        assert counts == [2, 2, 2, 2, 2, 2, 2, 2, 1, 1]
        assert "longer than 0.02 s a file" in said[0]

    def test_names_and_versions_tell_panels_apart(self) -> None:
        """In any order of registration; nobody is an empty text."""
        one, two = Theirs("a", "1", docs), Theirs("b", "2", docs)

        assert panel().convene() == ""
        assert panel(one, two).convene() == panel(two, one).convene() == "a 1, b 2"

    def test_nobody_is_asked_or_held_on_to_after_the_scan(self) -> None:
        """A plugin that is unloaded must not live on here."""
        asked = panel(Theirs("a", "1", docs))
        asked.adjourn()

        assert list(asked.features("x", b"", None)) == []
        assert not asked._asked

    def test_the_facts_are_those_that_the_front_door_promises(self) -> None:
        """An author's plugin knows them by the protocol alone."""
        facts: SourceFacts = Facts(("os",), (), (), 1)

        assert facts.imports == ("os",)
