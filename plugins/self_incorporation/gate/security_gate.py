"""The gate: looks at an item, asks everybody who has a say, decides, and keeps the decision."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec

from aetherra.plugins.self_incorporation.code.rules import RULES_VERSION
from aetherra.plugins.self_incorporation.gate.decision import Decision, Ground
from aetherra.plugins.self_incorporation.gate.drift import drifted
from aetherra.plugins.self_incorporation.gate.ethics import EthicsEngine
from aetherra.plugins.self_incorporation.gate.grants import misspelt
from aetherra.plugins.self_incorporation.gate.item import Item
from aetherra.plugins.self_incorporation.gate.look import Look, look, places_of
from aetherra.plugins.self_incorporation.gate.network import network_grounds
from aetherra.plugins.self_incorporation.gate.policy import Case, PolicyEngine, PolicySettings
from aetherra.plugins.self_incorporation.gate.quarantine import QuarantineManager
from aetherra.plugins.self_incorporation.gate.quarantined import Quarantined, QuarantineError
from aetherra.plugins.self_incorporation.gate.safety_index import Review, SafetyIndex
from aetherra.plugins.self_incorporation.gate.tiers import Signed, tier_of
from aetherra.plugins.self_incorporation.index.paths import original
from aetherra.plugins.self_incorporation.index.reading import regular_file
from aetherra.plugins.signing import KeyRing, SigningError, SigningUnavailableError, Verified, signature_file, verify

__all__ = ["Grants", "SecurityGate", "net_strict"]

Grants: TypeAlias = Callable[[str], tuple[str, ...]]
"""Returns the grants that the configuration gives the plugin of a name."""


def net_strict() -> bool:
    """Say whether ``AETHERRA_NET_STRICT`` is set: to anything but ``""``, ``0``, ``false``, ``no`` and ``off``."""
    return os.environ.get("AETHERRA_NET_STRICT", "").strip().lower() not in ("", "0", "false", "no", "off")


class SecurityGate:
    """Decides which items may come in. It changes nothing but its own records.

    Threads may use it one at a time: it reads every file of an item, so use a worker thread.

    Args:
        policy: As the configuration has it.
        safety: Where decisions and reviews are kept.
        profile: Of the host: ``prod`` needs signatures and a person's word.
        grants: Of a plugin, by its name.
        ring: The keys that are known; None where there are none.
        quarantine: What is set aside; None where there is no vault.
        ethics: The rules of ethics.
        strict_network: Whether every host must be named and allowed, whatever the policy says.

    Attributes:
        ring_problem: Why the ring could not be read when it was last looked at: nobody is known then.
        lost: What of decisions and reviews was lost, when that was last looked at, ``""`` if nothing: a person agrees
            to everything then, as it may be what somebody has rejected.
    """

    def __init__(
        self,
        policy: PolicySettings,
        safety: SafetyIndex,
        *,
        profile: str = "standard",
        grants: Grants = lambda _: (),
        ring: KeyRing | None = None,
        quarantine: QuarantineManager | None = None,
        ethics: EthicsEngine | None = None,
        strict_network: bool = False,
    ) -> None:
        self.engine = PolicyEngine(policy.hardened(profile, net_strict=strict_network))
        self.ethics = ethics or EthicsEngine()
        self.safety = safety
        self.ring_problem = ""
        self.lost = ""
        self._ring = ring
        self._quarantine = quarantine
        self._grants = grants

    def look_at_keys(self) -> None:
        """See which keys are known now, as people add and revoke some meanwhile, and whether reviews were lost."""
        self.lost = _told_lost(self.safety)
        if self._ring is None:
            return
        try:
            self._ring.reload()
        except SigningError as exc:
            self.ring_problem = f"nobody's signature counts: {exc}"
        else:
            self.ring_problem = ""

    def evaluate(self, item: Item, *, now: float) -> Decision:
        """Look at an item as it lies there now, decide on it, and keep the decision.

        Whatever is wrong with the files, the signature or the key ring is a ground for the decision.

        Args:
            item: As the index knows it.
            now: Unix time.

        Raises:
            DatabaseUnusableError: The decision could not be kept, so there is none.
        """
        decision = self.decide(item, now=now)
        self.safety.record(decision)
        return decision

    def decide(self, item: Item, *, now: float) -> Decision:
        """Likewise, and keep nothing: what `evaluate` would say."""
        self.look_at_keys()
        seen = look(item)
        looked = seen.item
        basis = self._basis(item, seen.looked_for)
        signed = self._signed(item, now)
        settings = self.engine.settings
        quarantined = self._is_held(item)
        review = self._reviewed(item)
        before = self.safety.baseline(item.root, item.path)
        grants = self._grants(item.name)
        case = Case(
            item=looked,
            tier=tier_of(item.path, signed, settings.places(), quarantined=quarantined),
            signed=signed,
            grants=grants,
            seen=seen.grounds,
            drift=drifted(before, looked.risk, looked.capabilities),
            network=self._network(seen),
            actions=seen.actions,
            ethics=self.ethics.assess(looked),
            accepted=review.told() if review is not None and review.says == "accept" else None,
            rejected=review.told() if review is not None and review.says == "reject" else None,
            lost=self.lost,
            notes=tuple(Ground("grant_misspelt", text, against=False) for text in misspelt(grants)),
            places=seen.places,
        )
        decision = self.engine.decide(case, now=now)
        return msgspec.structs.replace(decision, looked_for=seen.looked_for, basis=basis)

    def is_current(self, decision: Decision, item: Item) -> bool:
        """Say whether a decision still counts: the same bytes, by the index, and all else that it hangs on.

        That is the policy, the rules, the known keys, the grants as they were looked up last, the signature's file, the
        modules beside it, what a person has said, and whether it is in quarantine. It reads no file, and looks at some.
        """
        return (
            decision.digest == item.digest
            and decision.policy == self.engine.digest
            and decision.rules == RULES_VERSION
            and (self._ring is None or decision.decided_at > self._ring.changed_at)
            and decision.basis == self._basis(item, decision.looked_for)
        )

    def _basis(self, item: Item, looked_for: tuple[str, ...]) -> str:
        own = {file.path for file in item.files}
        beside = {path for name in looked_for for path in places_of(item, name)} - own
        root = Path(original(item.root))
        review = self._reviewed(item)
        hangs_on = (
            item.kind,
            self.lost,
            self._grants(item.name),
            self._is_held(item),
            None if review is None else (review.says, review.told()),
            _stamp_of_signature(root / original(item.path)),
            [(path, stamp) for path in sorted(beside) if (stamp := _stamp(root / original(path))) is not None],
        )
        return hashlib.sha256(repr(hangs_on).encode()).hexdigest()[:16]

    def _is_held(self, item: Item) -> bool:
        return self._quarantine is not None and any(map(self._quarantine.holds, (*item.digests(), *item.known_as())))

    def _reviewed(self, item: Item) -> Review | None:
        """Return what a person said of these bytes; a rejection of the files alone, without the project, is one too."""
        digest, *former = item.digests()
        rejected = (review for review in map(self.safety.reviewed, former) if review and review.says == "reject")
        return self.safety.reviewed(digest) or next(rejected, None)

    def review(self, digest: str, says: Literal["accept", "reject"], *, person: str, reason: str, now: float) -> Review:
        """Keep what a person said of exactly these bytes; it counts from the next evaluation on.

        Who is a person is the caller's to know.

        Raises:
            ValueError: There is no reason given.
            DatabaseUnusableError: It could not be kept.
        """
        if not reason.strip():
            raise ValueError("expected a reason: whoever reads it later was not there")
        review = Review(digest, says, person, reason.strip(), now)
        self.safety.review(review)
        return review

    def was_released(self, item: Item) -> bool:
        """Say whether a person has given exactly these bytes back from quarantine."""
        return self._quarantine is not None and self._quarantine.gave_back(item.digest)

    def set_aside(self, item: Item, decision: Decision, *, by: str, reason: str = "") -> Quarantined:
        """Put an item into quarantine, if its files are still those that were judged; by default for the first ground.

        Raises:
            QuarantineError: There is no vault, or it cannot be set aside; it stays where it is.
        """
        if self._quarantine is None:
            raise QuarantineError(item.path, "there is no quarantine without a data directory")
        against = [ground for ground in decision.rationale if ground.against]
        reason = reason or (against[0].text if against else f"the verdict was {decision.verdict}")
        return self._quarantine.quarantine(
            item.root,
            item.path,
            digest=item.digest,
            known_as=item.known_as()[0] if any(file.size for file in item.files) else "",
            reason=reason,
            by=by,
            rationale=decision.rationale,
            unchanged=lambda _: _is_unchanged(item),
        )

    def _network(self, seen: Look) -> tuple[Ground, ...]:
        if "network" not in seen.item.capabilities:
            return ()
        network = self.engine.settings.network
        return tuple(network_grounds(seen.hosts, seen.unknown, network.allow, strict=network.strict))

    def _signed(self, item: Item, now: float) -> Signed:
        """Check the item's signature, and that it is of these files and no others."""
        if self._ring is None:
            return Signed()
        place = Path(original(item.root)) / original(item.path)
        below = f"{item.path}/" if item.path != "." else ""
        names = {file.path: original(file.path.removeprefix(below)) for file in item.files}
        folder = [file.path for file in item.files] != [item.path]
        try:
            verified = verify(place, self._ring, now, only=tuple(names.values()) if folder else None)
        except SigningUnavailableError as exc:
            return Signed("unavailable", str(exc))
        except (SigningError, OSError) as exc:
            return Signed("malformed", f"the signature cannot be checked: {exc}")
        if verified.ok and not _covers(verified, item, names, folder=folder):
            return Signed("changed", "what was signed is not what was judged", verified.key)
        return Signed(verified.status, verified.reason, verified.key, verified.pinned and verified.ok)


def _covers(verified: Verified, item: Item, names: dict[str, str], *, folder: bool) -> bool:
    """Say whether a signature is of every file of an item, as it was judged."""
    if verified.manifest is None:
        return False
    signed = {file.path: file.sha256 for file in verified.manifest.files}
    if not folder:
        return [file.sha256 for file in item.files] == list(signed.values())
    return all(signed.get(names[file.path]) == file.sha256 for file in item.files)


def _told_lost(safety: SafetyIndex) -> str:
    try:
        files = safety.lost()
    except OSError as exc:
        return f"whether reviews were lost cannot be told: {exc}"
    if not files:
        return ""
    named = ", ".join(map(repr, map(str, files)))
    return f"decisions and reviews were lost, rejections with them, as {named} was damaged: take it away to end this"


def _stamp(path: Path) -> tuple[int, ...] | None:
    """Return what tells one state of a file from another without reading it; None if there is none."""
    try:
        told = path.lstat()
    except (OSError, ValueError):
        return None
    return told.st_mode, told.st_ino, told.st_size, told.st_mtime_ns, told.st_ctime_ns


def _stamp_of_signature(place: Path) -> tuple[int, ...] | None:
    try:
        return _stamp(signature_file(place))
    except (OSError, ValueError, SigningError):
        return None


def _is_unchanged(item: Item) -> bool:
    for file in item.files:
        try:
            with (
                regular_file(Path(original(item.root)) / original(file.path)) as (descriptor, _),
                os.fdopen(descriptor, "rb", closefd=False) as opened,
            ):
                sha256 = hashlib.file_digest(opened, "sha256").hexdigest()
        except OSError:
            return False
        if sha256 != file.sha256:
            return False
    return True
