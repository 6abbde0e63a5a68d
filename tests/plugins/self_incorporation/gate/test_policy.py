"""What the policy makes of a case, without files."""

import msgspec
import pytest

from aetherra.plugins.self_incorporation.code.classifier import FileKind
from aetherra.plugins.self_incorporation.code.findings import Finding, RiskFactor
from aetherra.plugins.self_incorporation.gate.decision import Ground
from aetherra.plugins.self_incorporation.gate.ethics import Assessment, EthicsFinding
from aetherra.plugins.self_incorporation.gate.item import Item, ItemFile
from aetherra.plugins.self_incorporation.gate.policy import Case, PolicyEngine, PolicySettings, TierSettings
from aetherra.plugins.self_incorporation.gate.tiers import Signed, Tier

ITEM = Item(
    root="/r", path="a.py", name="a", kind=FileKind.UTILITY, confidence=1.0, files=(ItemFile("a.py", "0", 1),),
    digest="d", risk=0.0, factors=(), capabilities=(), threats=(), warnings=0,
)  # fmt: skip


def decided(policy=None, *, tier=Tier.STANDARD, signed=None, **changed):
    settings = msgspec.convert(policy or {}, PolicySettings)
    names = set(Case.__struct_fields__)
    item = msgspec.structs.replace(ITEM, **{name: value for name, value in changed.items() if name not in names})
    case = {name: value for name, value in changed.items() if name in names}
    return PolicyEngine(settings).decide(Case(item=item, tier=tier, signed=signed or Signed(), **case), now=9.0)


class TestDecide:
    @pytest.mark.parametrize(
        ("mode", "tier", "verdict"),
        [
            ("strict", Tier.STANDARD, "needs_approval"),
            ("strict", Tier.EXPERIMENTAL, "needs_approval"),
            ("strict", Tier.TRUSTED, "approved"),
            ("strict", Tier.VERIFIED, "approved"),
            ("standard", Tier.STANDARD, "approved"),
            ("standard", Tier.EXPERIMENTAL, "needs_approval"),
            ("permissive", Tier.STANDARD, "approved"),
            ("permissive", Tier.QUARANTINED, "quarantined"),
        ],
    )
    def test_a_tier_is_asked_for_too_much_or_too_little(self, mode, tier, verdict):
        """What has nothing against it comes in as far as mode and tier let it."""
        assert decided({"mode": mode}, tier=tier).verdict == verdict

    @pytest.mark.parametrize(
        ("mode", "verdict"), [("strict", "blocked"), ("standard", "blocked"), ("permissive", "needs_approval")]
    )
    def test_too_much_risk_comes_in(self, mode, verdict):
        """The bound is the tier's; the decision names the factors."""
        decision = decided({"mode": mode}, risk=0.6, factors=(RiskFactor("dynamic-shell", 0.3, (4,)),))

        assert decision.verdict == verdict
        assert "dynamic-shell" in next(ground.text for ground in decision.rationale if ground.code == "risk")
        assert decided({"mode": mode}, tier=Tier.TRUSTED, risk=0.6).verdict == "approved"

    @pytest.mark.parametrize("code", ["refused", "changed", "beside"])
    def test_what_nobody_could_judge_comes_in(self, code):
        """Not even on a person's word, nor in permissive mode."""
        seen = (Ground(code, "it could not be read"),)

        assert decided({"mode": "permissive"}, seen=seen, accepted="Ada accepts it").verdict == "blocked"

    def test_machine_code_is_settled_by_nobody(self):
        """A person may; in strict mode it stays out unless one did."""
        seen = (Ground("opaque", "'a.so' is machine code"),)

        assert decided(seen=seen).verdict == "needs_approval"
        assert decided({"mode": "strict"}, tier=Tier.TRUSTED, seen=seen).verdict == "blocked"
        assert (
            decided({"mode": "strict"}, tier=Tier.TRUSTED, seen=seen, accepted="Ada accepts it").verdict == "approved"
        )

    def test_warnings_are_heard_only_in_part(self):
        """In strict mode they ask, else they are told."""
        assert decided(warnings=2).verdict == "approved"
        assert decided({"mode": "strict"}, tier=Tier.TRUSTED, warnings=2).verdict == "needs_approval"

    def test_ethics_has_no_say(self):
        """What is not acceptable stays out; what is doubtful asks, where it is strict."""

        def found(outcome):
            finding = EthicsFinding("rule", "care", "privacy", outcome, "a fact", "a reason")
            return Assessment(outcome, (finding,))

        assert decided(ethics=found("unacceptable")).verdict == "blocked"
        assert decided(ethics=found("doubtful")).verdict == "approved"
        assert decided({"mode": "strict"}, tier=Tier.TRUSTED, ethics=found("doubtful")).verdict == "needs_approval"
        assert "a fact" in decided(ethics=found("acceptable")).rationale[-1].text

    def test_permissive_takes_a_threat_that_ethics_says_nothing_of(self):
        """A threat blocks by itself, in every mode."""
        threat = Finding("a.py", 3, "shell-dropper", "threat", "starts a shell")

        assert decided({"mode": "permissive"}, threats=(threat,)).verdict == "blocked"

    def test_the_worst_does_not_come_first(self):
        """Whoever reads the first ground knows why."""
        threat = Finding("a.py", 3, "shell-dropper", "threat", "starts a shell")
        decision = decided({"mode": "strict"}, risk=0.9, warnings=3, threats=(threat, threat))

        assert [ground.code for ground in decision.rationale[:2]] == ["threat", "risk"]
        assert [(line.path, line.line) for line in decision.rationale[0].lines] == [("a.py", 3), ("a.py", 3)]

    def test_an_approval_that_is_required_is_settled_beforehand(self):
        """A review is no approval of an integration."""
        assert decided({"approval": True}, accepted="Ada accepts it").verdict == "needs_approval"
        assert decided(tier=Tier.EXPERIMENTAL, accepted="Ada accepts it").verdict == "approved"


class TestPolicySettings:
    def test_prod_is_like_any_other_profile(self):
        """It needs signatures and people, whatever is written."""
        hardened = PolicySettings().hardened("prod", net_strict=True)

        assert (hardened.require_signature, hardened.approval, hardened.network.strict) == (True, True, True)
        assert PolicySettings().hardened("standard") == PolicySettings()

    def test_another_policy_has_the_same_digest(self):
        """Whatever is changed in it, decisions of the old one count no more."""
        changed = PolicySettings(standard=TierSettings(max_risk=0.51))

        assert changed.digest() != PolicySettings().digest()
        assert PolicySettings().digest() == PolicySettings().digest()

    @pytest.mark.parametrize(
        "wrong", [{"mode": "lax"}, {"standard": {"max_risk": 1.5}}, {"trusted": {"path": []}}, {"modes": "strict"}]
    )
    def test_a_misspelt_policy_is_taken(self, wrong):
        """A setting that says nothing is an error."""
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(wrong, PolicySettings)
