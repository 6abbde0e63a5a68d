"""What was learnt and is in use."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetherra.plugins import DataFileError
from aetherra.plugins.self_incorporation.night.learned import HISTORY, Learned, NotInUseError, NotValidatedError
from aetherra.plugins.self_incorporation.night.learning.classifier_weights import ClassifierWeights
from aetherra.plugins.self_incorporation.night.learning.plan_order import PlanOrder
from aetherra.plugins.self_incorporation.night.learning.rescan_order import RescanOrder
from aetherra.plugins.self_incorporation.night.learning.trial import TARGETS, try_out


def tried(target, value, *, better=True):
    after = [1.0] * 6 if better else [3.0] * 6
    return try_out(target, "x", "loss", [2.0] * 6, after, value=value, learnt_from=9, margin=0.02, allowed=0.05, at=1.0)


def weights(number):
    return ClassifierWeights({"f": float(number)})


VALUES = {"classifier_weights": weights(1), "rescan_order": RescanOrder({"": 1.0}), "plan_order": PlanOrder({"a": 1.0})}


class TestKeep:
    @pytest.mark.parametrize("target", TARGETS)
    def test_what_was_kept_is_not_in_use_after_a_restart(self, tmp_path, target):
        """It is in use, by its own name, with its trial."""
        value = VALUES[target]
        Learned(tmp_path / "l").keep(tried(target, value), value)

        learned = Learned(tmp_path / "l")
        assert learned.current(target).value == value and learned.current(target).trial.passed
        in_use = {"rescan_order": learned.rescan_order, "plan_order": learned.plan_order}
        assert in_use.get(target, value) == value
        assert (learned.weights == value.weights) if target == "classifier_weights" else (learned.weights == {})

    @pytest.mark.parametrize(
        ("trial", "value", "reason"),
        [
            (tried("classifier_weights", weights(1), better=False), weights(1), "not stood its trial"),
            (tried("classifier_weights", weights(1)), weights(2), "not what was tried"),
            (tried("plan_order", weights(1)), weights(1), "expected PlanOrder, got ClassifierWeights"),
        ],
    )
    def test_what_no_trial_let_in_is_kept(self, tmp_path, trial, value, reason):
        """A trial that failed, or was about something else, lets nothing in; all is as it was."""
        learned = Learned(tmp_path / "l")

        with pytest.raises(NotValidatedError, match=reason):
            learned.keep(trial, value)
        assert learned.current(trial.target) is None and not (tmp_path / "l").exists()

    def test_a_file_lets_in_what_no_trial_did(self, tmp_path):
        """A file of values that were not tried so is put aside as a whole, and it is said."""
        Learned(tmp_path / "l").keep(tried("classifier_weights", weights(1)), weights(1))
        book = msgspec.json.decode((tmp_path / "l").read_bytes())
        book["kept"]["classifier_weights"][0]["value"]["weights"]["f"] = 99.0
        (tmp_path / "l").write_bytes(msgspec.json.encode(book))
        said = []

        assert Learned(tmp_path / "l", said.append).weights == {}
        assert "no trial has let in" in said[0]
        assert [path.name for path in tmp_path.iterdir()] == ["l.corrupt-1"]

    def test_a_damaged_file_keeps_the_host_from_starting(self, tmp_path):
        """It is put aside, and nothing counts as learnt."""
        (tmp_path / "l").write_bytes(b"{")
        said = []

        assert Learned(tmp_path / "l", said.append).weights == {} and said

    def test_what_the_disk_does_not_take_is_in_use(self, tmp_path):
        """It is an error, and what was in use is."""
        learned = Learned(tmp_path / "none" / "l")

        with pytest.raises(DataFileError):
            learned.keep(tried("classifier_weights", weights(1)), weights(1))
        assert learned.weights == {}


class TestUndo:
    @given(st.lists(st.integers(0, 5) | st.none(), max_size=30))
    def test_the_way_back_leads_elsewhere(self, history):
        """Whatever was kept and undone, what is in use is the last kept that was not undone, of the latest few."""
        learned, expected, count = Learned(None), [], 0
        for what in history:
            if what is not None:
                count += 1
                kept = learned.keep(tried("classifier_weights", weights(what)), weights(what))
                assert kept.version == count
                expected = [*expected, what][-HISTORY:]
            elif expected:
                assert learned.undo("classifier_weights").value == weights(expected.pop())
            else:
                with pytest.raises(LookupError, match="nothing that was learnt"):
                    learned.undo("classifier_weights")
            assert learned.weights == (weights(expected[-1]).weights if expected else {})
            assert [kept.value for kept in learned.versions("classifier_weights")] == [*map(weights, expected)]

    def test_another_version_than_was_meant_is_taken_back(self):
        """Who means one version takes back that one or none: somebody may have been faster."""
        learned = Learned(None)
        first, second = (
            learned.keep(tried("classifier_weights", weights(what)), weights(what)).version for what in (1, 2)
        )
        with pytest.raises(NotInUseError, match=f"version {first} .* is not in use any more"):
            learned.undo("classifier_weights", version=first)
        assert learned.weights == weights(2).weights

        assert learned.undo("classifier_weights", version=second).version == second

    def test_one_target_undoes_another(self):
        """Each goes back by itself; when it was last tried stays."""
        learned = Learned(None)
        for target, value in VALUES.items():
            learned.keep(tried(target, value), value)
        learned.tried("plan_order", 7.0)
        learned.undo("plan_order")

        assert learned.plan_order is None and learned.rescan_order == VALUES["rescan_order"]
        assert learned.tried_at("plan_order") == 7.0 and learned.tried_at("rescan_order") == 0.0
