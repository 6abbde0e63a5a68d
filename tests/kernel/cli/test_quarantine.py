"""``aetherra quarantine``: what it asks before it deletes."""

from __future__ import annotations

from click.testing import CliRunner

from aetherra.kernel.cli.quarantine import quarantine


class TestDelete:
    def test_something_is_deleted_unasked(self) -> None:
        """Whoever does not say yes is left with what there was; no host is even asked."""
        for answer in ("n\n", "\n", ""):
            ended = CliRunner().invoke(quarantine, ["delete", "abc"], input=answer)
            assert ended.exit_code == 1
            assert "delete abc for good?" in ended.output
            assert "no host" not in ended.output
