"""What a night sees in the code: quality, conflicts, risks, what nobody uses."""

__all__: list[str] = []
