"""The standing: what was done since the start, what there is, and whether that is in order."""

from __future__ import annotations

from collections.abc import Iterator

from aetherra.plugins import MetricSample
from aetherra.plugins.self_incorporation.assessor import Assessor
from aetherra.plugins.self_incorporation.gate.quarantine import QuarantineManager
from aetherra.plugins.self_incorporation.index.code_index import CodeIndex
from aetherra.plugins.self_incorporation.intake import Intake
from aetherra.plugins.self_incorporation.messages import SelfIncorporationHealth, SelfIncorporationStatus
from aetherra.plugins.self_incorporation.night.processor import NightCycleProcessor
from aetherra.plugins.self_incorporation.surveyor import Surveyor
from aetherra.plugins.self_incorporation.troubles import Troubles

__all__ = ["Standing"]


class Standing:
    """Asks all parts how they are; it changes nothing.

    Args:
        index: What is known of files.
        surveyor: Scans.
        assessor: Decides.
        night: Learns.
        quarantine: Keeps apart; ``None`` where nothing is kept,
        intake: and likewise what brings in and takes out.
        troubles: What goes wrong with what is kept.
    """

    def __init__(
        self,
        *,
        index: CodeIndex,
        surveyor: Surveyor,
        assessor: Assessor,
        night: NightCycleProcessor,
        quarantine: QuarantineManager | None,
        intake: Intake | None,
        troubles: Troubles,
    ) -> None:
        self._index = index
        self._surveyor = surveyor
        self._assessor = assessor
        self._night = night
        self._quarantine = quarantine
        self._intake = intake
        self._troubles = troubles

    def problems(self) -> tuple[str, ...]:
        """Return what somebody has to see to: nothing is brought in until then, or not unasked."""
        problems = () if self._intake is None else self._intake.integrator.problems
        kept = () if self._quarantine is None else self._quarantine.problems
        return (*self._troubles.all(), *problems, *kept)

    async def status(self) -> SelfIncorporationStatus:
        """Say what was done, also in the middle of a scan: then the index is as it was before."""
        held = await self._surveyor.statistics()
        aside = self._index.set_aside
        intake = self._intake
        return SelfIncorporationStatus(
            scanning=self._surveyor.scanning,
            scans=self._surveyor.scans,
            failed_scans=self._surveyor.failed,
            last_problem=self._surveyor.problem,
            files=held.files,
            refusals=held.refusals,
            findings=held.findings,
            set_aside="" if aside is None else str(aside.path),
            items=dict(self._assessor.verdicts),
            integrations=0 if intake is None else intake.incorporator.done,
            failed_integrations=0 if intake is None else intake.incorporator.failed,
            rollbacks=0 if intake is None else intake.incorporator.rollbacks,
            registered=() if intake is None else tuple(sorted(intake.integrator.registered)),
            not_serving={} if intake is None else dict(intake.aftercare.not_serving),
            quarantined=0 if self._quarantine is None else len(self._quarantine.all(kept=True)),
            waiting=0 if intake is None else len(intake.incorporator.waiting),
            night=str(self._night.phase),
            problems=self.problems(),
        )

    def health(self) -> SelfIncorporationHealth:
        """Say whether all that is kept is in order."""
        reasons = list(self.problems())
        if self._intake is not None:
            reasons += [f"{name} does not serve: {why}" for name, why in self._intake.aftercare.not_serving.items()]
            reasons += [f"{one.path} cannot be read: {one.problem}" for one in self._intake.integrator.unreadable]
        if self._index.backup_problem:
            reasons.append(f"the backup of the index is behind: {self._index.backup_problem}")
        if why := self._night.status().problem:
            reasons.append(f"the last night failed: {why}")
        metrics = {sample.name: sample.value for sample in self.metrics() if sample.value is not None}
        return SelfIncorporationHealth(not reasons, tuple(reasons), metrics)

    def metrics(self) -> list[MetricSample]:
        """Count what was done."""
        return [MetricSample(name, float(count), unit) for name, count, unit in self._counts()]

    def _counts(self) -> Iterator[tuple[str, int, str]]:
        yield "scans", self._surveyor.scans, "scans"
        yield "failed_scans", self._surveyor.failed, "scans"
        yield "blocked", self._assessor.verdicts.get("blocked", 0), "items"
        yield "problems", len(self.problems()), "problems"
        if self._intake is not None:
            incorporator = self._intake.incorporator
            yield "integrations", incorporator.done, "integrations"
            yield "failed_integrations", incorporator.failed, "integrations"
            yield "rollbacks", incorporator.rollbacks, "rollbacks"
            yield "waiting", len(incorporator.waiting), "integrations"
            yield "not_serving", len(self._intake.aftercare.not_serving), "plugins"
        if self._quarantine is not None:
            yield "quarantined", len(self._quarantine.all(kept=True)), "items"
