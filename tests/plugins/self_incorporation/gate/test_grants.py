"""Which grants code needs, and which it has."""

import pytest

from aetherra.plugins.self_incorporation.code.rules import CAPABILITY_WEIGHTS
from aetherra.plugins.self_incorporation.gate.grants import GRANT_OF, covers, missing_grants, misspelt


class TestMissingGrants:
    def test_a_capability_needs_no_grant(self) -> None:
        """Each capability that the judge knows has a grant of its own."""
        assert GRANT_OF.keys() == CAPABILITY_WEIGHTS.keys()
        assert missing_grants(GRANT_OF, ()) == dict(sorted(GRANT_OF.items()))
        assert missing_grants(GRANT_OF, GRANT_OF.values()) == {}

    @pytest.mark.parametrize(
        ("grant", "needed", "covered"),
        [
            ("network:outbound", "network:outbound", True),
            ("network:*", "network:outbound", True),
            ("fs:*", "fs:read:*", True),
            ("fs:read:*", "fs:write:*", False),
            ("fs:read:data/*", "fs:read:*", False),
            ("code:*", "code:native", True),
            ("*", "network:outbound", False),
            ("*:*", "network:outbound", False),
            ("net*", "network:outbound", False),
            ("call:*", "network:outbound", False),
            ("network:out*", "network:outbound", True),
        ],
    )
    def test_a_grant_reaches_too_far_or_not_far_enough(self, grant: str, needed: str, covered: bool) -> None:
        """Only a star at the end of a grant for code widens it; grants for messages grant no code."""
        assert covers(grant, needed) is covered


class TestMisspelt:
    @pytest.mark.parametrize(
        ("grant", "meant"),
        [("network:outbund", "network:outbound"), ("fs:reed:*", "fs:read:*"), ("netwrok:outbound", "network:outbound")],
    )
    def test_a_misspelt_grant_goes_unnoticed(self, grant: str, meant: str) -> None:
        """It is said, and what was likely meant."""
        (text,) = misspelt([grant])

        assert repr(grant) in text
        assert repr(meant) in text

    def test_a_good_grant_is_called_misspelt(self) -> None:
        """Grants for code, for messages and privileges are let be."""
        good = [*GRANT_OF.values(), "fs:read:data/x", "fs:*", "call:selfinc.*", "kernel:swap", "*:*", "publish:a.b"]

        assert misspelt(good) == ()
