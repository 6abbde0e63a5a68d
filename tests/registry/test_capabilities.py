"""Who may do what: grants, patterns, profiles, and what clients in other processes may."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from aetherra.kernel import Config, ConfigError, Kernel
from aetherra.registry import HOST, Capabilities, CapabilityError, Identity, connect
from aetherra.registry.capabilities import check_grant

A = Identity("plugin", "a", 1)


class TestCovers:
    @pytest.mark.parametrize(
        ("grant", "tag", "covered"),
        [
            ("call:b.x", "b.x", True),
            ("call:b.*", "b.x", True),
            ("call:b.*", "b.x.y", True),
            ("call:b.*", "c.x", False),
            ("call:b.?", "b.x", True),
            ("*:b.*", "b.x", True),
            ("publish:b.*", "b.x", False),
            ("*:*", "anything.else", True),
            ("kernel:swap", "b.x", False),
        ],
    )
    def test_a_grant_covers_another_call(self, grant: str, tag: str, covered: bool) -> None:
        """A verb and a pattern, of the tags that there are."""
        capabilities = Capabilities("refuse")
        capabilities.grant(A, [grant])
        assert capabilities.covers(A, "call", tag) is covered

    @pytest.mark.parametrize(
        ("grant", "pattern", "covered"),
        [
            ("subscribe:b.*", "b.*", True),
            ("subscribe:b.*", "b.c.*", True),
            ("subscribe:*", "b.?", True),
            ("subscribe:b.?", "b.*", False),
            ("subscribe:b?", "b*", False),
            ("subscribe:b.c*", "b.*", False),
            ("subscribe:[ab].x", "?.x", False),
            ("subscribe:b.x", "b.*", False),
        ],
    )
    def test_a_pattern_reaches_further_than_its_grant(self, grant: str, pattern: str, covered: bool) -> None:
        """Who subscribes to a pattern hears all of it, so that all of it must be granted."""
        capabilities = Capabilities("refuse")
        capabilities.grant(A, [grant])
        assert capabilities.covers(A, "subscribe", pattern) is covered

    def test_its_own_name_needs_a_grant(self) -> None:
        """A plugin does as it likes under its own name, and the host everywhere; a longer name is another's."""
        capabilities = Capabilities("refuse")
        assert capabilities.covers(A, "publish", "a.told")
        assert capabilities.covers(HOST, "call", "b.x")
        assert not capabilities.covers(A, "publish", "ab.told")

    def test_all_generations_are_not_alike(self) -> None:
        """A grant is the plugin's."""
        capabilities = Capabilities("refuse")
        capabilities.grant(A, ["call:b.*"])
        assert capabilities.covers(Identity("plugin", "a", 7), "call", "b.x")
        assert not capabilities.covers(Identity("remote", "a"), "call", "b.x")


class TestProfiles:
    def test_logging_tells_the_same_act_twice(self, caplog: pytest.LogCaptureFixture) -> None:
        """An act that no grant covers is told once, with what to write where."""
        caplog.set_level(logging.INFO)
        capabilities = Capabilities("log")
        for tag in ("b.x", "b.x", "b.y"):
            capabilities.check(A, "call", tag)
        assert [record.message.count('add "call:b.') for record in caplog.records] == [1, 1]
        assert (capabilities.ungranted, capabilities.refused) == (2, 0)

    @pytest.mark.parametrize(
        ("profile", "undeclared"), [("dev", "allow"), ("test", "allow"), ("standard", "log"), ("prod", "refuse")]
    )
    def test_a_profile_decides_otherwise(self, profile: str, undeclared: str) -> None:
        """What becomes of what no grant covers."""
        assert Config.parse({"profile": profile}).capabilities().undeclared == undeclared

    @pytest.mark.parametrize("grant", ["call:", "publish: b", "call:b x"])
    def test_a_misspelt_grant_is_taken(self, grant: str) -> None:
        """The configuration's error says where it stands and what was expected."""
        with pytest.raises(ValueError, match="is no grant"):
            check_grant(grant)
        with pytest.raises(ConfigError, match=r"`\$\.plugins\.a\.grants\[1\]`.*is no grant; expected a verb"):
            Config.parse({"plugins": {"a": {"grants": ["*:*", grant]}}})
        with pytest.raises(ConfigError, match=r"`\$\.kernel\.clients\.cli\[0\]`"):
            Config.parse({"kernel": {"clients": {"cli": [grant]}}})


class TestClients:
    async def test_a_client_may_what_another_may(self, tmp_path: Path) -> None:
        """By the name that it gives, or as all others; refused, it hears which grant is missing where."""
        clients = {"*": ["call:kernel.status"], "trusted": ["*:*"]}
        document = {"profile": "prod", "kernel": {"discover": False, "clients": clients}}
        async with Kernel(Config.parse(document, root=tmp_path)):
            path = tmp_path / ".aetherra" / "control.sock"
            async with connect(path, name="stranger") as stranger:
                assert (await stranger.call_tag("kernel.status"))["profile"] == "prod"
                with pytest.raises(CapabilityError, match=r"add 'call:kernel\.health' to kernel\.clients\.stranger"):
                    await stranger.call_tag("kernel.health")
                with pytest.raises(CapabilityError, match="may not subscribe"):
                    async with stranger.listen("service.*"):
                        pass
            async with connect(path, name="trusted") as trusted, trusted.listen("service.*"):
                assert (await trusted.call_tag("kernel.health"))["overall"]["score"] == 1.0
