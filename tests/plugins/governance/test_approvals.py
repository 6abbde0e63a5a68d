"""Tests of approvals: one use, for exactly what was asked, for a while, and never by who asked."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from aetherra.kernel.testing import FakeClock
from aetherra.plugins import Identity, Intent, Person
from aetherra.plugins.governance import approvals as module
from aetherra.plugins.governance.approvals import (
    REMEMBERED,
    Approval,
    ApprovalError,
    Approvals,
    UnknownApprovalError,
    digest_of,
)

DAY = 86_400.0


def intent(digest: str = "a" * 64, **fields: Any) -> Intent:
    return Intent(
        **{"kind": "integration", "component": "greeter", "summary": "bring it in", "digest": digest, **fields}
    )


def approvals(clock: FakeClock, known: tuple[Approval, ...] = ()) -> Approvals:
    return Approvals(clock.time, DAY, 3, known)


def agree(kept: Approvals, approval: str, who: str = "ada", *, approve: bool = True) -> Approval:
    return kept.decide(approval, Person(Identity("remote", who)), approve=approve, reason="because")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def kept(clock: FakeClock) -> Approvals:
    return approvals(clock)


class TestDigest:
    def test_a_word_stands_for_the_content(self) -> None:
        """What is no SHA-256 says nothing of what is to be done: the words that a person has read are what counts."""
        bread, fire = (intent("d", summary=summary) for summary in ("bake bread", "burn it"))
        assert digest_of(bread) != digest_of(fire)
        assert digest_of(intent("a" * 64)) == "a" * 64


class TestTime:
    def test_the_clock_was_set_back(self) -> None:
        """What was asked in an earlier run lasts no longer than what is asked now."""
        earlier = Approvals(lambda: 100_000.0, 3600.0, 3)
        earlier.request("doer", intent(), "policy")
        assert [each.expires_at for each in Approvals(lambda: 0.0, 3600.0, 3, earlier.all()).all()] == [3600.0]

    def test_callers_from_outside_ask_without_end(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """However many names are given, no more wait than that."""
        monkeypatch.setattr(module, "MOST_WAITING", 2)
        kept = Approvals(lambda: 0.0, 3600.0, 3)
        kept.request("one", intent(), "policy")
        assert kept.has_room("two")
        kept.request("two", intent(), "policy")
        assert not kept.has_room("three")


class TestRequest:
    def test_the_same_question_is_put_twice(self, kept: Approvals) -> None:
        """As long as it is open it is one."""
        first = kept.request("inc", intent(), "policy")
        assert kept.request("inc", intent(), "policy") == first
        assert (first.state, first.why, first.expires_at - first.asked_at) == ("pending", "policy", DAY)

    @pytest.mark.parametrize(
        ("asker", "other"),
        [
            ("somebody", intent()),
            ("inc", intent("b" * 64)),
            ("inc", intent(component="other")),
            ("inc", intent(kind="rollback")),
            ("inc", intent(sender="bob")),
        ],
    )
    def test_an_approval_is_good_for_something_else(self, kept: Approvals, asker: str, other: Intent) -> None:
        """It is bound to who asks, on whose behalf, the kind, the component and the digest."""
        agree(kept, kept.request("inc", intent(), "policy").id)
        assert kept.find("inc", intent()) is not None
        assert kept.find(asker, other) is None

    def test_without_a_digest_all_is_the_same(self) -> None:
        """What gives no digest is bound to its words; facts, such as what was measured, are none of them."""
        plain = intent("", facts={"lag": 1.0})
        assert digest_of(plain) == digest_of(intent("", facts={"lag": 2.0}))
        assert digest_of(plain) != digest_of(intent("", summary="bring another in"))
        assert len(digest_of(plain)) == len(sha256().hexdigest())

    def test_other_words_are_hidden_from_people(self, kept: Approvals) -> None:
        """Who looks at a question sees in what words it was put, and in what others it was since."""
        asked = kept.request("inc", intent(), "policy")
        assert kept.word(asked.id, "bring this in, 3 times").since == "bring this in, 3 times"
        found = kept.get(asked.id)
        assert (found.summary, found.since) == (asked.summary, "bring this in, 3 times")
        assert kept.word(asked.id, asked.summary).since == ""

    def test_a_flood_drowns_people(self, kept: Approvals) -> None:
        """So many of one asker wait at a time; another's are not held against it, nor those that were decided."""
        for number in range(3):
            kept.request("inc", intent(component=str(number)), "policy")
        assert (kept.has_room("inc"), kept.has_room("other")) == (False, True)
        agree(kept, kept.all()[0].id)
        assert kept.has_room("inc")


class TestDecide:
    def test_a_decision_is_not_kept(self, kept: Approvals, clock: FakeClock) -> None:
        """Who decided, when and why stand in it, and it is good for a day from then on."""
        asked = kept.request("inc", intent(), "policy")
        clock.set_time(clock.time() + 3600)
        decided = agree(kept, asked.id)
        assert (decided.state, decided.decided_by, decided.reason) == ("approved", "remote client 'ada'", "because")
        assert (decided.decided_at, decided.expires_at) == (clock.time(), clock.time() + DAY)

    @pytest.mark.parametrize(
        ("asker", "sender"), [("remote client 'ada'", ""), ("inc", "remote client 'ada'"), ("inc", "ada")]
    )
    def test_whoever_asks_approves(self, kept: Approvals, asker: str, sender: str) -> None:
        """Neither who asks nor on whose behalf it is agrees to it; to disagree is free to them."""
        asked = kept.request(asker, intent(sender=sender), "policy")
        with pytest.raises(ApprovalError, match="whoever asks does not approve"):
            agree(kept, asked.id)
        assert kept.get(asked.id).state == "pending"
        assert agree(kept, asked.id, approve=False).state == "denied"

    def test_a_plugin_passes_on_what_is_not_its_own(self, kept: Approvals) -> None:
        """By a plugin that passes a person's word on, they decide on what it asked itself and on nothing else."""
        person = Person(Identity("remote", "ada"), relay="improver")
        own, other = kept.request("improver", intent(), "policy"), kept.request("inc", intent(), "policy")
        assert (
            kept.decide(own.id, person, approve=True, reason="").decided_by
            == "remote client 'ada' by plugin 'improver'"
        )
        with pytest.raises(ApprovalError, match="plugin 'improver' decides on none"):
            kept.decide(other.id, person, approve=True, reason="")

    def test_a_person_cannot_think_again(self, kept: Approvals) -> None:
        """Until it is used, a yes may become a no, and a no a yes."""
        asked = kept.request("inc", intent(), "policy")
        assert agree(kept, asked.id).state == "approved"
        assert agree(kept, asked.id, "bob", approve=False).state == "denied"
        with pytest.raises(ApprovalError, match="denied and cannot be used"):
            kept.use(asked.id)
        assert agree(kept, asked.id).state == "approved"
        kept.use(asked.id)
        with pytest.raises(ApprovalError, match="nothing to decide"):
            agree(kept, asked.id, approve=False)

    def test_an_unknown_one_is_decided(self, kept: Approvals) -> None:
        """Of an id that there is not, the error says where ids are listed."""
        with pytest.raises(UnknownApprovalError, match="aetherra approvals list"):
            agree(kept, "none")


class TestEnd:
    def test_it_is_used_twice(self, kept: Approvals) -> None:
        """One use, and it is over; the same asked again is another question."""
        asked = kept.request("inc", intent(), "policy")
        with pytest.raises(ApprovalError, match="pending and cannot be used"):
            kept.use(asked.id)
        agree(kept, asked.id)
        assert kept.use(asked.id).state == "used"
        with pytest.raises(ApprovalError, match="used and cannot be used"):
            kept.use(asked.id)
        assert kept.find("inc", intent()) is None
        assert kept.request("inc", intent(), "policy").id != asked.id

    @pytest.mark.parametrize("decide", [None, True, False])
    async def test_it_is_open_for_ever(self, kept: Approvals, clock: FakeClock, decide: bool | None) -> None:
        """A question, an approval and a denial lapse a day after they were said."""
        asked = kept.request("inc", intent(), "policy")
        if decide is not None:
            agree(kept, asked.id, approve=decide)
        await clock.advance(DAY - 1)
        assert kept.find("inc", intent()) is not None
        await clock.advance(1)
        assert kept.find("inc", intent()) is None
        assert kept.get(asked.id).state == "expired"

    @pytest.mark.parametrize("decide", [None, True, False])
    def test_it_outlives_a_change(self, kept: Approvals, decide: bool | None) -> None:
        """What is asked with another content is void as it was, and stays so if it is asked as before."""
        asked = kept.request("inc", intent(), "policy")
        if decide is not None:
            agree(kept, asked.id, approve=decide)
        assert [each.id for each in kept.void("inc", intent("b" * 64))] == [asked.id]
        assert kept.get(asked.id).state == "void"
        assert kept.find("inc", intent()) is None

    @pytest.mark.parametrize("decide", [None, True])
    def test_it_outlives_the_wish(self, kept: Approvals, decide: bool | None) -> None:
        """Who has asked may withdraw it, agreed to or not; it is void, and told with the reason."""
        asked = kept.request("inc", intent(), "policy")
        if decide is not None:
            agree(kept, asked.id, approve=decide)
        withdrawn = kept.withdraw(asked.id, "inc", "it came in meanwhile")

        assert (withdrawn.state, withdrawn.reason) == ("void", "it came in meanwhile")
        assert kept.find("inc", intent()) is None
        with pytest.raises(ApprovalError, match="void: there is nothing to withdraw"):
            kept.withdraw(asked.id, "inc", "again")

    def test_a_no_is_withdrawn(self, kept: Approvals) -> None:
        """Who was denied something does not ask again by taking the question back; nor does anybody take another's."""
        asked = kept.request("inc", intent(), "policy")
        with pytest.raises(ApprovalError, match="not for 'other' to withdraw"):
            kept.withdraw(asked.id, "other", "")
        agree(kept, asked.id, approve=False)
        with pytest.raises(ApprovalError, match="denied: there is nothing to withdraw"):
            kept.withdraw(asked.id, "inc", "")
        assert kept.get(asked.id).state == "denied"

    def test_others_void_it(self, kept: Approvals) -> None:
        """What others ask, or ask of other things, changes nothing."""
        asked = kept.request("inc", intent(), "policy")
        agree(kept, asked.id)
        for asker, other in (("x", intent("b")), ("inc", intent("b", component="y")), ("inc", intent("b", kind="y"))):
            assert kept.void(asker, other) == ()
        assert kept.use(asked.id).state == "used"

    def test_those_that_are_over_fill_the_memory(self, kept: Approvals) -> None:
        """The last of those that are over are told of, and open ones however old."""
        waits = kept.request("inc", intent(component="waits"), "policy")
        for number in range(REMEMBERED + 10):
            used = kept.request("inc", intent(component=str(number)), "policy")
            agree(kept, used.id)
            kept.use(used.id)
        assert len(kept.all()) == REMEMBERED + 1
        assert kept.get(waits.id).state == "pending"
        assert kept.all()[-1].id == used.id

    def test_a_restart_changes_something(self, kept: Approvals, clock: FakeClock) -> None:
        """A later run has them as they were."""
        agree(kept, kept.request("inc", intent(), "policy").id)
        kept.request("inc", intent(component="other"), "policy")
        assert approvals(clock, kept.snapshot()).snapshot() == kept.snapshot()

    def test_what_is_taken_back_stays(self, kept: Approvals) -> None:
        """A snapshot brings back what there was, whatever came after."""
        asked = kept.request("inc", intent(), "policy")
        before = kept.snapshot()
        agree(kept, asked.id)
        kept.request("inc", intent(component="other"), "policy")
        kept.restore(before)
        assert kept.snapshot() == (asked,)


class ApprovalMachine(RuleBasedStateMachine):
    """Whatever is asked, decided and used in whatever order: no use without a yes, and one use of each yes."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.kept = Approvals(self.clock.time, DAY, 100)
        self.agreed: dict[str, str] = {}
        self.used: set[str] = set()
        self.latest: dict[str, str] = {}

    @rule(component=st.sampled_from("xy"), digest=st.sampled_from(["a" * 64, "b" * 64]))
    def ask(self, component: str, digest: str) -> None:
        wanted = intent(digest, component=component)
        self.kept.void("inc", wanted)
        self.latest[component] = digest
        found = self.kept.find("inc", wanted)
        if found is not None and found.state == "approved":
            assert self.agreed.pop(found.id) == digest
            assert found.id not in self.used
            self.kept.use(found.id)
            self.used.add(found.id)
        else:
            self.kept.request("inc", wanted, "policy")

    @precondition(lambda self: self.kept.snapshot())
    @rule(data=st.data(), approve=st.booleans())
    def decide(self, data: st.DataObject, approve: bool) -> None:
        chosen = data.draw(st.sampled_from(self.kept.snapshot()))
        try:
            agree(self.kept, chosen.id, approve=approve)
        except ApprovalError:
            assert self.kept.get(chosen.id).state in ("used", "expired", "void")
            return
        self.agreed.pop(chosen.id, None)
        if approve:
            self.agreed[chosen.id] = chosen.digest

    @rule(seconds=st.sampled_from([1.0, DAY / 2, DAY]))
    def wait(self, seconds: float) -> None:
        self.clock.set_time(self.clock.time() + seconds)

    @rule()
    def restart(self) -> None:
        self.kept = Approvals(self.clock.time, DAY, 100, self.kept.snapshot())

    @invariant()
    def nothing_is_approved_that_has_changed(self) -> None:
        for each in self.kept.all():
            if each.state == "approved":
                assert self.agreed[each.id] == each.digest == self.latest[each.component]
            if each.id in self.used:
                assert each.state == "used"


TestAnyOrder = ApprovalMachine.TestCase
TestAnyOrder.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
