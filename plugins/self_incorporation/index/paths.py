r"""How a path is written down: always printable, and always to be read back byte for byte.

A file name is any bytes. In the written form a backslash is doubled, an ASCII control character or a byte that is not
UTF-8 is ``\\xNN``, and any other character that does not print (or could reorder what does) is ``\\uNNNN``.
"""

import re

__all__ = ["original", "written"]

_ESCAPE = re.compile(r"\\(?:\\|x([0-9a-f]{2})|u([0-9a-f]{4})|U([0-9a-f]{8}))")


def written(path: str) -> str:
    """Return a path of the operating system in its written form."""
    if path.isprintable() and "\\" not in path:
        return path
    return "".join(character if _plain(character) else _escape(character) for character in path)


def original(path: str) -> str:
    """Return the path of the operating system that `written` was given."""
    return _ESCAPE.sub(_unescape, path)


def _plain(character: str) -> bool:
    return character.isprintable() and character != "\\"


def _escape(character: str) -> str:
    code = ord(character)
    if character == "\\":
        return "\\\\"
    if 0xDC80 <= code <= 0xDCFF:  # how PEP 383 carries a byte that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _unescape(match: re.Match[str]) -> str:
    byte, short, long = match.groups()
    if byte is not None:
        code = int(byte, 16)
        return chr(code if code < 0x80 else code + 0xDC00)
    if short is not None or long is not None:
        return chr(int(short or long, 16))
    return "\\"
