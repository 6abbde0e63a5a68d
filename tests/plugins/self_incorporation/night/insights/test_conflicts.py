"""What more than one item claims."""

from __future__ import annotations

import pytest

from aetherra.plugins.self_incorporation.night.insights.conflicts import conflicts_of


class TestConflicts:
    def test_a_collision_goes_unseen(self, run, make_item):
        """Items of one kind and name, or with one service or tag, are all marked; others are not."""
        items = [
            make_item("a.py", name="greeter", handles=("greeter.greet",)),
            make_item("b.py", name="greeter", service="greetings"),
            make_item("c.py", name="other", service="greetings", handles=("greeter.greet",)),
            make_item("d.py", name="greeter", kind="docs"),
        ]

        found = run(conflicts_of(items))

        assert found.marks == {
            "a.py": {"conflict:plugin name": 1.0, "conflict:tag": 1.0},
            "b.py": {"conflict:plugin name": 1.0, "conflict:service": 1.0},
            "c.py": {"conflict:service": 1.0, "conflict:tag": 1.0},
        }
        assert [(found.path, found.text) for found in found.insights] == [
            ("a.py", "the plugin name 'greeter' is claimed by b.py, too"),
            ("b.py", "the service 'greetings' is claimed by c.py, too"),
            ("a.py", "the tag 'greeter.greet' is claimed by c.py, too"),
        ]

    @pytest.mark.parametrize(("kind", "collides"), [("utility", True), ("workflow", False), ("unknown", False)])
    def test_what_has_no_name_on_a_host_collides(self, run, make_item, kind, collides):
        """A log beside a file of process ids, or two settings files, take nothing from each other."""
        items = [make_item(path, name="host", kind=kind) for path in ("host.log", "host.pid")]
        assert bool(run(conflicts_of(items)).insights) is collides

    def test_an_item_collides_with_itself(self, run, make_item):
        """What one item claims twice is no conflict."""
        assert run(conflicts_of([make_item("a.py", handles=("t", "t"))])).marks == {}
