"""State in files, of SQLite or of one value, that survive what happens to them: damage, a full disk, a kill."""

from aetherra.kernel.storage.clean_stop import mark_clean_stop, take_clean_stop
from aetherra.kernel.storage.database import Database, DatabaseUnusableError, silent, size_of
from aetherra.kernel.storage.sqlite_file import Opened, Schema, connected, open_sqlite
from aetherra.kernel.storage.state_file import StateFile
from aetherra.kernel.storage.store import Store
from aetherra.kernel.storage.word_file import Word, WordFile

__all__ = [
    "Database",
    "DatabaseUnusableError",
    "Opened",
    "Schema",
    "StateFile",
    "Store",
    "Word",
    "WordFile",
    "connected",
    "mark_clean_stop",
    "open_sqlite",
    "silent",
    "size_of",
    "take_clean_stop",
]
