"""Which files leave: the oldest, by size and by age, and never the newest."""

from __future__ import annotations

from pathlib import Path

import pytest

from aetherra.kernel.ledger import LedgerSettings
from aetherra.kernel.ledger.retention import Kept, leaving
from aetherra.kernel.ledger.segments import Segment

SETTINGS = LedgerSettings(segment_bytes=4096, max_bytes=20_000, segment_age=2000.0, max_age=1000.0)


def files(*sizes: int, every: float = 1.0) -> list[Kept]:
    return [Kept(Segment(Path(str(i)), i + 1), size, every * i, "") for i, size in enumerate(sizes)]


class TestLeaving:
    @pytest.mark.parametrize(
        ("sizes", "going"),
        [((), 0), ((99_999,), 0), ((4000, 4000, 4000), 0), ((5000,) * 4, 1), ((5000,) * 10, 7), ((50_000, 5000), 1)],
    )
    def test_too_much_is_kept_or_too_little(self, sizes: tuple[int, ...], going: int) -> None:
        """So many that there is room for the one that begins; the newest stays, whatever its size."""
        assert leaving(files(*sizes), SETTINGS, now=10.0) == going

    @pytest.mark.parametrize(("now", "going"), [(1000.0, 0), (1100.0, 0), (1101.0, 1), (1301.0, 3), (1e9, 3)])
    def test_an_old_file_stays(self, now: float, going: int) -> None:
        """It leaves once its last entry, which is no newer than the next file, is older than the bound."""
        assert leaving(files(10, 10, 10, 10, every=100.0), SETTINGS, now=now) == going

    @pytest.mark.parametrize("ahead", [3 * 365 * 86_400.0, 1e12])
    def test_a_clock_that_is_ahead_drops_what_is_new(self, ahead: float) -> None:
        """However far it jumps, and however often back again, a jump counts as the time of one file."""
        settings = LedgerSettings(segment_age=100.0, max_age=1000.0)
        begun = [Kept(Segment(Path(str(i)), i + 1), 10, (i % 2) * ahead, "") for i in range(12)]

        assert leaving(begun, settings, now=ahead) == 0
        assert leaving([*begun] * 2, settings, now=ahead) == 2
