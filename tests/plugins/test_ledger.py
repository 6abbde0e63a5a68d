"""The door to the audit ledger: what the governance plugin needs, and nothing that goes round it."""

from __future__ import annotations

from aetherra.kernel import ledger
from aetherra.plugins import ledger as door


class TestDoor:
    def test_a_name_is_another_one_behind_the_door(self) -> None:
        """Each name is the kernel's own, and the list is whole."""
        assert {name for name in vars(door) if not name.startswith("_")} == set(door.__all__)
        assert all(getattr(door, name) is getattr(ledger, name) for name in door.__all__)

    def test_a_ledger_is_opened_through_the_door(self, tmp_path) -> None:
        """What comes through it is enough to keep a ledger and to look at it."""
        settings = door.LedgerSettings(head_folder=str(tmp_path / "head"))
        with door.AuditLedger.open(tmp_path / "data", settings) as kept:
            entry = kept.append(kind="knob", actor="plugin:a", summary="turned")

            assert kept.tail(1) == (entry,)
            assert kept.verify() == door.Verification(
                ok=True, entries=2, first=1, last=2, ledger=kept.verify().ledger, key=kept.verify().key
            )
