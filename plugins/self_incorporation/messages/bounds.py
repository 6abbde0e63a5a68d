"""How much a request may say, or ask for."""

from __future__ import annotations

from typing import Annotated

import msgspec

__all__ = ["Limit", "Reason"]

Limit = Annotated[int, msgspec.Meta(ge=1, le=10_000)]
Reason = Annotated[str, msgspec.Meta(min_length=1, max_length=1_000)]
