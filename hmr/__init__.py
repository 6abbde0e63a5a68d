"""What changes: hot swap of plugins, itself a plugin that the kernel grants the privilege for."""

from aetherra.hmr.canary import CanaryError
from aetherra.hmr.controller import HmrController, HmrSettings
from aetherra.hmr.errors import OvertakenError, SwapCode, SwapError
from aetherra.hmr.messages import (
    Abort,
    Canary,
    CanaryStatus,
    GenerationFigures,
    GetCanary,
    GetHmrStatus,
    HmrStatus,
    Prepared,
    Promote,
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
    "Abort",
    "Canary",
    "CanaryError",
    "CanaryStatus",
    "GenerationFigures",
    "GetCanary",
    "GetHmrStatus",
    "HmrController",
    "HmrSettings",
    "HmrStatus",
    "OvertakenError",
    "Prepared",
    "Promote",
    "Reload",
    "Rollback",
    "RolledBack",
    "SwapCode",
    "SwapError",
    "SwapFailed",
    "SwapRecord",
    "Swapped",
    "TakeIn",
    "TakenIn",
]
