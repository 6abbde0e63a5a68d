"""Learning the order of a scan."""

from __future__ import annotations

from aetherra.plugins.self_incorporation.night.evidence import Changes
from aetherra.plugins.self_incorporation.night.learning.candidate import mark_of
from aetherra.plugins.self_incorporation.night.learning.rescan_learner import RescanLearner
from aetherra.plugins.self_incorporation.night.learning.rescan_order import RescanOrder

PATHS = [f"{folder}/f{number}.py" for folder in "abcd" for number in range(10)]


def changes(count):
    return [Changes(at=float(at + 1), root="/r", paths=(f"d/f{at % 5}.py",)) for at in range(count)]


class TestRescanLearner:
    def test_it_learns_from_what_is_held_back(self, run):
        """What the latest scans found changes nothing of what is learnt."""
        told = changes(20)
        lied = [*told[:14], *(Changes(at=one.at, root="/r", paths=("a/f1.py",)) for one in told[14:])]

        learnt = [run(RescanLearner(one, PATHS, (), 0.3).learn(None)) for one in (told, lied)]
        assert learnt[0] == learnt[1] and len(learnt[0]) == 1

    def test_changed_files_are_not_found_sooner(self, run):
        """In the scans that were held back, changed files come first where they came last."""
        learner = RescanLearner(changes(20), PATHS, (), 0.3)
        (candidate,) = run(learner.learn(None))

        assert (learner.learnt_from, candidate.insight, candidate.builds_on) == (14, "changes", "")
        assert min(run(learner.losses(None))) > 0.7 and max(run(learner.losses(candidate.value))) < 0.2
        assert len(run(learner.losses(None, since=17.0))) == 3
        assert learner.harm(None, candidate.value) == ""

    def test_dead_code_is_tried_on_what_is_not_in_use(self, run):
        """It is tried on top of the order that was learnt, and on top of the one in use, whichever comes to be."""
        in_use = RescanOrder({"": 0.5})
        learner = RescanLearner(changes(20), PATHS, ["a/f1.py"], 0.3)

        found = run(learner.learn(in_use))

        assert [one.insight for one in found] == ["changes", "dead_code", "dead_code"]
        assert [one.builds_on for one in found] == [mark_of(in_use), mark_of(found[0].value), mark_of(in_use)]
        assert found[2].value.places == in_use.places and found[2].value.quiet == {"a/f1.py"}

    def test_a_scan_of_all_tells_where_changes_are(self, run):
        """The first scan finds every file new: that is neither learnt from nor tried on."""
        first = Changes(at=0.5, root="/r", paths=tuple(PATHS))

        with_first, without = (RescanLearner(found, PATHS, (), 0.3) for found in ([first, *changes(20)], changes(20)))
        assert run(with_first.learn(None)) == run(without.learn(None))
        assert with_first.learnt_from == without.learnt_from

    def test_it_learns_from_next_to_nothing(self, run):
        """A few scans, or a root without files, are not learnt from."""
        assert run(RescanLearner(changes(5), PATHS, (), 0.3).learn(None)) == ()
        assert run(RescanLearner(changes(20), (), (), 0.3).learn(None)) == ()
