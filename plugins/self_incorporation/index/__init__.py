"""Which files there are, and what was told of each: found, read once, and kept."""

__all__: list[str] = []
