"""The second front door, for plugins that keep state in SQLite: apart, so that only they pay for it."""

from aetherra.kernel.storage import Database, DatabaseUnusableError, Schema, Store, silent, size_of

__all__ = ["Database", "DatabaseUnusableError", "Schema", "Store", "silent", "size_of"]
