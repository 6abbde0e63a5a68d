"""The order in which a scan deals with files."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetherra.plugins.self_incorporation.index.paths import original
from aetherra.plugins.self_incorporation.index.walk import Folder, Tree
from aetherra.plugins.self_incorporation.night.evidence import Changes
from aetherra.plugins.self_incorporation.night.learning.rescan_order import (
    MOST_PLACES,
    RescanOrder,
    fit,
    losses,
    walked,
    with_quiet,
)

PATHS = [f"{folder}/f{number}.py" for folder in "abcd" for number in range(20)] + ["top.py"]


def scans(*found):
    return [Changes(at=float(at), root="/r", paths=tuple(paths)) for at, paths in enumerate(found)]


class TestOrder:
    def test_where_things_change_comes_last(self, run):
        """Files of a folder in which much changes come before those of one in which little does."""
        chance = random.Random(1)
        changes = scans(*([f"d/f{chance.randrange(20)}.py", f"d/f{chance.randrange(20)}.py"] for _ in range(20)))
        order = run(fit(changes, PATHS, 16.0))
        first = order.first(PATHS)

        assert all(path.startswith("d/") for path in first[:20])
        assert sorted(first) == sorted(PATHS)
        assert order.urgency("d/new.py") > order.urgency("a/new.py") > 0

    def test_what_changed_once_long_ago_is_as_what_changes_now(self, run):
        """The latest scans count most."""
        changes = scans(*[["a/f1.py"]] * 5, *[["b/f1.py"]] * 5)

        order = run(fit(changes, PATHS, 4.0))

        assert order.urgency("b/f2.py") > order.urgency("a/f2.py")

    def test_an_order_takes_no_end_of_room(self, run):
        """The places that differ most from those around them are kept; the root always is."""
        paths = [f"d{number}/f.py" for number in range(MOST_PLACES)]
        changes = scans(*([paths[7]] for _ in range(9)), paths)

        order = run(fit(changes, paths, 16.0))

        assert len(order.places) == MOST_PLACES and "" in order.places
        assert order.first(paths)[0] == paths[7]

    def test_files_that_nobody_uses_are_not_told_from_others(self, run):
        """What nobody uses changes less here, and so comes later than what lies beside it."""
        changes = scans(*([f"a/f{number % 10}.py"] for number in range(40)))
        quiet = [f"a/f{number}.py" for number in range(10, 20)]
        order = run(fit(changes, PATHS, 16.0))
        order = RescanOrder({place: rate for place, rate in order.places.items() if not place.endswith(".py")})

        order = run(with_quiet(order, changes, PATHS, quiet))

        assert order.quiet_factor < 0.5
        assert order.urgency("a/f12.py") < order.urgency("a/f2.py")


class TestLosses:
    def test_the_place_is_not_the_place(self, run):
        """From 0 for what comes first to 1 for what comes last; None is as a walk finds them."""
        paths = ["a/x.py", "b.py", "c.py"]
        changes = scans(["b.py"], ["a/x.py"], ["b.py", "a/x.py"], ["gone.py"])

        assert run(losses(None, changes, paths)) == [0.0, 1.0, 0.5]
        assert run(losses(RescanOrder({"": 1.0, "a": 2.0}), changes, paths)) == [0.5, 0.0, 0.25]

    @given(st.lists(st.lists(st.sampled_from(PATHS), min_size=1, max_size=4), min_size=1, max_size=12))
    def test_a_scan_counts_in_one_order_only(self, found):
        """There is a pair for each scan, and each is a share."""

        def run(work):
            try:
                while True:
                    next(work)
            except StopIteration as stop:
                return stop.value

        changes = scans(*found)
        before = run(losses(None, changes, PATHS))
        after = run(losses(run(fit(changes, PATHS, 16.0)), changes, PATHS))

        assert len(before) == len(after) == len(changes)
        assert all(0 <= loss <= 1 for loss in (*before, *after))

    def test_a_walk_goes_another_way(self, tmp_path):
        """What counts as today's order is the real walk's."""
        for name in ("b/z.py", "b-c/y.py", "b/d/x.py", "a.py", "z.py", "b/a.py"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        folders = [item for item in Tree(str(tmp_path)).walk() if isinstance(item, Folder)]
        found = [original(file.path) for folder in folders for file in folder.items]

        assert found == sorted(found, key=walked)


class TestSteps:
    @pytest.mark.parametrize("count", [10, 2000])
    def test_a_step_grows_with_the_root(self, run, count):
        """More files are more steps."""
        paths = [f"d{number % 7}/f{number}.py" for number in range(count)]
        run(fit(scans(paths[:3]), paths, 16.0))

        assert run.steps >= count / 256
