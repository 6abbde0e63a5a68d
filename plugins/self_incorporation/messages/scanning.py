"""What is said of scans."""

from __future__ import annotations

from aetherra.plugins import Message, Request
from aetherra.plugins.self_incorporation.code.findings import Finding, Refusal
from aetherra.plugins.self_incorporation.index.report import Risk

__all__ = ["Scan", "ScanProgress", "Scanned"]


class Scanned(Message, tag="selfinc.scanned"):
    """One scan of one tree: the reply to ``Scan``, and an event after each.

    ``files_found == files_indexed + refusals``: nothing is skipped in silence. Paths are relative to ``root``. Lists
    hold the first 1,000 of each.

    Attributes:
        root: What was scanned.
        files_found: Every file below it outside of ``folders_excluded``.
        files_indexed: Those that are in the index now.
        files_refused: Those that are not, each with its reason.
        refusals: How many they are.
        files_new: Seen for the first time.
        files_changed: With other content than last time.
        files_unchanged: As last time.
        files_removed: In the index last time, and gone.
        files_read: Opened; a file whose size and times are as last time is not.
        folders_excluded: Not entered: version control, caches, virtual environments.
        excluded: How many they are.
        folders_refused: Could not be listed, each with its reason.
        unlisted: How many they are.
        kinds: Files by kind.
        severities: Findings by severity, all of them.
        findings: Warnings and threats, threats first.
        risks: The riskiest files, and why.
        seconds: What the scan took.
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
    excluded: int
    folders_refused: tuple[Refusal, ...]
    unlisted: int
    kinds: dict[str, int]
    severities: dict[str, int]
    findings: tuple[Finding, ...]
    risks: tuple[Risk, ...]
    seconds: float


class Scan(Request[Scanned], tag="selfinc.scan"):
    """Scan a file or folder; relative to the project, default is the first of the configured roots."""

    path: str | None = None


class ScanProgress(Message, tag="selfinc.progress"):
    """A scan goes on: ``done`` of ``total`` files."""

    what: str
    done: int
    total: int
