"""What self-incorporation says: the only file of it that other plugins import."""

from __future__ import annotations

from aetherra.plugins import Message, Request
from aetherra.plugins.self_incorporation.code.findings import Finding, Refusal
from aetherra.plugins.self_incorporation.index.report import Risk


class Scanned(Message, tag="selfinc.scanned"):
    """One scan of one tree: the reply to ``Scan``, and an event after each.

    ``files_found == files_indexed + len(files_refused)``: nothing is skipped in silence. Paths are relative to
    ``root``.

    Attributes:
        root: What was scanned.
        files_found: Every file below it outside of ``folders_excluded``.
        files_indexed: Those that are in the index now.
        files_refused: Those that are not, each with its reason.
        files_new: Seen for the first time.
        files_changed: With other content than last time.
        files_unchanged: As last time.
        files_removed: In the index last time, and gone.
        files_read: Opened; a file whose size and times are as last time is not.
        folders_excluded: Not entered: version control, caches, virtual environments.
        folders_refused: Could not be listed, each with its reason.
        kinds: Files by kind.
        findings: Warnings and threats.
        risks: The riskiest files, and why.
        seconds: What the scan took.
    """

    root: str
    files_found: int
    files_indexed: int
    files_refused: tuple[Refusal, ...]
    files_new: int
    files_changed: int
    files_unchanged: int
    files_removed: int
    files_read: int
    folders_excluded: tuple[str, ...]
    folders_refused: tuple[Refusal, ...]
    kinds: dict[str, int]
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


class Kinds(Message, tag="selfinc.classify_reply"):
    """The indexed files by kind."""

    kinds: dict[str, int]


class Classify(Request[Kinds], tag="selfinc.classify"):
    """Ask for the kinds of the files that the last scan indexed."""


class Judged(Message, tag="selfinc.security_eval_reply"):
    """What the last scan found that somebody should look at."""

    severities: dict[str, int]
    riskiest: tuple[Risk, ...]


class SecurityEval(Request[Judged], tag="selfinc.security_eval"):
    """Ask for the risks in the index."""


class IndexedFile(Message, tag="selfinc.file_reply"):
    """One file of the index.

    Attributes:
        path: Relative to the root.
        sha256: Of its content.
        size: Bytes.
        kind: What it is, with ``confidence`` 0..1 by ``features``.
        risk: 0..1, by ``factors``.
        capabilities: What its code can do.
        imports: Modules that it imports.
        entry_points: Ways to run it.
        lines: Of source.
    """

    path: str
    sha256: str
    size: int
    kind: str
    confidence: float
    features: tuple[str, ...]
    risk: float
    factors: tuple[str, ...]
    capabilities: tuple[str, ...]
    imports: tuple[str, ...]
    entry_points: tuple[str, ...]
    lines: int


class GetFile(Request[IndexedFile], tag="selfinc.file"):
    """Ask what the index holds of one file; raises ``LookupError`` if nothing."""

    path: str


class SelfIncorporationStatus(Message, tag="selfinc.status_reply"):
    """What was scanned since the start, and what the index holds.

    Attributes:
        scanning: The tree that is being scanned now, ``""`` if none.
        scans: Scans finished.
        failed_scans: Scans that ended with an error.
        last_problem: Why, for the latest of these.
        files: In the index, while a scan goes on as it was before; likewise the next two.
        refusals: Files that are not, and why is kept.
        findings: In the index, of all severities.
        set_aside: Where an index that could not be read was moved, ``""`` if none was.
    """

    scanning: str
    scans: int
    failed_scans: int
    last_problem: str
    files: int
    refusals: int
    findings: int
    set_aside: str


class GetSelfIncorporationStatus(Request[SelfIncorporationStatus], tag="selfinc.status"):
    """Ask what was scanned."""
