"""The front door for plugins that keep state in files: apart, so that only they pay for it."""

from aetherra.kernel.storage import Database, DatabaseUnusableError, Schema, StateFile, Store, silent, size_of

__all__ = ["Database", "DatabaseUnusableError", "Schema", "StateFile", "Store", "silent", "size_of"]
