"""The front door for the plugin that keeps the audit ledger: apart, so that only it pays for it."""

from aetherra.kernel.ledger import (
    AuditLedger,
    Entry,
    Fact,
    LedgerBrokenError,
    LedgerSettings,
    LedgerStatistics,
    Problem,
    Verification,
)

__all__ = [
    "AuditLedger",
    "Entry",
    "Fact",
    "LedgerBrokenError",
    "LedgerSettings",
    "LedgerStatistics",
    "Problem",
    "Verification",
]
