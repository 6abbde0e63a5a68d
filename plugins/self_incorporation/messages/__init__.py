"""What self-incorporation says: the only part of it that other plugins import.

One file a noun, each loaded with the first of its names that is used: who asks for a status loads no gate and no night.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aetherra.plugins.self_incorporation.messages.files import (
        Classify,
        Corrected,
        CorrectKind,
        GetFile,
        IndexedFile,
        Kinds,
    )
    from aetherra.plugins.self_incorporation.messages.integrations import (
        Incorporated,
        Integrate,
        Integration,
        Integrations,
        ListIntegrations,
        LookAround,
        LookedAround,
        MakePlan,
        Planned,
        Rollback,
        TakenOut,
    )
    from aetherra.plugins.self_incorporation.messages.items import (
        DecideItem,
        ItemDecided,
        Items,
        Judged,
        JudgedItem,
        ListItems,
        SecurityEval,
    )
    from aetherra.plugins.self_incorporation.messages.nights import (
        GetNight,
        Night,
        NightDone,
        RunNight,
        Unlearn,
        Unlearned,
    )
    from aetherra.plugins.self_incorporation.messages.quarantine import (
        DeleteItem,
        ListQuarantined,
        QuarantineItem,
        QuarantineList,
        ReleaseItem,
        ReviewItem,
        SetAside,
    )
    from aetherra.plugins.self_incorporation.messages.scanning import Scan, Scanned, ScanProgress
    from aetherra.plugins.self_incorporation.messages.status import (
        CheckHealth,
        GetSelfIncorporationStatus,
        SelfIncorporationHealth,
        SelfIncorporationStatus,
    )

__all__ = [
    "CheckHealth",
    "Classify",
    "CorrectKind",
    "Corrected",
    "DecideItem",
    "DeleteItem",
    "GetFile",
    "GetNight",
    "GetSelfIncorporationStatus",
    "Incorporated",
    "IndexedFile",
    "Integrate",
    "Integration",
    "Integrations",
    "ItemDecided",
    "Items",
    "Judged",
    "JudgedItem",
    "Kinds",
    "ListIntegrations",
    "ListItems",
    "ListQuarantined",
    "LookAround",
    "LookedAround",
    "MakePlan",
    "Night",
    "NightDone",
    "Planned",
    "QuarantineItem",
    "QuarantineList",
    "ReleaseItem",
    "ReviewItem",
    "Rollback",
    "RunNight",
    "Scan",
    "ScanProgress",
    "Scanned",
    "SecurityEval",
    "SelfIncorporationHealth",
    "SelfIncorporationStatus",
    "SetAside",
    "TakenOut",
    "Unlearn",
    "Unlearned",
]

_FILES = ("status", "scanning", "files", "items", "quarantine", "integrations", "nights")
"""In which names are looked for: those first that load the least."""

if not TYPE_CHECKING:  # where a name that is not there is to be an error

    def __getattr__(name: str) -> Any:
        if name in __all__:
            for file in _FILES:
                module = import_module(f".{file}", __name__)
                if name in module.__all__:
                    found = globals()[name] = getattr(module, name)
                    return found
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
