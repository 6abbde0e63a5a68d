"""Who acts."""

from __future__ import annotations

from aetherra.registry import HOST, Identity


class TestIdentity:
    def test_it_names_itself_as_people_would(self) -> None:
        """The text stands in every error, so it says what kind of party it is."""
        assert str(HOST) == "the host"
        assert str(Identity("plugin", "greeter", 2)) == "plugin 'greeter' (generation 2)"
        assert str(Identity("remote", "cli")) == "remote client 'cli'"

    def test_generations_of_one_plugin_are_different_parties(self) -> None:
        """A stale generation is never taken for the one that serves."""
        assert Identity("plugin", "greeter", 1) != Identity("plugin", "greeter", 2)
        assert Identity("plugin", "greeter", 1) < Identity("plugin", "greeter", 2)
