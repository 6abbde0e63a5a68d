"""Whether an item may come in: what it is, how far it is trusted, what policy says of it, and what is done to it."""

__all__: list[str] = []
