"""What is kept out, over restarts and damage."""

from __future__ import annotations

from pathlib import Path

from aetherra.plugins.self_incorporation.kept_out import KeptOut
from aetherra.plugins.storage import StateFile


def kept(folder: Path) -> KeptOut:
    return KeptOut(StateFile(folder / "taken_out.json", dict[str, str]))


class TestKeptOut:
    def test_what_was_taken_out_is_let_in_by_a_restart(self, tmp_path: Path) -> None:
        """It is kept out until it is let in."""
        first = kept(tmp_path)
        first.add(["d1", "d2"], "it fell over")
        first.let_in(["d2"])

        assert (kept(tmp_path).why("d1"), kept(tmp_path).why("d2")) == ("it fell over", "")
        assert kept(tmp_path).problem() == ""

    def test_a_damaged_list_is_forgotten_at_the_second_start(self, tmp_path: Path) -> None:
        """While the damaged file lies there the problem is there, whatever the number of starts."""
        (tmp_path / "taken_out.json").write_text("{")
        kept(tmp_path)
        again = kept(tmp_path)

        assert "nothing is brought in unasked" in again.problem()
        (tmp_path / "taken_out.json.corrupt-1").unlink()
        assert again.problem() == ""
