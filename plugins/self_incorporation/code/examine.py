"""The way of one file's bytes: decoded and parsed if they are Python, then classified and judged."""

import ast

from msgspec import Struct

from aetherra.plugins.self_incorporation.code.classifier import Classification, HeuristicClassifier
from aetherra.plugins.self_incorporation.code.facts import Facts, facts_of
from aetherra.plugins.self_incorporation.code.findings import Refusal
from aetherra.plugins.self_incorporation.code.judge import Judgement, judge
from aetherra.plugins.self_incorporation.code.names import Names
from aetherra.plugins.self_incorporation.code.project import is_project, project_of
from aetherra.plugins.self_incorporation.code.source import decode, is_python, may_be_source, parse, run_lines
from aetherra.plugins.self_incorporation.code.syntax import Syntax

__all__ = ["HEAD_BYTES", "Examined", "examine"]

HEAD_BYTES = 4096
"""How much of a file that is no source is looked at."""

_HEURISTICS = HeuristicClassifier()
_NOTHING = Judgement({}, (), 0.0, ())


class Examined(Struct, frozen=True):
    """What one file turned out to be."""

    classification: Classification
    judgement: Judgement
    facts: Facts | None


def examine(path: str, data: bytes, classifier: HeuristicClassifier = _HEURISTICS) -> Examined | Refusal:
    """Examine a file by its relative path and its bytes.

    Only the beginning of the bytes matters unless `may_be_source` says otherwise of the path.
    """
    if not (may_be_source(path) and is_python(path, data)):
        facts = Facts((), (), (), 0, script=project_of(data)) if is_project(path) else None
        return Examined(classifier.classify(path, head=data[:HEAD_BYTES], facts=None), _NOTHING, facts)
    text = decode(path, data)
    if isinstance(text, Refusal):
        return text
    listed, text = text, run_lines(path, text)
    if listed.strip() and not text.strip():  # a list of folders, none of it run
        return Examined(classifier.classify(path, head=data[:HEAD_BYTES], facts=None), _NOTHING, None)
    tree = parse(path, text)
    if isinstance(tree, Refusal):
        return tree
    try:
        return _examined(path, data, text, tree, classifier)
    except RecursionError:
        return Refusal(path, "too_complex", "it is nested deeper than it can be looked into")


def _examined(path: str, data: bytes, text: str, tree: ast.Module, classifier: HeuristicClassifier) -> Examined:
    syntax = Syntax(tree)
    names = Names(syntax)
    facts = facts_of(text, syntax, names)
    classification = classifier.classify(path, head=data[:HEAD_BYTES], facts=facts)
    return Examined(classification, judge(path, text, syntax, names), facts)
