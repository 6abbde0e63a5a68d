"""What is done while nobody needs the host: looking at the whole of the code, and learning what demonstrably helps."""

__all__: list[str] = []
