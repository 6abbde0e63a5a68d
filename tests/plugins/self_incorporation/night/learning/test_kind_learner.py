"""Learning kinds."""

from __future__ import annotations

from aetherra.plugins.self_incorporation.code.classifier import FileKind
from aetherra.plugins.self_incorporation.night.evidence import Label, Vote
from aetherra.plugins.self_incorporation.night.learning.classifier_weights import ClassifierWeights
from aetherra.plugins.self_incorporation.night.learning.kind_learner import FEWEST, KindLearner
from aetherra.plugins.self_incorporation.night.learning.split import is_held_back

AGENT = Vote("named Agent", FileKind.AGENT, 1.5)
CODE = Vote("defines something", FileKind.UTILITY, 3.0)


def labels(count, kind=FileKind.AGENT, at=1.0):
    return [
        Label(at=at + n, root="/r", path=f"f{n}.py", kind=kind, by="person", votes=(AGENT, CODE)) for n in range(count)
    ]


class TestKindLearner:
    def test_it_learns_from_what_is_held_back(self, run):
        """A label that is held back changes nothing of what is learnt, whatever it says."""
        told = labels(40)
        lied = [
            Label(at=one.at, root="/r", path=one.path, kind=FileKind.DOCS, by="person", votes=one.votes)
            if is_held_back(f"/r\0{one.path}", 0.3)
            else one
            for one in told
        ]
        assert lied != told

        assert run(KindLearner(told, 0.3).learn(None)) == run(KindLearner(lied, 0.3).learn(None))

    def test_what_was_learnt_does_not_help(self, run):
        """Corrections make the others of their sort likelier."""
        learner = KindLearner(labels(40), 0.3)
        (candidate,) = run(learner.learn(None))

        before, after = run(learner.losses(None)), run(learner.losses(candidate.value))
        assert len(before) == len(after) == 40 - learner.learnt_from > 5
        assert sum(after) < 0.5 * sum(before)

    def test_it_learns_from_next_to_nothing(self, run):
        """A few labels are not learnt from."""
        assert run(KindLearner(labels(FEWEST - 1), 0.01).learn(None)) == ()

    def test_the_old_counts_as_young(self, run):
        """Only what came after a time is younger."""
        learner = KindLearner(labels(40), 0.3)

        assert learner.latest == 40.0 and learner.younger(30.0) == 10
        assert len(run(learner.losses(None, since=40.0))) == 0

    def test_fewer_right_are_no_harm(self):
        """Weights under which fewer files are taken for what they are do harm, and it is said how many."""
        learner = KindLearner(labels(40), 0.3)
        good = ClassifierWeights({AGENT.feature: 9.0})

        assert learner.harm(None, good) == ""
        assert "0 of " in learner.harm(good, None)
