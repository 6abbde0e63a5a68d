"""What the configuration says of self-incorporation."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from aetherra.plugins import Settings
from aetherra.plugins.self_incorporation.gate.policy import PolicySettings
from aetherra.plugins.self_incorporation.integration.probation import Terms
from aetherra.plugins.self_incorporation.night.settings import NightSettings

__all__ = ["IntegrateMode", "SelfIncorporationSettings"]

IntegrateMode = Literal["off", "ask", "act"]
"""What is done with plans for the incoming folders: nothing; they wait for a person; they are carried out."""
Folder = Annotated[str, msgspec.Meta(min_length=1)]


class SelfIncorporationSettings(Settings):
    """Settings of self-incorporation; durations are seconds.

    Attributes:
        roots: Trees to scan, relative to the project.
        incoming: Folders below the roots, relative to the project: what is put there is meant to be brought in.
        integrate: What is done with what lies there: ``off``, ``ask``, ``act``; in profile ``prod`` a person is asked
            in any case. All else is brought in when somebody asks for it by name.
        scan_at_start: Whether the roots are scanned as soon as the plugin serves.
        scan_interval: Between two scans of the roots; unchanged files are not read again.
        watch: Whether changes are looked at as they are saved.
        max_source_bytes: Larger Python files are refused.
        max_file_bytes: Larger files of other kinds are refused.
        policy: What may come in.
        keyring: The file of known keys, relative to the project; ``None`` for ``governance/keyring.json`` in the data
            directory, which ``aetherra keys`` writes.
        destination: Where what is brought in is copied to, relative to the project; ``None`` for a folder of the
            plugin's own in the data directory.
        trial: What new code of a plugin must show beside the old, or in its first time.
        aftercare: For how long after an integration a plugin that fails is taken out again; 0 for not at all.
        night: What is done while nobody needs the host.
    """

    roots: Annotated[tuple[Folder, ...], msgspec.Meta(min_length=1)] = (".",)
    incoming: tuple[Folder, ...] = ()
    integrate: IntegrateMode = "ask"
    scan_at_start: bool = True
    scan_interval: Annotated[float, msgspec.Meta(gt=0)] = 900.0
    watch: bool = True
    max_source_bytes: Annotated[int, msgspec.Meta(gt=0)] = 5_000_000
    max_file_bytes: Annotated[int, msgspec.Meta(gt=0)] = 64_000_000
    policy: PolicySettings = PolicySettings()
    keyring: Folder | None = None
    destination: Folder | None = None
    trial: Terms = Terms()
    aftercare: Annotated[float, msgspec.Meta(ge=0)] = 3600.0
    night: NightSettings = NightSettings()
