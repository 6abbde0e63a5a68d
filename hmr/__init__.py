"""What changes: hot swap of plugins, itself a plugin that the kernel grants the privilege for."""

from aetherra.hmr.controller import HmrController, HmrSettings
from aetherra.hmr.errors import SwapCode, SwapError
from aetherra.hmr.messages import (
    GetHmrStatus,
    HmrStatus,
    Reload,
    Rollback,
    SwapFailed,
    Swapped,
    SwapRecord,
    TakeIn,
    TakenIn,
)

__all__ = [
    "GetHmrStatus",
    "HmrController",
    "HmrSettings",
    "HmrStatus",
    "Reload",
    "Rollback",
    "SwapCode",
    "SwapError",
    "SwapFailed",
    "SwapRecord",
    "Swapped",
    "TakeIn",
    "TakenIn",
]
