"""The audit ledger: append-only, hash-chained, with a signed head kept apart; ``docs/audit.md`` explains it."""

from aetherra.kernel.ledger.adoption import Adopted, adopt
from aetherra.kernel.ledger.entry import Entry, Fact
from aetherra.kernel.ledger.head import SignedHead
from aetherra.kernel.ledger.ledger import AuditLedger, LedgerStatistics
from aetherra.kernel.ledger.problem import LedgerBrokenError, Problem, ProblemKind, Remain, RemainKind, Verification
from aetherra.kernel.ledger.settings import LedgerSettings, head_folder, ledger_folder
from aetherra.kernel.ledger.verify import verify

__all__ = [
    "Adopted",
    "AuditLedger",
    "Entry",
    "Fact",
    "LedgerBrokenError",
    "LedgerSettings",
    "LedgerStatistics",
    "Problem",
    "ProblemKind",
    "Remain",
    "RemainKind",
    "SignedHead",
    "Verification",
    "adopt",
    "head_folder",
    "ledger_folder",
    "verify",
]
