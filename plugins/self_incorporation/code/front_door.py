"""What makes a plugin: the names of it that code refers to, as `names` tells them."""

__all__ = ["is_ours", "is_plugin"]

_DOORS = ("aetherra.plugins.", "aetherra.kernel.")


def is_ours(name: str) -> bool:
    """Say whether a dotted name is one of the authors' front door, or of the kernel behind it."""
    return name.startswith(_DOORS)


def is_plugin(base: str) -> bool:
    """Say whether the class of that name is what plugins are made of."""
    return is_ours(base) and base.endswith(".Plugin")
