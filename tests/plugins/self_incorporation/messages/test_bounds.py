"""What requests refuse to be asked with."""

from __future__ import annotations

import msgspec
import pytest

from aetherra.plugins.self_incorporation.messages import DecideItem, Integrate

GOOD = "0" * 64


class TestDigests:
    @pytest.mark.parametrize("digest", ["", "abc", "A" * 64, f"{GOOD}\n", f" {GOOD}"])
    def test_a_digest_that_is_none_counts_as_not_given(self, digest: str) -> None:
        """It is refused with the field that is wrong, and never read as leave to do anything."""
        for request in (Integrate, DecideItem):
            body = msgspec.json.encode({"item": "a", "accept": True, "reason": "x", "digest": digest})
            with pytest.raises(msgspec.ValidationError, match=r"at `\$\.digest`"):
                msgspec.json.decode(body, type=request)

    def test_a_plan_can_be_carried_out_that_nobody_has_looked_at(self) -> None:
        """Where no digest is given."""
        assert msgspec.json.decode(b"{}", type=Integrate).digest is None
        assert msgspec.json.decode(msgspec.json.encode({"digest": GOOD}), type=Integrate).digest == GOOD
