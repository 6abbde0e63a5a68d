"""When the night cycle works, how much at a time, and how sure it wants to be of what it keeps."""

from typing import Annotated

import msgspec

from aetherra.plugins import Settings

__all__ = ["NightSettings"]

Positive = Annotated[float, msgspec.Meta(gt=0)]
Share = Annotated[float, msgspec.Meta(gt=0, lt=1)]
Count = Annotated[int, msgspec.Meta(gt=0)]


class NightSettings(Settings):
    """Settings of the night cycle.

    Attributes:
        enabled: Whether there is one.
        idle_seconds: For how long nobody must have needed the host before a night begins, or goes on.
        process_cpu: Processor time that the process may use meanwhile, as a share of one core.
        host_cpu: The same of the machine, as a share of all its cores.
        process_io: Bytes a second that the process may read from and write to disks meanwhile.
        host_io: The same of the machine.
        wake: How many times as much ends a night's work: the figures of half a second are rougher.
        look_interval: Seconds between two looks while it waits.
        rest_seconds: Seconds from the end of one night to the beginning of the next at least.
        quiet: Plugins whose calls do not count, since they call one another when nobody needs the host, too.
        unit_seconds: How long one unit of work takes; between two it is seen whether anybody needs the host.
        most_files: How many files are measured, those that changed last first.
        most_file_bytes: Larger ones are not measured: the parser cannot be interrupted.
        held_back: Share of the evidence that nothing is learnt from, but on which all is tried before it is kept.
        margin: How much better it must be there, as a share of what it was.
        doubt: How likely that may be by chance at most, over all that is tried in one night for one purpose.
    """

    enabled: bool = True
    idle_seconds: Positive = 1800.0
    process_cpu: Positive = 0.05
    host_cpu: Share = 0.1
    process_io: Positive = 1_000_000.0
    host_io: Positive = 4_000_000.0
    wake: Annotated[float, msgspec.Meta(ge=1)] = 5.0
    look_interval: Positive = 5.0
    rest_seconds: Positive = 21_600.0
    quiet: tuple[str, ...] = ("governance", "hmr", "homeostasis", "self_improvement", "self_incorporation")
    unit_seconds: Annotated[float, msgspec.Meta(gt=0, le=0.2)] = 0.05
    most_files: Count = 20_000
    most_file_bytes: Count = 100_000
    held_back: Share = 0.3
    margin: Annotated[float, msgspec.Meta(ge=0)] = 0.02
    doubt: Annotated[float, msgspec.Meta(gt=0, lt=0.5)] = 0.05
