"""What hot swap tells, with the fields that are read here: a swap changes what is being measured."""

from aetherra.plugins import Message

__all__ = ["CodeRolledBack", "CodeSwapped"]


class CodeSwapped(Message, tag="hmr.swapped"):
    """A plugin's code was swapped."""

    plugin: str


class CodeRolledBack(Message, tag="hmr.rolled_back"):
    """A plugin's earlier code serves again."""

    plugin: str
