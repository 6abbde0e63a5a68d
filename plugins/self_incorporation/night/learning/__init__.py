"""What a night learns from what happened, and how it is seen whether that helps."""

__all__: list[str] = []
