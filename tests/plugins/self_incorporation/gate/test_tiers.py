"""How far an item is trusted."""

import pytest

from aetherra.plugins.self_incorporation.gate.tiers import Signed, Tier, matches, tier_of

PLACES = {
    Tier.TRUSTED: ("lib/*",),
    Tier.EXPERIMENTAL: ("lib/new",),
    Tier.QUARANTINED: ("lib/bad*",),
}


class TestTierOf:
    @pytest.mark.parametrize(
        ("path", "signed", "tier"),
        [
            ("a.py", Signed(), Tier.STANDARD),
            ("lib/a.py", Signed(), Tier.TRUSTED),
            ("lib/new/a.py", Signed(), Tier.EXPERIMENTAL),
            ("lib/bad.py", Signed("valid", pinned=True), Tier.QUARANTINED),
            ("a.py", Signed("valid", pinned=True), Tier.VERIFIED),
            ("lib/new/a.py", Signed("valid", pinned=True), Tier.VERIFIED),
            ("a.py", Signed("valid"), Tier.TRUSTED),
            ("lib/a.py", Signed("changed", pinned=True), Tier.EXPERIMENTAL),
            ("lib/a.py", Signed("revoked"), Tier.EXPERIMENTAL),
            ("lib/a.py", Signed("unknown_key"), Tier.TRUSTED),
        ],
    )
    def test_an_item_is_trusted_by_what_it_should_not_be(self, path: str, signed: Signed, tier: Tier) -> None:
        """Only a pinned key verifies; the less trusted of two places counts; a broken signature is worse than none."""
        assert tier_of(path, signed, PLACES) is tier

    def test_what_is_set_aside_is_trusted(self) -> None:
        """No key takes an item out of quarantine."""
        assert tier_of("a.py", Signed("valid", pinned=True), {}, quarantined=True) is Tier.QUARANTINED


class TestMatches:
    @pytest.mark.parametrize(
        ("path", "pattern", "fits"),
        [
            ("lib/a.py", "lib", True),
            ("lib/a.py", "./lib/", True),
            ("library/a.py", "lib", False),
            ("lib/x/a.py", "lib/*", True),
            ("lib", "lib/*", False),
            ("a.py", ".", True),
            ("A.py", "a.py", False),
        ],
    )
    def test_a_pattern_takes_what_it_should_not(self, path: str, pattern: str, fits: bool) -> None:
        """A folder takes all below it, and nothing that only begins like it."""
        assert matches(path, pattern) is fits
