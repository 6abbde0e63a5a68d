"""What a request may say, and how much it may ask for."""

from __future__ import annotations

from typing import Annotated

import msgspec

__all__ = ["Digest", "Limit", "Reason"]

Digest = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$", max_length=64)]
Limit = Annotated[int, msgspec.Meta(ge=1, le=10_000)]
Reason = Annotated[str, msgspec.Meta(min_length=1, max_length=1_000)]
