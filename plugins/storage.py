"""The second front door, for plugins that keep state in files: apart, so that only they pay for it."""

from aetherra.kernel.stopped import STOP_NAME, Stopped, stop_file
from aetherra.kernel.storage import (
    Database,
    DatabaseUnusableError,
    Schema,
    StateFile,
    Store,
    Word,
    WordFile,
    silent,
    size_of,
)

__all__ = [
    "STOP_NAME",
    "Database",
    "DatabaseUnusableError",
    "Schema",
    "StateFile",
    "Stopped",
    "Store",
    "Word",
    "WordFile",
    "silent",
    "size_of",
    "stop_file",
]
