"""``aetherra quarantine``: what it asks before it deletes."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from aetherra.kernel.cli import quarantine as commands
from aetherra.kernel.cli.quarantine import quarantine


class TestDelete:
    def test_something_is_deleted_unasked(self) -> None:
        """Whoever does not say yes is left with what there was; no host is even asked."""
        for answer in ("n\n", "\n", ""):
            ended = CliRunner().invoke(quarantine, ["delete", "abc"], input=answer)
            assert ended.exit_code == 1
            assert "delete abc for good?" in ended.output
            assert "no host" not in ended.output


class TestAdd:
    def test_what_serves_on_is_not_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """What came in from it is named: what was taken out, and, with exit status 1, what was not."""
        kept = {"id": "abc", "state": "kept", "path": "in/thief.py"}
        for serving, status in (([], 0), (["bank"], 1)):
            reply = {"quarantined": kept, "taken_out": ["thief"], "serving": serving}
            monkeypatch.setattr(commands, "ask_incorporation", lambda *_, reply=reply, **__: reply)
            ended = CliRunner().invoke(quarantine, ["add", "thief", "--reason", "steals"], standalone_mode=False)

            assert ended.return_value == status
            assert "taken out, as they came in from it: thief" in ended.output
            assert ("could not be taken out, and is tried again: bank" in ended.output) is bool(serving)
