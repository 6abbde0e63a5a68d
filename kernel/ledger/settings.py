"""How large a ledger may grow, and where its head is kept: what ``plugins.governance.audit`` says."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import msgspec

from aetherra.kernel.errors import ConfigError


class LedgerSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bounds of the ledger; a whole file leaves at a time, the oldest first, and the chain stays verifiable.

    Attributes:
        segment_bytes: How large one file grows before the next one begins.
        segment_age: Seconds after which the next one begins in any case.
        max_bytes: How much is kept; the newest file always is.
        max_age: Seconds for which entries are kept. Between two files no more than ``segment_age`` counts, so that a
            clock that jumps ahead drops nothing.
        head_folder: Where the signed head and its key are; ``None`` is a folder of the user's state, outside the
            project. Relative ones are taken from the data directory.
    """

    segment_bytes: Annotated[int, msgspec.Meta(ge=4096, le=2**30)] = 2**20
    segment_age: Annotated[float, msgspec.Meta(gt=0, le=315_360_000)] = 7 * 86_400.0
    max_bytes: Annotated[int, msgspec.Meta(ge=4096, le=2**40)] = 256 * 2**20
    max_age: Annotated[float, msgspec.Meta(gt=0, le=3_153_600_000)] = 2 * 365 * 86_400.0
    head_folder: Annotated[str, msgspec.Meta(min_length=1)] | None = None


def ledger_folder(data_dir: Path) -> Path:
    """Return where the ledger of a host is."""
    return data_dir / "governance" / "audit"


def head_folder(data_dir: Path, settings: LedgerSettings, environ: Mapping[str, str] = os.environ) -> Path:
    """Return where its head is: out of the reach of whatever may write to the project.

    Raises:
        ConfigError: There is no home, and nothing says where else.
    """
    if settings.head_folder is not None:
        return data_dir / Path(settings.head_folder).expanduser()
    state = Path(environ.get("XDG_STATE_HOME") or "")
    if not state.is_absolute():  # the specification has relative ones ignored
        try:
            state = Path.home() / ".local" / "state"
        except RuntimeError as exc:
            problem = "this user has no home: set XDG_STATE_HOME, or `$.plugins.governance.audit.head_folder`"
            raise ConfigError("the audit ledger's head", problem) from exc
    return state / "aetherra" / hashlib.sha256(os.fsencode(data_dir.resolve())).hexdigest()[:32]
