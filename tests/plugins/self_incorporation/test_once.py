"""Warnings that are said once, and again when they come back."""

from __future__ import annotations

import logging

import pytest

from aetherra.plugins.self_incorporation.once import Once


class TestOnce:
    def test_a_text_with_a_number_in_it_is_said_at_every_look(self, caplog: pytest.LogCaptureFixture) -> None:
        """The same reason about the same is said once, in whatever words; another reason is said."""
        once = Once(logging.getLogger("tests.once"))
        for seconds in range(5):
            once.say("it", "guard", "it waits for %d s", seconds)
        once.say("it", "stopped", "it is stopped")

        assert [record.getMessage() for record in caplog.records] == ["it waits for 0 s", "it is stopped"]

    def test_it_grows_for_ever_or_is_silent_for_ever(self, caplog: pytest.LogCaptureFixture) -> None:
        """What is not so any more is forgotten, and said again when it comes back."""
        once = Once(logging.getLogger("tests.once"))
        for number in range(100):
            once.say(number, "gone", "%d", number)
            once.keep({number})
        assert len(once) == 1
        once.say(0, "gone", "again")
        assert caplog.records[-1].getMessage() == "again"
