"""What homeostasis knows: what a restart of the host keeps, what a restart of the plugin keeps, and what is damaged."""

from __future__ import annotations

import msgspec
import pytest

from aetherra.plugins.homeostasis.decision import Policy, Rule, Rung
from aetherra.plugins.homeostasis.knowledge import Knowledge
from aetherra.plugins.homeostasis.saved_state import NAME, SavedState

POLICY = Policy(
    rules={"hot": Rule("temperature", bad_above=90.0, ladder=(Rung("set_workers", {"factor": 0.5}, lasting=True),))}
)
WAY_BACK = {"value": 8, "new": 4}


class Desk:
    """Makes what is known anew, as after a start, and hears what is warned of."""

    def __init__(self, folder):
        self.folder, self.now, self.warned = folder, 0.0, []

    def known(self, run="1, begun at 0.0"):
        return Knowledge(
            POLICY,
            SavedState(self.folder),
            run,
            clock=lambda: self.now,
            series=f"{self.now}.",
            warn=self.warned.append,
        )

    def heated(self):
        """Return what is known once something was decided and changed."""
        known = self.known()
        decisions = []
        while not decisions:
            self.now += 1.0
            decisions = known.controller.decide({"temperature": 99.0})
        known.changes.note("set_workers", "", WAY_BACK)
        return known


@pytest.fixture
def desk(tmp_path):
    return Desk(tmp_path)


def symptoms(known):
    return [each.symptom for each in known.controller.status().symptoms if each.phase in ("holds", "settling")]


class TestKnowledge:
    def test_a_restart_of_the_plugin_forgets_what_is_changed(self, desk):
        """In the same run of the host, what stands and what holds is known again."""
        known = desk.heated()
        known.keep(known.now())
        again = desk.known()

        assert again.changes.find("set_workers", "") == WAY_BACK
        assert symptoms(again) == symptoms(known) != []
        assert desk.warned == []

    def test_a_restart_of_the_host_takes_back_what_is_not_there(self, desk):
        """In another run nothing is changed and no symptom holds."""
        known = desk.heated()
        known.keep(known.now())
        again = desk.known(run="2, begun at 0.0")

        assert again.changes.count == 0
        assert symptoms(again) == []

    def test_a_swap_forgets(self, desk):
        """What another one hands over is known, in objects of its own."""
        known = desk.heated()
        state, fresh = known.now(), Desk(None).known()
        fresh.take_over(state.controller, state.changes)
        known.changes.forget("set_workers", "")

        assert fresh.changes.find("set_workers", "") == WAY_BACK
        assert symptoms(fresh) == symptoms(known)

    @pytest.mark.parametrize("inside", [False, True], ids=["file", "core"])
    def test_damage_is_an_error_or_kept_quiet(self, desk, inside):
        """A file, or the state of the core in it, that nobody can read is moved aside and told."""
        known = desk.heated()
        damaged = msgspec.structs.replace(known.now(), controller=b"\xc1")
        known.keep(damaged)
        if not inside:
            (desk.folder / NAME).write_bytes(b"junk")
        again = desk.known()

        assert symptoms(again) == []
        assert (desk.folder / f"{NAME}.corrupt-1").exists()
        (warned,) = desk.warned
        assert warned.startswith("learning begins anew: ")

    def test_a_full_disk_is_told_each_time(self, desk, tmp_path):
        """What is not kept is warned of once, until it was kept again."""
        desk.folder = tmp_path / "gone"
        known = desk.known()
        for _ in range(3):
            known.keep(known.now())
        assert len(desk.warned) == 1
        desk.folder.mkdir()
        known.keep(known.now())
        (desk.folder / f"{NAME}.new").mkdir()
        known.keep(known.now())

        assert len(desk.warned) == 2
        assert all(each.startswith("what is learnt is not kept: ") for each in desk.warned)
