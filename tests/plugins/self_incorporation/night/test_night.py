"""One night, step by step, in one thread."""

from __future__ import annotations

import itertools
import math
import random
import tempfile
from pathlib import Path

import pytest
from hypothesis import Phase as Stage
from hypothesis import given, settings
from hypothesis import strategies as st

from aetherra.plugins.self_incorporation.code.classifier import FileKind
from aetherra.plugins.self_incorporation.night.evidence import StepOutcome, Vote
from aetherra.plugins.self_incorporation.night.learning.rescan_order import RescanOrder
from aetherra.plugins.self_incorporation.night.learning.trial import try_out
from aetherra.plugins.self_incorporation.night.night import Night, Refused, Wish
from aetherra.plugins.self_incorporation.night.pace import Pace
from aetherra.plugins.self_incorporation.night.phases import WORKING, Phase
from aetherra.plugins.self_incorporation.night.progress import Progress
from aetherra.plugins.self_incorporation.night.settings import NightSettings
from aetherra.plugins.self_incorporation.night.store import NightStore

FILES = {f"{folder}/m{number}.py": f"def f{folder}{number}(): ...\n" for folder in "abcd" for number in range(4)}
AGENT = Vote("named Agent", FileKind.AGENT, 1.5)
CODE = Vote("defines something", FileKind.UTILITY, 3.0)


class Library:
    """What a night reads, of no folder at all."""

    root = "/r"

    def revision(self):
        return "1"

    def files(self, *, after, limit):
        return ()

    def read(self, path, *, limit):
        return None

    def items(self):
        return ()

    def decisions(self):
        return ()


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        self.now += 1.0
        return self.now


def teach(store, root, chance, *, truth=1.0):
    """Give evidence for all three targets, of which a share is the truth and the rest noise."""
    for number in range(60):
        kind = FileKind.AGENT if chance.random() < truth else drawn(chance, [AGENT, CODE])
        store.evidence.add_label(root, f"f{number}.py", kind, [AGENT, CODE], by="person")
    for number in range(40):
        paths = [f"d/m{number % 4}.py"] if chance.random() < truth else [chance.choice(list(FILES))]
        store.evidence.add_changes(root, paths)
    for _ in range(40):
        bad = 1 if chance.random() < truth else chance.randrange(2)
        steps = []
        for place in range(3):
            features = {"item:risk": 0.1 * (place + 1), "risk:network": float(place == 2)}
            failed = (place == 2) if bad else chance.random() < 0.5
            end = "untried" if "failed" in [step.end for step in steps] else "failed" if failed else "done"
            steps.append(StepOutcome(item=f"{place}", after=(), risk=0.1 * place, features=features, end=end))
        store.evidence.add_plan(steps)


def drawn(chance, votes):
    """Draw a kind just as likely as the classifier takes each to be, so that no weights would be better."""
    scores = {kind: sum(vote.weight for vote in votes if vote.kind is kind) for kind in FileKind}
    scores[FileKind.UNKNOWN] += 1.0
    return chance.choices(list(scores), [math.exp(score) for score in scores.values()])[0]


class Walk:
    """Goes through a night; what is wanted is granted, and may be interrupted after any step."""

    def __init__(self, store, library, time_, refuse=lambda wish: None, **given):
        self.store, self.library, self.time, self.refuse = store, library, time_, refuse
        self.settings = NightSettings(**given)
        self.phases, self.wishes = [], []

    def begin(self, progress=None):
        progress = progress or Progress(number=1, began_at=self.time(), revision="1")
        pace = Pace(0.05, lambda: False)
        return Night(progress, self.library, self.store, self.settings, self.time, pace.statistics)

    def steps(self, night):
        """Yield after each step; return the report."""
        answer = None
        while True:
            try:
                wanted = night.steps.send(answer)
            except StopIteration as stop:
                return stop.value
            answer = None
            if isinstance(wanted, Phase):
                self.phases.append(wanted)
            elif isinstance(wanted, Wish):
                self.wishes.append((night.progress.phase, wanted))
                answer = self.refuse(wanted)
                if not answer:
                    wanted.do()
            yield

    def all(self, progress=None):
        work = self.steps(self.begin(progress))
        while True:
            try:
                next(work)
            except StopIteration as stop:
                return stop.value


@pytest.fixture
def walk(folder, tmp_path):
    folder.write(FILES)
    with NightStore(tmp_path / "night", Clock()) as store:
        yield Walk(store, folder, store.evidence._time)


class TestLearning:
    def test_what_helps_is_not_put_to_use(self, walk):
        """All three are learnt from what happened, tried on what was held back, and in use: with both figures."""
        teach(walk.store, walk.library.root, random.Random(1))

        report = walk.all()

        learned = walk.store.learned
        assert learned.weights[AGENT.feature] > AGENT.weight
        assert learned.rescan_order.first(sorted(FILES))[0].startswith("d/")
        assert learned.plan_order.weigh({"risk:network": 1.0, "item:risk": 0.3}) < learned.plan_order.weigh({})
        kept = {one.trial.target: one.trial for one in report.tried if one.outcome == "kept"}
        assert set(kept) == {"classifier_weights", "rescan_order", "plan_order"}
        assert all(trial.after < trial.before and trial.held_back >= 6 for trial in kept.values())
        assert report.changed == sum(one.outcome == "kept" for one in report.tried)

    def test_noise_is_put_to_use(self, tmp_path):
        """Of a hundred nights whose evidence means nothing, few keep anything: no more than is said."""
        kept = 0
        for seed in range(100):
            with NightStore(None, Clock()) as store:
                walk = Walk(store, Library(), store.evidence._time)
                chance = random.Random(seed)
                for number in range(40):
                    chosen = chance.sample([AGENT, CODE, Vote("docs", FileKind.DOCS, 2.0)], 2)
                    kind = drawn(chance, chosen)
                    store.evidence.add_label("/r", f"{number}.py", kind, chosen, by="person")
                for _ in range(40):
                    bad = chance.randrange(3)
                    store.evidence.add_plan(
                        StepOutcome(
                            item=str(place),
                            after=(),
                            risk=0.0,
                            features={f"risk:{chance.randrange(4)}": 1.0},
                            end="failed" if place == bad else "done" if place < bad else "untried",
                        )
                        for place in range(3)
                    )
                walk.all()
                kept += sum(
                    store.learned.current(target) is not None for target in ("classifier_weights", "plan_order")
                )

        assert kept <= 200 * 0.08

    def test_what_was_discarded_is_left_unsaid(self, walk):
        """What does not help is in the report with both figures, and why; nothing is in use."""
        teach(walk.store, walk.library.root, random.Random(3), truth=0.0)

        report = walk.all()

        assert {one.outcome for one in report.tried} == {"discarded"}
        assert all(one.reason and one.trial.metric in one.trial.reason for one in report.tried)
        assert walk.wishes == [] and report.changed == 0

    def test_what_is_not_permitted_is_done(self, walk):
        """It is not in use, it says why, and it is tried again without new evidence."""
        teach(walk.store, walk.library.root, random.Random(1))
        walk.refuse = lambda wish: Refused("not_permitted", "the emergency stop")

        for _ in range(2):
            report = walk.all()
            refused = [one for one in report.tried if one.outcome == "not_permitted"]
            assert {one.trial.target for one in refused} == {"classifier_weights", "rescan_order", "plan_order"}
            assert all("the emergency stop" in one.reason for one in refused)
        assert walk.store.learned.weights == {} and walk.store.learned.plan_order is None

    def test_the_same_evidence_is_tried_every_night(self, walk):
        """Without more evidence there is no other trial: who tries often enough succeeds by chance."""
        teach(walk.store, walk.library.root, random.Random(3), truth=0.0)
        assert walk.all().tried

        assert walk.all().tried == ()

    def test_an_intent_says_nothing_of_what_is_done(self, walk):
        """Each change is asked for by itself, bound to what was tried, with the figures."""
        teach(walk.store, walk.library.root, random.Random(1))
        walk.all()

        for _, wish in walk.wishes:
            kept = [one for one in walk.store.learned.versions(wish.target) if one.trial.digest == wish.intent.digest]
            assert wish.intent.kind == "learning" and kept and kept[0].trial.before == wish.intent.facts["before"]
        components = [wish.intent.component for _, wish in walk.wishes]
        assert len(set(components)) == len(components)


class TestTakingBack:
    @pytest.fixture
    def mistaken(self, walk):
        """An order is in use that calls up folder d first; since then, all changes were in folder b."""
        value = RescanOrder({"": 0.1, "d": 1.0})
        trial = try_out(
            "rescan_order",
            "changes",
            "place",
            [1.0] * 9,
            [0.0] * 9,
            value=value,
            learnt_from=9,
            margin=0.02,
            allowed=0.05,
            at=walk.time(),
        )
        walk.store.learned.keep(trial, value)
        for _ in range(20):
            walk.store.evidence.add_changes(walk.library.root, ["b/m1.py"])
        return value

    def test_what_no_longer_helps_stays(self, walk, mistaken):
        """What does worse than what it replaced, on what happened since, is taken back: with both figures."""
        report = walk.all()

        taken = [one for one in report.tried if one.outcome == "taken_back"]
        assert len(taken) == 1 and taken[0].trial.after < taken[0].trial.before
        assert mistaken not in [kept.value for kept in walk.store.learned.versions("rescan_order")]
        assert walk.wishes[0][1].intent.undo and "no longer helps" in taken[0].reason

    def test_what_still_helps_is_taken_back(self, walk):
        """What was kept and goes on to help stays."""
        teach(walk.store, walk.library.root, random.Random(1))
        walk.all()
        before = walk.store.learned.rescan_order
        for number in range(12):
            walk.store.evidence.add_changes(walk.library.root, [f"d/m{number % 4}.py"])

        assert "taken_back" not in {one.outcome for one in walk.all().tried}
        assert before in [kept.value for kept in walk.store.learned.versions("rescan_order")]


def finished(report):
    """What a night came to, but for when, and how the work went."""
    return (
        [
            (one.trial.target, one.trial.insight, one.trial.digest, one.trial.before, one.trial.after, one.outcome)
            for one in report.tried
        ],
        report.found,
        report.files,
    )


class TestInterruptions:
    @settings(max_examples=10, phases=[Stage.explicit, Stage.generate])
    @given(
        st.integers(0, 3),
        st.sampled_from([0.0, 0.5, 1.0]),
        st.lists(st.integers(1, 20) | st.integers(1, 600), max_size=5),
    )
    def test_an_interrupted_night_comes_to_something_else(self, seed, truth, cuts):
        """Killed after any steps and begun anew from the disk, it comes to what an undisturbed night comes to.

        It goes through every phase in order, does no finished task again, and keeps only what stood its trial.
        """
        with tempfile.TemporaryDirectory() as place:
            quiet = NightStore(None, Clock())
            teach(quiet, "/r", random.Random(seed), truth=truth)
            expected = Walk(quiet, Library(), Clock()).all()

            phases, report, done = [], None, []
            with NightStore(Path(place), Clock()) as store:
                teach(store, "/r", random.Random(seed), truth=truth)
            for cut in [*cuts, None]:
                with NightStore(Path(place), Clock()) as store:
                    walk = Walk(store, Library(), Clock())
                    before = [] if store.unfinished is None else list(store.unfinished.finished)
                    assert before == done or store.unfinished is None
                    night = walk.begin(store.unfinished)
                    work, steps = walk.steps(night), 0
                    while cut is None or steps < cut:
                        steps += 1
                        try:
                            next(work)
                        except StopIteration as stop:
                            report = stop.value
                            break
                    if cut is not None and cut % 2:  # it was interrupted before it was killed
                        store.save_progress(night.progress)
                    done = [] if store.unfinished is None else list(store.unfinished.finished)
                    assert len(done) == len(set(done))
                    phases.extend(walk.phases)
                    assert all(phase is Phase.VALIDATION for phase, _ in walk.wishes)
                    for target in ("classifier_weights", "rescan_order", "plan_order"):
                        assert all(kept.trial.passed for kept in store.learned.versions(target))
                if report is not None:
                    break

            assert finished(report) == finished(expected)
            order = [WORKING.index(phase) for phase in phases]
            assert set(order) == set(range(5)) and all(b - a in (0, 1) for a, b in itertools.pairwise(order))

    @pytest.mark.parametrize("wishes", [1, 2])
    def test_what_was_kept_before_a_kill_is_forgotten(self, tmp_path, wishes):
        """Killed right after something was put to use, the night tells of it as if nothing had happened."""
        with NightStore(None, Clock()) as quiet:
            teach(quiet, "/r", random.Random(1))
            expected = Walk(quiet, Library(), Clock()).all()
        with NightStore(tmp_path, Clock()) as store:
            teach(store, "/r", random.Random(1))
            killed = Walk(store, Library(), Clock())
            for _ in killed.steps(killed.begin()):
                if len(killed.wishes) == wishes:
                    break

        with NightStore(tmp_path, Clock()) as store:
            again = Walk(store, Library(), Clock())
            report = again.all(store.unfinished)

            assert finished(report) == finished(expected) and len(again.wishes) == 2 - wishes

    def test_a_step_is_endless(self, walk):
        """A night of a small root with much evidence is hundreds of steps."""
        teach(walk.store, walk.library.root, random.Random(1))
        work = walk.steps(walk.begin())

        assert sum(1 for _ in work) > 200


class TestMarks:
    def test_marks_of_one_night_are_those_of_another(self, walk, make_item):
        """What a night has seen is marked for the features of plans made after it."""
        walk.library.found_items = [make_item("a/m1.py", name="x"), make_item("a/m2.py", name="x")]
        walk.all()

        assert walk.store.marks == {"a/m1.py": {"conflict:plugin name": 1.0}, "a/m2.py": {"conflict:plugin name": 1.0}}
