"""What a plugin's code promises to those who talk with it, and what of that new code would break."""

from __future__ import annotations

from aetherra.kernel.contracts import plugin_contract, plugin_shape, told_tags
from aetherra.kernel.entry import Code
from aetherra.kernel.spec import PluginSpec
from aetherra.registry.contract import Change, breaking, compare


def is_same_shape(old: Code, new: Code) -> bool:
    """Whether two promise the same, as far as can be told in a moment; if not, ``broken_promises`` tells."""
    shape = plugin_shape(old)
    return shape is not None and shape == plugin_shape(new)


def broken_promises(old: Code, new: Code) -> list[Change]:
    """Return the changes that would break somebody.

    An event that is defined no more counts only if a handler returned it: its module may not be imported yet.
    """
    told = told_tags(old.spec)
    answered = set(old.spec.tags)
    changes = breaking(compare(plugin_contract(old), plugin_contract(new)))
    return [change for change in changes if change.kind != "tag removed" or change.tag in told | answered]


def is_new_major(old: PluginSpec, new: PluginSpec) -> bool:
    """Whether the first number of the plugin's version grew, which says that it promises something else."""
    before, after = (_major(spec.plugin_type.version) for spec in (old, new))
    return before is not None and after is not None and after > before


def _major(version: str) -> int | None:
    first = version.partition(".")[0]
    return int(first) if first.isascii() and first.isdigit() else None
