"""What can be told of a file by its bytes alone: what it is, what it can do, and what speaks against it."""

__all__: list[str] = []
