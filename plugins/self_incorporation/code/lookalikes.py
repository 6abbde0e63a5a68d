"""Source that reads differently from how it runs: reordered text and letters that only look alike.

See Boucher and Anderson, "Trojan Source" (2021), and PEP 672.
"""

import builtins
import io
import re
import sys
import tokenize
import unicodedata
from collections.abc import Iterator

from aetherra.plugins.self_incorporation.code.findings import Finding, Severity

__all__ = ["lookalikes"]

_BIDI = re.compile("[\u202a-\u202e\u2066-\u2069]")
_OPENS = {"\u202a": "\u202c", "\u202b": "\u202c", "\u202d": "\u202c", "\u202e": "\u202c"} | dict.fromkeys(
    "\u2066\u2067\u2068", "\u2069"
)
_WORD = re.compile(r"\w+")
# Letters of other scripts that a reader takes for Latin ones.
_LATIN = str.maketrans(
    "асеорхуіјѕһԁԛԝгпАВЕЅІЈКМНОРСТХУοναρτυικΑΒΕΖΗΙΚΜΝΟΡΤΥΧ",
    "aceopxyijshdqwrnABESIJKMHOPCTXYovaptuikABEZHIKMNOPTYX",
)
_CONFUSABLE = frozenset(map(chr, _LATIN))
# A name that looks like one of these, letter by letter, is there to be taken for it.
_KNOWN = frozenset(dir(builtins)) | sys.stdlib_module_names


def lookalikes(path: str, text: str) -> Iterator[Finding]:
    """Yield a warning for every line that may fool its reader, and a threat for one that is made to.

    That is a name which differs only in its letters' script from a builtin, a module of the standard library, or
    another name of the same file; and a line with text in another order that does not end where the text does.
    """
    if text.isascii():
        return
    suspects: set[str] = set()
    for number, line in enumerate(text.split("\n"), 1):
        if line.isascii():
            continue
        if match := _BIDI.search(line):
            name = unicodedata.name(match[0])
            message = f"holds {name}: it shows in another order"
            severity: Severity = "warning"
            if _is_left_open(line):
                message, severity = f"{message}, and so does what follows", "threat"
            yield Finding(path, number, "bidi-control", severity, message)
        suspects.update(word for word in _WORD.findall(line) if not word.isascii() and _imitates(word))
    if suspects:
        yield from _identifiers(path, text, suspects)


def _identifiers(path: str, text: str, suspects: set[str]) -> Iterator[Finding]:
    """Yield the suspects that stand in the code, rather than in a comment or in text."""
    plain_names = {word for word in _WORD.findall(text) if word.isascii()} | _KNOWN
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.NAME and token.string in suspects:
                latin = token.string.translate(_LATIN)
                passes = latin.isascii() and latin != token.string and latin in plain_names
                severity: Severity = "threat" if passes else "warning"
                message = f"the name {token.string!a} looks like another one, in Latin letters"
                if passes:
                    message = f"the name {token.string!a} passes for {latin!r}, which is another one"
                yield Finding(path, token.start[0], "lookalike-name", severity, message)
    except (tokenize.TokenError, SyntaxError):
        return  # only the tokenizer in Python 3.11 refuses what the parser took; the names before it are reported


def _is_left_open(line: str) -> bool:
    """Say whether a control of a line takes in what follows it, up to the line's end."""
    awaited: list[str] = []
    for control in _BIDI.findall(line):
        if (end := _OPENS.get(control)) is not None:
            awaited.append(end)
        elif control in awaited:  # the end of an isolate ends all that began in it
            del awaited[len(awaited) - 1 - awaited[::-1].index(control) :]
    return bool(awaited)


def _imitates(word: str) -> bool:
    if unicodedata.normalize("NFKC", word).isascii():
        return True
    foreign = [letter for letter in word if not letter.isascii()]
    return all(letter in _CONFUSABLE for letter in foreign) and (len(word) > 1)
