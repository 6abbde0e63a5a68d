"""What was seen in one file, by line: which capabilities it uses, and which indicators speak of ill intent."""

from collections.abc import Iterable, Iterator

from aetherra.plugins.self_incorporation.code.findings import Capability, Finding, RiskFactor, Severity
from aetherra.plugins.self_incorporation.code.rules import CAPABILITY_WEIGHTS, INDICATORS

__all__ = ["MAX_LINES", "Signs", "first_lines"]

MAX_LINES = 20


class Signs:
    """Owns the lines of one file that were noted.

    Args:
        path: Of the file.

    Attributes:
        uses: The lines of each capability.
        seen: The lines of each indicator.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.uses: dict[Capability, set[int]] = {}
        self.seen: dict[str, set[int]] = {}

    def use(self, capability: Capability, line: int) -> None:
        """Note that a line uses a capability."""
        self.uses.setdefault(capability, set()).add(line)

    def sign(self, code: str, line: int) -> None:
        """Note that a line shows an indicator."""
        self.seen.setdefault(code, set()).add(line)

    def findings(self, reach: frozenset[Capability]) -> Iterator[Finding]:
        """Yield what there is to say, given all that the file and those judged with it can do."""
        for capability, lines in self.uses.items():
            message = f"uses {capability} on {len(lines)} line{'s' * (len(lines) > 1)}"
            yield Finding(self.path, min(lines), capability, "info", message)
        for code, lines in self.seen.items():
            severity: Severity = "threat" if _threatens(code, reach) else "warning"
            for line in first_lines(lines):
                yield Finding(self.path, line, code, severity, INDICATORS[code].message)

    def factors(self, reach: frozenset[Capability]) -> Iterator[RiskFactor]:
        """Likewise, as parts of a risk."""
        for capability, lines in self.uses.items():
            yield RiskFactor(capability, CAPABILITY_WEIGHTS[capability], first_lines(lines))
        for code, lines in self.seen.items():
            weight = INDICATORS[code].weight
            yield RiskFactor(code, weight if _threatens(code, reach) else round(weight / 3, 3), first_lines(lines))


def _threatens(code: str, reach: frozenset[Capability]) -> bool:
    return any(needed <= reach for needed in INDICATORS[code].needs)


def first_lines(lines: Iterable[int]) -> tuple[int, ...]:
    """Return the first of some lines, in order."""
    return tuple(sorted(lines)[:MAX_LINES])
