"""Settings that were given: no text tells their values."""

from __future__ import annotations

import pytest

from aetherra.plugins.self_incorporation.integration.given import masked


class TestMasked:
    @pytest.mark.parametrize(
        "text",
        [
            "key hunter2 was refused",
            "hunter2hunter22",
            "KeyError: 'hun\\\\ter'",
            "PIN 12345 is wrong",
            "at /srv/deep/secret",
        ],
    )
    def test_a_value_shows(self, text: str) -> None:
        """As it is, as Python or JSON write it, wherever it stands in the settings."""
        settings = {
            "key": "hunter2",
            "odd": "hun\\ter",
            "pin": 12345,
            "on": True,
            "more": {"paths": ["/srv/deep/secret"]},
        }
        told = masked(text, {"other": "hunter22"}, settings)

        assert "[a setting]" in told
        assert not any(value in told for value in ("hunter2", "ter'", "12345", "/srv"))

    def test_a_text_is_hidden_by_short_values(self) -> None:
        """What is too short to be a secret leaves the text as it is."""
        assert masked("it is on, 1 of 3", {"mode": "on", "count": 1, "most": 3, "none": None}) == "it is on, 1 of 3"
