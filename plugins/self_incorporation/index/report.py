"""What a scan tells: how far it has come while it runs, and what it found when it is done."""

from msgspec import Struct

from aetherra.plugins.self_incorporation.code.findings import Finding, Refusal, RiskFactor

__all__ = ["LeftOut", "Progress", "Risk", "ScanReport"]


class Progress(Struct, frozen=True):
    """How far a scan has come: files found in all, dealt with, and read; the file it is at."""

    files_found: int
    files_done: int
    files_read: int
    path: str


class LeftOut(Struct, frozen=True):
    """What of a root was not entered: folders left out on purpose, and those that could not be listed, by path."""

    excluded: tuple[str, ...] = ()
    refused: tuple[Refusal, ...] = ()


class Risk(Struct, frozen=True):
    """A file, its risk, and what makes it up."""

    path: str
    risk: float
    factors: tuple[RiskFactor, ...]


class ScanReport(Struct, frozen=True):
    """What one scan found: ``files_found == files_indexed + refusals``, always.

    Attributes:
        root: What was scanned.
        files_found: All that is no folder, links and special files among them.
        files_indexed: Those now in the index.
        files_refused: Those not, each with its reason, as many as `Limits.refusals`.
        refusals: How many they are.
        files_new: Indexed for the first time.
        files_changed: Indexed before, with other bytes.
        files_unchanged: Indexed before, with the same bytes.
        files_removed: In the index before, and not found now.
        files_read: Opened by this scan.
        folders_excluded: Not entered, on purpose.
        folders_refused: Not listed, each with its reason; what they hold is not counted.
        kinds: How many of the indexed are of each kind.
        severities: How many findings there are of each severity.
        findings: Threats, then warnings, as many as `Limits.findings`.
        risks: The riskiest files.
        seconds: How long the scan took.
        changed: Paths of the first files that it found new or changed, as many as `Limits.changed`.
    """

    root: str
    files_found: int
    files_indexed: int
    files_refused: tuple[Refusal, ...]
    refusals: int
    files_new: int
    files_changed: int
    files_unchanged: int
    files_removed: int
    files_read: int
    folders_excluded: tuple[str, ...]
    folders_refused: tuple[Refusal, ...]
    kinds: dict[str, int]
    severities: dict[str, int]
    findings: tuple[Finding, ...]
    risks: tuple[Risk, ...]
    seconds: float
    changed: tuple[str, ...] = ()
