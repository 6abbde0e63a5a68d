"""The policy: what the configuration says about trust, and the decision it makes of an item's facts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Final, Literal, TypeAlias

import msgspec
from msgspec import Struct

from aetherra.plugins import Settings
from aetherra.plugins.self_incorporation.code.rules import RULES_VERSION
from aetherra.plugins.self_incorporation.gate.actions import unnamed
from aetherra.plugins.self_incorporation.gate.decision import Decision, Ground, Line, Mode, Verdict
from aetherra.plugins.self_incorporation.gate.ethics import Assessment
from aetherra.plugins.self_incorporation.gate.grants import missing_grants
from aetherra.plugins.self_incorporation.gate.item import Item
from aetherra.plugins.self_incorporation.gate.tiers import Signed, Tier

__all__ = ["SETTLED_BY_PEOPLE", "Case", "NetworkSettings", "PolicyEngine", "PolicySettings", "TierSettings"]

Risk: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=1)]
Weight: TypeAlias = Literal["blocks", "asks", "tells"]
_VERDICTS: Mapping[Weight, Verdict] = {"blocks": "blocked", "asks": "needs_approval", "tells": "approved"}
_HEAVIEST: Final[Mapping[Weight, int]] = {"tells": 0, "asks": 1, "blocks": 2}
_MOST_TOLD = 20
SETTLED_BY_PEOPLE = frozenset(
    ["threat", "risk", "risk_moved", "capabilities_grew", "opaque", "ethics", "warnings", "approval", "actions", "lost"]
)


class TierSettings(Settings):
    """What holds for the items of one tier.

    Attributes:
        paths: Patterns of paths, relative to the root that was scanned, whose items stand in it; ``*`` takes slashes.
        max_risk: An item of more risk does not come in.
        grants: What its items may do without a grant of their own.
        approval: Whether a person has to agree to each.
    """

    paths: tuple[str, ...] = ()
    max_risk: Risk = 0.5
    grants: tuple[str, ...] = ()
    approval: bool = False


class NetworkSettings(Settings):
    """What code may reach.

    Attributes:
        allow: Patterns of hosts: ``*.example.org``. With any, a host that code names must be one of them.
        strict: Whether every host must be named and allowed; ``AETHERRA_NET_STRICT=1`` says so, too.
    """

    allow: tuple[str, ...] = ()
    strict: bool = False


class PolicySettings(Settings):
    """Settings of the policy.

    Attributes:
        mode: How it treats what it is not sure of: ``strict``, ``standard`` or ``permissive``.
        verified: For what a pinned key has signed.
        trusted: For what another known key has signed, and what lies in its paths.
        standard: For all else.
        experimental: For what lies in its paths, and for what carries a signature that does not hold.
        quarantined: Patterns of paths of which nothing ever comes in.
        require_signature: Whether only signed items come in; profile ``prod`` says so, too.
        approval: Whether a person has to agree to every item; profile ``prod`` says so, too.
        quarantine_threats: Whether an item that holds a threat is set aside, and not only kept out.
        network: What code may reach.
        actions: Patterns of tags that a workflow may have done without asking: ``reports.*``. Those that command the
            host (``kernel.*`` ...) must be named one by one.
    """

    mode: Mode = Mode.STANDARD
    verified: TierSettings = TierSettings(max_risk=0.9, grants=("fs:read:*", "env:read"))
    trusted: TierSettings = TierSettings(max_risk=0.7, grants=("fs:read:*", "env:read"))
    standard: TierSettings = TierSettings(max_risk=0.5, grants=("fs:read:*",))
    experimental: TierSettings = TierSettings(max_risk=0.3, approval=True)
    quarantined: tuple[str, ...] = ()
    require_signature: bool = False
    approval: bool = False
    quarantine_threats: bool = False
    network: NetworkSettings = NetworkSettings()
    actions: tuple[str, ...] = ()

    def places(self) -> dict[Tier, tuple[str, ...]]:
        """Return the patterns of each tier."""
        return {
            Tier.TRUSTED: self.trusted.paths,
            Tier.STANDARD: self.standard.paths,
            Tier.EXPERIMENTAL: self.experimental.paths,
            Tier.QUARANTINED: self.quarantined,
        }

    def of(self, tier: Tier) -> TierSettings:
        """Return what holds for a tier; for what is set aside, what holds for experiments."""
        known = {Tier.VERIFIED: self.verified, Tier.TRUSTED: self.trusted, Tier.STANDARD: self.standard}
        return known.get(tier, self.experimental)

    def hardened(self, profile: str, *, net_strict: bool = False) -> PolicySettings:
        """Return the policy that is in force in a profile: ``prod`` needs signatures and people."""
        prod = profile == "prod"
        network = msgspec.structs.replace(self.network, strict=self.network.strict or net_strict)
        return msgspec.structs.replace(
            self,
            require_signature=self.require_signature or prod,
            approval=self.approval or prod,
            network=network,
        )

    def digest(self) -> str:
        """Return a digest of all of it: what another policy decided counts no more."""
        return hashlib.sha256(msgspec.json.encode(self, order="sorted")).hexdigest()[:16]


class Case(Struct, frozen=True, kw_only=True):
    """All that a decision hangs on.

    Attributes:
        item: As it was looked at.
        tier: Its tier.
        signed: What is known of its signature.
        grants: Of the plugin of that name, by the configuration.
        seen: Grounds against it from looking at it: what is missing, changed, or no source.
        drift: How it differs from what was judged before.
        network: What the network policy has against it.
        actions: Tags of what it would have done as a workflow.
        ethics: What the rules of ethics say.
        accepted: Who has looked at exactly these bytes and said that they may come in, and why; None if nobody has.
        rejected: Likewise, that they may not.
        lost: What was lost of earlier decisions and reviews, ``""`` if nothing.
        notes: What somebody should know and does not speak against the item.
        places: The lines of each capability, and of ``warnings``: `Look.places`.
    """

    item: Item
    tier: Tier
    signed: Signed
    grants: tuple[str, ...] = ()
    seen: tuple[Ground, ...] = ()
    drift: tuple[Ground, ...] = ()
    network: tuple[Ground, ...] = ()
    actions: tuple[str, ...] = ()
    ethics: Assessment = Assessment("acceptable", ())
    accepted: str | None = None
    rejected: str | None = None
    lost: str = ""
    notes: tuple[Ground, ...] = ()
    places: Mapping[str, tuple[Line, ...]] = {}


class PolicyEngine:
    """Decides cases by one policy. It is pure: the same case has the same decision.

    A threat, a file that nobody could read, a broken signature, a missing grant and what is quarantined keep an item
    out; in ``permissive`` mode a missing grant and a risk that is too high ask a person instead. A person who has
    looked at exactly these bytes settles what is a matter of judgement, and nothing that the configuration must say:
    grants, required signatures, hosts.

    Args:
        settings: The policy in force: `PolicySettings.hardened`.
    """

    def __init__(self, settings: PolicySettings) -> None:
        self.settings = settings
        self._digest = settings.digest()

    @property
    def digest(self) -> str:
        """A digest of the policy."""
        return self._digest

    def decide(self, case: Case, *, now: float) -> Decision:
        """Decide one case.

        Args:
            case: All that it hangs on.
            now: Unix time.
        """
        weighed = sorted(self._weighed(case), key=lambda pair: (-_HEAVIEST[pair[0]], not pair[1].against))
        item = case.item
        verdict: Verdict = _VERDICTS[weighed[0][0]] if weighed else "approved"
        threatened = any(weight == "blocks" and ground.code == "threat" for weight, ground in weighed)
        if case.tier is Tier.QUARANTINED or (threatened and self.settings.quarantine_threats):
            verdict = "quarantined"
        return Decision(
            item=item.name,
            root=item.root,
            path=item.path,
            digest=item.digest,
            verdict=verdict,
            tier=case.tier,
            mode=self.settings.mode,
            risk=item.risk,
            rationale=tuple(ground for _, ground in weighed),
            capabilities=item.capabilities,
            missing_grants=tuple(self._missing(case).values()),
            policy=self._digest,
            rules=RULES_VERSION,
            decided_at=now,
        )

    def _missing(self, case: Case) -> dict[str, str]:
        granted = (*case.grants, *self.settings.of(case.tier).grants)
        return {str(capability): grant for capability, grant in missing_grants(case.item.capabilities, granted).items()}

    def _weighed(self, case: Case) -> Iterator[tuple[Weight, Ground]]:
        for weight, ground in self._grounds(case):
            if case.accepted is not None and ground.code in SETTLED_BY_PEOPLE and weight != "tells":
                yield "tells", msgspec.structs.replace(ground, text=f"{ground.text} (accepted)", against=False)
            else:
                yield weight, ground
        if case.accepted is not None:
            yield "tells", Ground("accepted", case.accepted, against=False)
        for note in case.notes:
            yield "tells", note

    def _grounds(self, case: Case) -> Iterator[tuple[Weight, Ground]]:
        settings, item, tier = self.settings, case.item, case.tier
        permissive, strict = settings.mode is Mode.PERMISSIVE, settings.mode is Mode.STRICT
        unless_permissive: Weight = "asks" if permissive else "blocks"
        if tier is Tier.QUARANTINED:
            yield "blocks", Ground("quarantined", "it is set aside until a person releases it")
        if case.lost:
            yield "asks", Ground("lost", case.lost)
        if case.rejected is not None:
            yield "blocks", Ground("rejected", case.rejected)
        for code, text, lines in _threats(item):
            yield "blocks", Ground("threat", f"{code}: {text}", lines)
        for ground in case.seen:
            yield ("asks" if ground.code == "opaque" and not strict else "blocks"), ground
        for ground in case.drift:
            yield "blocks", ground
        yield from self._signature(case.signed)
        most = settings.of(tier).max_risk
        if item.risk > most:
            factors = ", ".join(f"{factor.code} {factor.weight:.2f}" for factor in item.factors[:5])
            text = f"the risk is {item.risk:.2f}, and tier {tier.value!r} takes at most {most:.2f}: {factors}"
            yield unless_permissive, Ground("risk", text)
        else:
            yield "tells", Ground("risk", f"the risk is {item.risk:.2f}, of at most {most:.2f}", against=False)
        for capability, grant in self._missing(case).items():
            text = f"uses {capability}, and nothing grants {grant!r}: add it to plugins.{item.name}.grants"
            yield unless_permissive, Ground("grant_missing", text, case.places.get(capability, ()))
        for ground in case.network:
            yield ("blocks" if settings.network.strict else unless_permissive), ground
        if tags := unnamed(case.actions, settings.actions):
            text = f"would have actions done that policy.actions does not name: {', '.join(tags[:_MOST_TOLD])}"
            more = f" and {len(tags) - _MOST_TOLD} more" if len(tags) > _MOST_TOLD else ""
            yield ("blocks" if strict else "asks"), Ground("actions", text + more)
        yield from self._ethics(case.ethics)
        if item.warnings:
            text = f"{item.warnings} sign{'s' * (item.warnings > 1)} that could mean harm and need not"
            yield ("asks" if strict else "tells"), Ground("warnings", text, case.places.get("warnings", ()))
        yield from self._approval(case)

    def _signature(self, signed: Signed) -> Iterator[tuple[Weight, Ground]]:
        if signed.holds:
            whose = "a pinned key" if signed.pinned else "a known key"
            yield "tells", Ground("signature", f"signed with {whose}, {signed.key}", against=False)
        elif signed.status == "revoked":
            yield "blocks", Ground("revoked", f"the signature does not hold: {signed.reason or signed.status}")
        elif signed.is_broken:
            yield "blocks", Ground("signature", f"the signature does not hold: {signed.reason or signed.status}")
        elif self.settings.require_signature:
            why = signed.reason or {"unsigned": "it is not signed"}.get(signed.status, signed.status)
            yield "blocks", Ground("signature_missing", f"a signature of a known key is required: {why}")

    def _ethics(self, assessment: Assessment) -> Iterator[tuple[Weight, Ground]]:
        for finding in assessment.findings:
            text = f"{finding.rule} ({finding.framework}, {finding.topic}): {finding.fact}; {finding.reason}"
            weight: Weight = "tells"
            if finding.outcome == "unacceptable":
                weight = "blocks"
            elif finding.outcome == "doubtful" and self.settings.mode is Mode.STRICT:
                weight = "asks"
            yield weight, Ground("ethics", text, finding.lines, against=finding.outcome != "acceptable")

    def _approval(self, case: Case) -> Iterator[tuple[Weight, Ground]]:
        if self.settings.approval:
            yield "asks", Ground("approval_required", "the profile or the policy wants a person to agree to every item")
        elif self.settings.of(case.tier).approval:
            yield "asks", Ground("approval", f"a person has to agree to what is {case.tier.value!r}")
        elif self.settings.mode is Mode.STRICT and case.tier not in (Tier.VERIFIED, Tier.TRUSTED):
            yield "asks", Ground("approval", "in strict mode a person has to agree to what is not signed or trusted")


def _threats(item: Item) -> Iterable[tuple[str, str, tuple[Line, ...]]]:
    """Return the threats of an item, one for each code, with its lines."""
    found: dict[str, tuple[str, list[Line]]] = {}
    for finding in item.threats:
        found.setdefault(finding.code, (finding.message, []))[1].append(Line(finding.path, finding.line))
    return [(code, text, tuple(lines)) for code, (text, lines) in found.items()]
