"""What changes: hot swap of plugins, itself a plugin that the kernel grants the privilege for."""

from aetherra.hmr.controller import HmrController, HmrSettings
from aetherra.hmr.errors import OvertakenError, SwapCode, SwapError
from aetherra.hmr.messages import (
    GetHmrStatus,
    HmrStatus,
    Prepared,
    Reload,
    Rollback,
    RolledBack,
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
    "OvertakenError",
    "Prepared",
    "Reload",
    "RolledBack",
    "Rollback",
    "SwapCode",
    "SwapError",
    "SwapFailed",
    "SwapRecord",
    "Swapped",
    "TakeIn",
    "TakenIn",
]
