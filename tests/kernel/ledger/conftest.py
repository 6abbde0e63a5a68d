"""A place for a ledger: its files, its head apart, and what somebody may do to them behind its back."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from aetherra.kernel.ledger import AuditLedger, LedgerSettings, SignedHead, Verification, keys, ledger_folder, verify
from aetherra.kernel.ledger.head import HeadStore
from aetherra.kernel.testing import FakeClock

SMALL = 4096
"""Bytes of a file that some nine entries fill."""


class Place:
    """Where a ledger is, and its head."""

    def __init__(self, root: Path, clock: FakeClock | None = None) -> None:
        self.root = root
        self.clock = clock or FakeClock()
        self.data_dir = root / "data"
        self.folder = ledger_folder(self.data_dir)
        self.heads = root / "head"

    def settings(self, **bounds: float) -> LedgerSettings:
        return LedgerSettings(head_folder=str(self.heads), **bounds)  # type: ignore[arg-type]

    def open(self, **bounds: float) -> AuditLedger:
        return AuditLedger.open(self.data_dir, self.settings(**bounds), clock=self.clock.time)

    def filled(self, count: int, **bounds: float) -> Place:
        """Have a ledger with its beginning and so many entries more."""
        with self.open(**bounds) as ledger:
            add(ledger, count)
        return self

    @property
    def files(self) -> list[Path]:
        return sorted(self.folder.glob("audit-*.jsonl"))

    @property
    def lines(self) -> list[bytes]:
        return [line for file in self.files for line in file.read_bytes().splitlines(keepends=True)]

    def write(self, lines: list[bytes]) -> None:
        """Put other lines in the place of those of the only file."""
        (file,) = self.files
        file.write_bytes(b"".join(lines))

    def verify(self, **options: SignedHead) -> Verification:
        return verify(self.folder, self.heads, **options)

    def head(self) -> SignedHead:
        store = HeadStore(self.heads)
        try:
            return store.read()[1]
        finally:
            store.close()

    def copy(self, root: Path) -> Place:
        """Have the same somewhere else."""
        shutil.copytree(self.root, root)
        return Place(root, self.clock)


def add(ledger: AuditLedger, count: int = 1) -> None:
    for number in range(count):
        ledger.append(kind="knob", actor="plugin:tuner", component="plant.pool", summary=f"turned it, number {number}")


def kinds(found: Verification) -> list[tuple[str, int]]:
    return [(problem.kind, problem.sequence) for problem in found.problems]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "place")


@pytest.fixture(params=["ed25519", "hmac-sha256"])
def scheme(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What new heads are signed with: the library is there, or it is not."""
    monkeypatch.setattr(keys, "signing_available", lambda: request.param == "ed25519")
    return str(request.param)
