"""Governance: the one gate through which everything passes that the host would do by itself."""

__all__: list[str] = []
