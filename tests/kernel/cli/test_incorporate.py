"""What ``aetherra incorporate`` knows beforehand of what the plugin says."""

from __future__ import annotations

from typing import get_args

from aetherra.kernel.cli.incorporate import KINDS, STAGES, VERDICTS
from aetherra.plugins.self_incorporation.code.classifier import FileKind
from aetherra.plugins.self_incorporation.gate.decision import Verdict
from aetherra.plugins.self_incorporation.integration.intents import Stage


class TestWords:
    def test_a_verdict_cannot_be_asked_for(self) -> None:
        """``--verdict`` takes each verdict, and no other."""
        assert set(VERDICTS) == set(get_args(Verdict))

    def test_a_kind_cannot_be_asked_for(self) -> None:
        """``--kind`` and ``correct`` take each kind, and no other."""
        assert set(KINDS) == {str(kind) for kind in FileKind}

    def test_a_stage_has_no_word(self) -> None:
        """However far an integration is, people are told."""
        assert set(STAGES) == set(get_args(Stage))
