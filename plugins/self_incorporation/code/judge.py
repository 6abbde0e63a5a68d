"""What a Python file can do, what in it speaks of ill intent, and how risky that makes it.

Two layers. A *capability* is what code can do to the world: ``info``, since all good code does something. An
*indicator* is a sign of ill intent. It is a *threat* only together with the capabilities it needs, in the same file or
in those it is judged together with, and a ``warning`` otherwise. Comments that ask a linter for silence (``# nosec``,
``# noqa``) have no effect here. Constant text that a file runs as code is judged as a part of that file.

The risk of a file is ``1 - (1 - w1)(1 - w2)...`` over its factors: each capability and each indicator counts once,
with its weight from `rules`, an indicator that is no threat with a third of it. So all capabilities together come to
0.33, and one threat to at least 0.6.
"""

from collections.abc import Iterator

from msgspec import Struct

from aetherra.plugins.self_incorporation.code.evidence import Evidence
from aetherra.plugins.self_incorporation.code.findings import Capability, Finding, RiskFactor, joined
from aetherra.plugins.self_incorporation.code.lookalikes import lookalikes
from aetherra.plugins.self_incorporation.code.names import Names
from aetherra.plugins.self_incorporation.code.origins import Origins
from aetherra.plugins.self_incorporation.code.program import Program, Unit
from aetherra.plugins.self_incorporation.code.rules import INDICATORS
from aetherra.plugins.self_incorporation.code.signs import MAX_LINES, first_lines
from aetherra.plugins.self_incorporation.code.syntax import Syntax

__all__ = ["MAX_LINES", "Judgement", "judge", "judge_together"]


class Judgement(Struct, frozen=True):
    """What the judge has to say about one file.

    Attributes:
        capabilities: With the first lines that use each.
        findings: In the order of their lines.
        risk: Between 0 and 1.
        factors: What makes up the risk, heaviest first.
    """

    capabilities: dict[Capability, tuple[int, ...]]
    findings: tuple[Finding, ...]
    risk: float
    factors: tuple[RiskFactor, ...]


def judge(path: str, text: str, syntax: Syntax, names: Names) -> Judgement:
    """Judge one file. Neither runs nor imports any of it."""
    return judge_together(Program([Unit(path, text, syntax, names)]))[path]


def judge_together(program: Program) -> dict[str, Judgement]:
    """Judge the files of a program, by path: each with what the others can do, and what they pass to each other.

    Neither runs nor imports any of it.
    """
    found = [Evidence(unit, program.units) for unit in program.units]
    for evidence in found:
        evidence.collect()
    flow = Origins(program) if any(evidence.is_worth_following() for evidence in found) else None
    for evidence in found:
        evidence.weigh(flow)
    reach: frozenset[Capability] = frozenset(capability for evidence in found for capability in evidence.signs.uses)
    return {evidence.unit.path: _judgement(evidence, reach) for evidence in found}


def _judgement(evidence: Evidence, reach: frozenset[Capability]) -> Judgement:
    alike = list(lookalikes(evidence.unit.path, evidence.unit.text))
    findings = [*evidence.signs.findings(reach), *_told(alike)]
    factors = [*evidence.signs.factors(reach), *_weighed(alike)]
    capabilities: dict[Capability, tuple[int, ...]] = {
        capability: first_lines(lines) for capability, lines in sorted(evidence.signs.uses.items())
    }
    return Judgement(
        capabilities,
        tuple(sorted(findings, key=lambda finding: (finding.line, finding.code))),
        joined(factors),
        tuple(sorted(factors, key=lambda factor: (-factor.weight, factor.code))),
    )


def _told(alike: list[Finding]) -> list[Finding]:
    """Return the first lookalikes, threats before warnings, so that no number of these hides one of those."""
    return sorted(alike, key=lambda finding: finding.severity != "threat")[:MAX_LINES]


def _weighed(alike: list[Finding]) -> Iterator[RiskFactor]:
    for code in sorted({finding.code for finding in alike}):
        threats = {finding.line for finding in alike if finding.code == code and finding.severity == "threat"}
        lines = threats or {finding.line for finding in alike if finding.code == code}
        weight = INDICATORS[code].weight
        yield RiskFactor(code, weight if threats else round(weight / 3, 3), first_lines(lines))
