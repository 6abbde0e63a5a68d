"""What functions and methods make of constant values: each by hand and within bounds, so that no source is run."""

import base64
import binascii
import bz2
import codecs
import lzma
import zlib
from collections.abc import Callable, Mapping
from typing import Any, TypeGuard

__all__ = [
    "FAILURES",
    "LONGEST",
    "METHODS",
    "STEPS",
    "Unknown",
    "applied",
    "by_method",
    "is_list",
    "number",
    "sequence",
    "short",
]

LONGEST = 4000
"""Characters of text, bytes, or elements that are worked out."""
STEPS = 4000
"""Operations for one value."""
_MOST = 1_000_000
_MEMORY = 32 << 20
METHODS = frozenset(
    (
        *("capitalize", "casefold", "decode", "encode", "format", "hex", "join", "lower", "lstrip", "removeprefix"),
        *("removesuffix", "replace", "rsplit", "rstrip", "split", "strip", "swapcase", "title", "upper"),
    )
)


class Unknown(Exception):  # noqa: N818 - a signal, not an error
    """Only running it would tell."""


FAILURES = (
    *(Unknown, ValueError, TypeError, LookupError, ArithmeticError, AttributeError, EOFError, OSError),
    *(zlib.error, lzma.LZMAError),
)
"""What working a value out may raise."""


def applied(name: str, arguments: list[Any]) -> Any:
    """Return what a function of a name makes of some values.

    Raises:
        Unknown: It is none of those that are known here; what they raise themselves is among `FAILURES`.
    """
    match name, arguments:
        case known, [value] if known in _OF_ONE:
            return short(_OF_ONE[known](value))
        case ("str", [bytes(value), str(encoding)]) | ("decode", [bytes() | str() as value, str(encoding)]):
            return _decoded(value, encoding)
        case "range", _:
            return _counted(*map(number, arguments))
        case "zip", _:
            return [list(each) for each in zip(*map(sequence, arguments), strict=False)]
        case "int", [str(digits), int(base)]:
            return int(_brief(digits), base)
        case _:
            raise Unknown


def by_method(value: Any, name: str, arguments: list[Any]) -> Any:
    """Likewise, for a method of text or bytes, one of `METHODS`."""
    if not isinstance(value, str | bytes):
        raise Unknown
    if name == "decode":
        return _decoded(value, *(arguments[:1] or ["utf-8"]))
    if name == "format":
        plain = value if isinstance(value, str) else ""
        if plain.replace("{}", "").count("{"):
            raise Unknown
        return short(plain.format(*arguments))
    if len(value) * sum(len(each) for each in arguments if hasattr(each, "__len__")) > _MOST:
        raise Unknown
    return short(getattr(value, name)(*arguments))


def _decoded(value: Any, encoding: str) -> Any:
    name = codecs.lookup(encoding).name
    if name not in ("utf-8", "rot-13", "ascii", "iso8859-1", "latin-1", "rot13", "hex", "base64", "utf-16"):
        raise Unknown
    return short(codecs.decode(value, name))


def _unpacked(data: Any) -> bytes:
    """Decompress, up to what is looked at and no further."""
    if not isinstance(data, bytes):
        raise Unknown
    if data.startswith(b"BZh"):
        value = bz2.BZ2Decompressor().decompress(data, LONGEST + 1)
    elif data.startswith(b"\xfd7zXZ"):
        value = lzma.LZMADecompressor(memlimit=_MEMORY).decompress(data, LONGEST + 1)
    else:
        value = zlib.decompressobj(wbits=47).decompress(data, LONGEST + 1)  # zlib or gzip, by the first bytes
    return bytes(short(value))


def _counted(*edges: int) -> list[int]:
    counted = range(*edges)
    if len(counted) > STEPS:
        raise Unknown
    return list(counted)


def _brief(digits: Any) -> str:
    if not isinstance(digits, str) or len(digits) > 12:
        raise Unknown
    return digits


def number(value: Any) -> int:
    """Return a number that is none too large, or raise `Unknown`."""
    if not isinstance(value, int) or abs(value) > 1 << 32:
        raise Unknown
    return value


def sequence(value: Any) -> Any:
    """Return what can be gone through, or raise `Unknown`."""
    if isinstance(value, str | bytes):
        return value
    return _listed(value)


def _listed(value: Any) -> list[Any]:
    if not is_list(value):
        raise Unknown
    return value


def is_list(value: Any) -> TypeGuard[list[Any]]:
    """Say whether a value is a list."""
    return isinstance(value, list)


def short(value: Any) -> Any:
    """Return a value that is not too long to go on with, or raise `Unknown`."""
    if (isinstance(value, str | bytes) or is_list(value)) and len(value) > LONGEST:
        raise Unknown
    return value


_OF_ONE: Mapping[str, Callable[[Any], Any]] = {
    "chr": chr,
    "ord": ord,
    "str": str,
    "ascii": str,
    "len": lambda value: len(sequence(value)),
    "list": lambda value: list(sequence(value)),
    "tuple": lambda value: list(sequence(value)),
    "reversed": lambda value: list(reversed(sequence(value))),
    "enumerate": lambda value: [list(each) for each in enumerate(sequence(value))],
    "bytes": lambda value: bytes(_listed(value)),
    "bytearray": lambda value: bytes(_listed(value)),
    "int": lambda value: int(_brief(value)),
    "decompress": _unpacked,
    "b64decode": base64.b64decode,
    "urlsafe_b64decode": base64.urlsafe_b64decode,
    "standard_b64decode": base64.standard_b64decode,
    "b32decode": base64.b32decode,
    "b16decode": base64.b16decode,
    "b85decode": base64.b85decode,
    "a85decode": base64.a85decode,
    "unhexlify": binascii.unhexlify,
    "a2b_hex": binascii.unhexlify,
    "a2b_base64": binascii.a2b_base64,
    "fromhex": bytes.fromhex,
}
