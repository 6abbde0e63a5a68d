"""How approved items come in, step by step and all or nothing, and how they are taken out again."""

__all__: list[str] = []
