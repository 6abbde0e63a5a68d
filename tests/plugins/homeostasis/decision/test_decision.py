"""What becomes of a decision."""

from __future__ import annotations

import msgspec
import pytest

from aetherra.plugins.homeostasis.decision import Outcome


class TestOutcome:
    @pytest.mark.parametrize("status", ["great", "", None, 1])
    def test_a_status_that_there_is_not_is_taken(self, status):
        """It is refused, with those that there are."""
        with pytest.raises(ValueError, match="expected a status of done, unchanged, failed, skipped, got "):
            Outcome(status)

    def test_a_detail_without_words_is_taken(self):
        """It is a text, as what is written of it is."""
        with pytest.raises(ValueError, match="expected a detail in words"):
            Outcome("failed", OSError("disk"))

    def test_a_detail_cannot_be_written_down(self):
        """A file's name that is no text, in what an actuator says, does not keep the outcome out of the history."""
        assert Outcome("failed", "no file 'a\udcff'").detail == "no file 'a\\udcff'"
        assert msgspec.json.encode(Outcome("failed", "ä\ud800"))

    @pytest.mark.parametrize(
        ("status", "again"), [("done", 5.0), ("failed", 0.0), ("skipped", -1.0), ("skipped", 1e999)]
    )
    def test_something_that_was_done_is_put_off(self, status, again):
        """Only what was not tried may be decided anew, and after a time that comes."""
        with pytest.raises(ValueError, match="expected again from 0 on, of what was skipped"):
            Outcome(status, again=again)
