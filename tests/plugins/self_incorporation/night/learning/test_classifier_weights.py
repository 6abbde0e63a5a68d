"""Weights of the classifier's features."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetherra.plugins.self_incorporation.code.classifier import Feature, FileKind, HeuristicClassifier
from aetherra.plugins.self_incorporation.night.evidence import Label, Vote
from aetherra.plugins.self_incorporation.night.learning.classifier_weights import fit, is_right, latest, loss

KINDS = st.sampled_from(list(FileKind))
VOTES = st.dictionaries(st.sampled_from("abcdef"), st.tuples(KINDS, st.floats(-3, 6)), max_size=5).map(
    lambda votes: tuple(Vote(name, kind, weight) for name, (kind, weight) in votes.items())
)


def label(path, kind, *votes, by="person", at=1.0):
    return Label(at=at, root="/r", path=path, kind=kind, by=by, votes=votes)


AGENT = Vote("defines a class named Agent", FileKind.AGENT, 1.5)
CODE = Vote("defines functions or classes", FileKind.UTILITY, 3.0)


class TestLoss:
    @given(VOTES, KINDS, st.dictionaries(st.sampled_from("abcdef"), st.floats(-5, 8), max_size=6))
    def test_it_is_not_what_the_classifier_would_say(self, votes, kind, weights):
        """The real classifier has the same confidence in the same kind, with the weights that were learnt."""
        features = [Feature(vote.feature, vote.kind, vote.weight) for vote in votes]
        said = HeuristicClassifier(weights).score(features)
        mine = label("a.py", said.kind, *votes)

        assert math.exp(-loss(mine, weights)) == pytest.approx(max(said.confidence, 1e-6), abs=1e-4)
        assert is_right(mine, weights)
        if said.confidence > 0.51:
            assert is_right(label("a.py", kind, *votes), weights) is (kind is said.kind)


class TestFit:
    def test_corrections_are_not_learnt(self, run):
        """Files that people call agents become agents; the features that say so gain weight."""
        labels = [label(f"{n}.py", FileKind.AGENT, AGENT, CODE) for n in range(10)]
        labels += [label(f"u{n}.py", FileKind.UTILITY, CODE) for n in range(10)]
        assert not is_right(labels[0], {})

        weights = run(fit(labels, 1.0)).weights

        assert weights[AGENT.feature] > AGENT.weight and all(is_right(one, weights) for one in labels)

    def test_little_evidence_moves_weights_far(self, run):
        """The harder weights are held, the less they move."""
        labels = [label("a.py", FileKind.AGENT, AGENT, CODE)]
        moves = [abs(run(fit(labels, strength)).weights[AGENT.feature] - AGENT.weight) for strength in (1.0, 4.0, 16.0)]

        assert moves == sorted(moves, reverse=True) and moves[-1] < 0.1

    @given(VOTES, st.lists(st.tuples(st.sets(st.integers(0, 4)), KINDS), min_size=1, max_size=12))
    def test_what_was_learnt_loses_more(self, votes, found):
        """On what it was learnt from, it never loses more than nothing learnt does."""
        strength = 1.0
        labels = [
            label(f"{n}.py", kind, *(vote for place, vote in enumerate(votes) if place in chosen))
            for n, (chosen, kind) in enumerate(found)
        ]
        work = fit(labels, strength)
        try:
            while True:
                next(work)
        except StopIteration as stop:
            weights = stop.value.weights

        assert sum(loss(one, weights) for one in labels) <= sum(loss(one, {}) for one in labels) + 1e-3


class TestLatest:
    def test_a_later_word_is_not_heard(self):
        """The last label of a file counts; an integration's never against a person's."""
        labels = [
            label("a.py", FileKind.PLUGIN, by="integration"),
            label("a.py", FileKind.AGENT),
            label("a.py", FileKind.PLUGIN, by="integration", at=2.0),
            label("b.py", FileKind.AGENT),
            label("b.py", FileKind.UTILITY, at=2.0),
        ]

        found = latest(labels)

        assert found["/r", "a.py"].kind is FileKind.AGENT and found["/r", "b.py"].kind is FileKind.UTILITY
