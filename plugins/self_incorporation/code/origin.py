"""The places that values come from, and which a constant, a variable of the environment or a call tells by itself."""

import ast
from functools import lru_cache
from typing import Final

from aetherra.plugins.self_incorporation.code.rules import (
    CREDENTIAL_PATH,
    DECODERS,
    ENCODERS,
    ENVIRONMENT_PATH,
    IDENTITY,
    MEMORY,
    PAYLOAD,
    SECRET_PATH,
    SECRET_VARIABLE,
    SECRETIVE,
    SHELL_DROPPER,
    SHELL_WORDS,
    STARTUP_PATH,
)

__all__ = ["MADE", "Origin", "of_constant", "of_variable"]


class Origin:
    """The places values come from: bits, as there are very many to put together."""

    NOWHERE: Final = 0
    DECODED: Final = 1
    DOWNLOADED: Final = 2
    ENVIRONMENT: Final = 4
    CREDENTIAL: Final = 8
    STARTUP: Final = 16
    DATA: Final = 32
    DROPPER: Final = 64
    SECRET: Final = 128
    ENCODED: Final = 256
    MEMORY: Final = 512
    IDENTITY: Final = 1024
    PAYLOAD: Final = 2048
    MESSAGE: Final = 4096
    PERSONAL: Final = 8192
    ALL: Final = 16383


MADE = {
    **dict.fromkeys(DECODERS, Origin.DECODED),
    **dict.fromkeys(ENCODERS, Origin.ENCODED),
    **dict.fromkeys(IDENTITY, Origin.IDENTITY),
    **dict.fromkeys(MEMORY, Origin.MEMORY),
    **dict.fromkeys(SECRETIVE, Origin.SECRET),
}
"""What functions make of their arguments, whatever these are."""


@lru_cache(maxsize=4096)
def _of_text(value: str) -> int:
    found = Origin.NOWHERE
    if STARTUP_PATH.search(value):
        found |= Origin.STARTUP
    if CREDENTIAL_PATH.search(value):
        found |= Origin.CREDENTIAL
    if SECRET_PATH.search(value):
        found |= Origin.SECRET
    if ENVIRONMENT_PATH.search(value):
        found |= Origin.ENVIRONMENT
    if any(word in value for word in SHELL_WORDS) and SHELL_DROPPER.search(value):
        found |= Origin.DROPPER
    if ("exec" in value or "eval" in value) and PAYLOAD.search(value):
        found |= Origin.PAYLOAD
    return found


def of_constant(value: object) -> int:
    """Return what constant text or bytes speak of."""
    if isinstance(value, bytes):
        return _of_text(value.decode("latin-1")) if b"import" in value else Origin.NOWHERE
    return _of_text(value) if isinstance(value, str) else Origin.NOWHERE


def of_variable(name: ast.expr) -> int:
    """Return what one variable of the environment is."""
    text = name.value if isinstance(name, ast.Constant) and isinstance(name.value, str) else ""
    return Origin.SECRET if SECRET_VARIABLE.fullmatch(text) else Origin.NOWHERE
