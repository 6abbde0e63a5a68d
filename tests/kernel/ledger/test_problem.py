"""Errors about the ledger."""

from __future__ import annotations

import pickle

from aetherra.kernel.errors import DataFileError
from aetherra.kernel.ledger import LedgerBrokenError


class TestLedgerBrokenError:
    def test_nobody_knows_what_to_do(self) -> None:
        """It is an error of a data file, names both commands, and travels between processes."""
        error = LedgerBrokenError("/data/audit", "it ends before entry 7")

        assert isinstance(error, DataFileError)
        assert "aetherra audit verify" in str(error)
        assert "aetherra audit adopt" in str(error)
        assert str(pickle.loads(pickle.dumps(error))) == str(error)
