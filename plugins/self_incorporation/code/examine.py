"""The way of one file's bytes: decoded and parsed if they are Python, then classified and judged."""

import re

from msgspec import Struct

from aetherra.plugins.self_incorporation.code.classifier import Classification, HeuristicClassifier
from aetherra.plugins.self_incorporation.code.facts import Facts, facts_of
from aetherra.plugins.self_incorporation.code.findings import Refusal
from aetherra.plugins.self_incorporation.code.judge import Judgement, judge
from aetherra.plugins.self_incorporation.code.names import Names
from aetherra.plugins.self_incorporation.code.source import decode, parse
from aetherra.plugins.self_incorporation.code.syntax import Syntax

__all__ = ["HEAD_BYTES", "Examined", "examine", "may_be_source"]

HEAD_BYTES = 4096
"""How much of a file that is no source is looked at."""

_SUFFIXES = (".py", ".pyw", ".pyi", ".pth")
_SHEBANG = re.compile(rb"#!.*\bpython[0-9.]*\b")
_RUN_LINE = re.compile(r"import[ \t]")
_HEURISTICS = HeuristicClassifier()
_NOTHING = Judgement({}, (), 0.0, ())


class Examined(Struct, frozen=True):
    """What one file turned out to be."""

    classification: Classification
    judgement: Judgement
    facts: Facts | None


def may_be_source(path: str) -> bool:
    """Say whether a file of this name may be Python, so that all of it is wanted.

    A name without a suffix may be a script, which only its first line tells.
    """
    return path.lower().endswith(_SUFFIXES) or "." not in path.rpartition("/")[2]


def examine(path: str, data: bytes, classifier: HeuristicClassifier = _HEURISTICS) -> Examined | Refusal:
    """Examine a file by its relative path and its bytes.

    Only the beginning of the bytes matters unless `may_be_source` says otherwise of the path.
    """
    if not _is_source(path, data):
        return Examined(classifier.classify(path, head=data[:HEAD_BYTES], facts=None), _NOTHING, None)
    text = decode(path, data)
    if isinstance(text, Refusal):
        return text
    if path.lower().endswith(".pth"):
        text = "".join(line if _RUN_LINE.match(line) else "\n" for line in text.splitlines(keepends=True))
        if not text.strip():  # a list of folders, none of it run
            return Examined(classifier.classify(path, head=data[:HEAD_BYTES], facts=None), _NOTHING, None)
    tree = parse(path, text)
    if isinstance(tree, Refusal):
        return tree
    syntax = Syntax(tree)
    names = Names(syntax)
    facts = facts_of(text, syntax, names)
    classification = classifier.classify(path, head=data[:HEAD_BYTES], facts=facts)
    return Examined(classification, judge(path, text, syntax, names), facts)


def _is_source(path: str, data: bytes) -> bool:
    if path.lower().endswith(_SUFFIXES):
        return True
    return may_be_source(path) and _SHEBANG.match(data) is not None
