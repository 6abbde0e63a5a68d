"""What is heard of hot swap: the same words that it says."""

from __future__ import annotations

import msgspec
import pytest

from aetherra.hmr import RolledBack, Swapped
from aetherra.plugins.self_improvement.heard import CodeRolledBack, CodeSwapped
from aetherra.registry import tag_of


@pytest.mark.parametrize(("said", "heard"), [(Swapped, CodeSwapped), (RolledBack, CodeRolledBack)])
def test_hot_swap_says_it_otherwise(said, heard):
    """Tag and fields are those of hot swap's own messages, so that what it says is heard."""
    theirs = {field.name: field.type for field in msgspec.structs.fields(said)}
    ours = {field.name: field.type for field in msgspec.structs.fields(heard)}

    assert tag_of(heard) == tag_of(said)
    assert ours.items() <= theirs.items()
