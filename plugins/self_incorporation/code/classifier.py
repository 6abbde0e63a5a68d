"""What kind of thing a file is, how sure that is, and what it was judged by.

Each feature of a file adds its weight, in log-odds, to one kind. UNKNOWN starts with 1, every other kind with 0. The
confidence is the winner's share under softmax, ``exp(score) / sum(exp(scores))``: features that agree raise it,
features that point elsewhere lower it, and a file of no features is UNKNOWN with 0.28. A label counts once for each
file, and does not change, as weights are learnt for it.
"""

import hashlib
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import TypeAlias

from msgspec import Struct

from aetherra.plugins.self_incorporation.code.facts import Definition, Facts
from aetherra.plugins.self_incorporation.code.front_door import is_ours, is_plugin

__all__ = [
    "KINDS_VERSION",
    "Classification",
    "Feature",
    "FileKind",
    "HeuristicClassifier",
    "OtherFeatures",
    "scores_of",
]

KINDS_VERSION = 3
"""Counts up when other features are told, so that files are read again."""


class FileKind(StrEnum):
    """The kinds a file may be of."""

    PLUGIN = "plugin"
    AGENT = "agent"
    AETHER = "aether"
    WORKFLOW = "workflow"
    UTILITY = "utility"
    DATASET = "dataset"
    DOCS = "docs"
    UNKNOWN = "unknown"


class Feature(Struct, frozen=True, array_like=True):
    """Something about a file that speaks for a kind: a label that does not change, and its weight in log-odds."""

    label: str
    kind: FileKind
    weight: float


class Classification(Struct, frozen=True):
    """What a file was taken for.

    Attributes:
        kind: The likeliest.
        confidence: How sure that is, 0 to 1.
        features: Labels of those that led there, heaviest first.
        evidence: All features, those that point elsewhere too, with their weights before any was learned.
    """

    kind: FileKind
    confidence: float
    features: tuple[str, ...]
    evidence: tuple[Feature, ...] = ()


_SUFFIXES: Mapping[str, tuple[FileKind, float]] = {
    **dict.fromkeys([".aether"], (FileKind.AETHER, 6.0)),
    **dict.fromkeys([".md", ".rst", ".adoc", ".mdx", ".pdf", ".po", ".pot"], (FileKind.DOCS, 4.0)),
    **dict.fromkeys([".txt", ".html", ".htm", ".1", ".3", ".5", ".8"], (FileKind.DOCS, 2.0)),
    **dict.fromkeys([".csv", ".tsv", ".jsonl", ".ndjson", ".parquet", ".feather", ".arrow"], (FileKind.DATASET, 5.0)),
    **dict.fromkeys([".npy", ".npz", ".h5", ".hdf5", ".pkl", ".sqlite", ".sqlite3", ".db"], (FileKind.DATASET, 4.5)),
    **dict.fromkeys([".json", ".xml", ".geojson"], (FileKind.DATASET, 3.0)),
    **dict.fromkeys([".dat", ".bin", ".zip", ".gz", ".tar", ".xz", ".bz2"], (FileKind.DATASET, 1.5)),
    **dict.fromkeys([".mk", ".nf", ".smk", ".cwl", ".wdl"], (FileKind.WORKFLOW, 4.0)),
    **dict.fromkeys([".sh", ".bash", ".ps1", ".bat"], (FileKind.WORKFLOW, 1.5)),
    **dict.fromkeys([".c", ".h", ".cpp", ".rs", ".go", ".js", ".ts", ".pyx", ".pxd", ".java"], (FileKind.UTILITY, 2.5)),
    **dict.fromkeys([".so", ".pyd", ".dll", ".dylib", ".exe", ".pyc", ".o", ".a"], (FileKind.UNKNOWN, 3.0)),
}
_NAMES: Mapping[str, tuple[FileKind, float]] = {
    **dict.fromkeys(
        ["readme", "license", "licence", "copying", "notice", "authors", "changelog"], (FileKind.DOCS, 5.0)
    ),
    **dict.fromkeys(["changes", "contributing", "news", "history", "metadata", "pkg-info"], (FileKind.DOCS, 3.5)),
    **dict.fromkeys(["makefile", "gnumakefile", "justfile", "snakefile", "jenkinsfile"], (FileKind.WORKFLOW, 5.0)),
    **dict.fromkeys(["tox", "noxfile", "dockerfile", "tasks", "dodo", "fabfile", "scons"], (FileKind.WORKFLOW, 3.5)),
    **dict.fromkeys([".gitlab-ci", ".pre-commit-config", "docker-compose"], (FileKind.WORKFLOW, 4.0)),
    **dict.fromkeys(["setup", "pyproject", "conftest"], (FileKind.WORKFLOW, 2.0)),
}
_FOLDERS: Mapping[str, tuple[FileKind, float]] = {
    ".github/workflows/": (FileKind.WORKFLOW, 6.0),
    ".circleci/": (FileKind.WORKFLOW, 5.0),
    "docs/": (FileKind.DOCS, 1.5),
    "doc/": (FileKind.DOCS, 1.5),
    "man/": (FileKind.DOCS, 2.0),
    "data/": (FileKind.DATASET, 1.0),
    "datasets/": (FileKind.DATASET, 2.0),
    "fixtures/": (FileKind.DATASET, 1.5),
    "plugins/": (FileKind.PLUGIN, 0.5),
    "agents/": (FileKind.AGENT, 1.0),
}
_MAGIC: Mapping[bytes, tuple[str, FileKind, float]] = {
    b"SQLite format 3\0": ("begins as a SQLite database", FileKind.DATASET, 4.0),
    b"PAR1": ("begins as Parquet", FileKind.DATASET, 4.0),
    b"\x93NUMPY": ("begins as a NumPy array", FileKind.DATASET, 4.0),
    b"\x89HDF": ("begins as HDF5", FileKind.DATASET, 4.0),
    b"%PDF": ("begins as PDF", FileKind.DOCS, 2.0),
    b"\x7fELF": ("begins as a program", FileKind.UNKNOWN, 3.0),
    b"MZ": ("begins as a program", FileKind.UNKNOWN, 1.5),
}
_IMPORTS: Mapping[str, tuple[FileKind, float]] = {
    **dict.fromkeys(["airflow", "prefect", "dagster", "luigi", "metaflow", "kfp"], (FileKind.WORKFLOW, 3.0)),
    **dict.fromkeys(["nox", "invoke", "doit", "celery"], (FileKind.WORKFLOW, 1.5)),
    **dict.fromkeys(["openai", "anthropic", "langchain", "llama_index", "litellm", "crewai"], (FileKind.AGENT, 2.0)),
    **dict.fromkeys(["autogen", "langgraph", "smolagents", "mistralai", "ollama"], (FileKind.AGENT, 2.0)),
    "pluggy": (FileKind.PLUGIN, 1.0),
    "stevedore": (FileKind.PLUGIN, 1.0),
}
_STEPS = re.compile(
    rb'(?:\xef\xbb\xbf)?\s*\[\s*\{\s*(?:"body"\s*:\s*\{[^{}]*\}\s*,\s*)?"tag"\s*:\s*"\w+(?:\.\w+)+"\s*[,}]'
)
_AGENT_METHODS = frozenset(["run", "act", "step", "plan", "think", "execute"])
_FLOWS = frozenset(["flow", "task", "dag", "asset", "op", "job", "session"])


OtherFeatures: TypeAlias = Callable[[str, bytes, Facts | None], Iterable[Feature]]


class HeuristicClassifier:
    """Classifies files by adding up what speaks for each kind.

    Args:
        weights: What to count features with in place of their own weights, by their labels.
        others: Asked for more features of each file.

    Attributes:
        fingerprint: The same for the same weights, and empty without any.
    """

    def __init__(self, weights: Mapping[str, float] | None = None, others: OtherFeatures | None = None) -> None:
        self._weights = dict(weights or {})
        self._others = others
        said = json.dumps(self._weights, sort_keys=True).encode()
        self.fingerprint = hashlib.sha256(said).hexdigest()[:16] if self._weights else ""

    def classify(self, path: str, *, head: bytes, facts: Facts | None) -> Classification:
        """Classify a file by its relative path, its first bytes, and its facts if it is Python."""
        features = [*_of_path(path), *_of_content(path, head)]
        if facts is not None:
            features.extend(_of_facts(facts))
        if self._others is not None:
            features.extend(self._others(path, head, facts))
        return self.score(features)

    def score(self, features: Sequence[Feature]) -> Classification:
        """Classify a file by the features that are known of it; each label counts once."""
        evidence = tuple({feature.label: feature for feature in features}.values())
        scores = scores_of((feature.kind, self._weight(feature)) for feature in evidence)
        kind = max(scores, key=scores.__getitem__)
        confidence = 1.0 / sum(math.exp(score - scores[kind]) for score in scores.values())
        telling = sorted((feature for feature in evidence if feature.kind is kind), key=lambda it: -self._weight(it))
        return Classification(kind, round(confidence, 4), tuple(feature.label for feature in telling), evidence)

    def _weight(self, feature: Feature) -> float:
        return self._weights.get(feature.label, feature.weight)


def scores_of(votes: Iterable[tuple[FileKind, float]]) -> dict[FileKind, float]:
    """Return what speaks for each kind: the sum of weights, of which ``UNKNOWN`` has one to begin with."""
    scores = dict.fromkeys(FileKind, 0.0)
    scores[FileKind.UNKNOWN] = 1.0
    for kind, weight in votes:
        scores[kind] += weight
    return scores


def _of_path(path: str) -> Iterator[Feature]:
    folder, _, name = path.lower().rpartition("/")
    stem, dot, suffix = name.rpartition(".")
    suffix = dot + suffix if stem else ""
    if (known := _SUFFIXES.get(suffix)) is not None:
        yield Feature(f"suffix {suffix}", *known)
    if (known := _NAMES.get(stem or name) or _NAMES.get(name)) is not None:
        yield Feature(f"named {stem or name}", *known)
    for part, known in _FOLDERS.items():
        if f"/{folder}/".endswith(f"/{part}") or f"/{part}" in f"/{folder}/":
            yield Feature(f"lies in {part}", *known)


def _of_content(path: str, head: bytes) -> Iterator[Feature]:
    for magic, known in _MAGIC.items():
        if head.startswith(magic):
            yield Feature(*known)
    if path.lower().endswith(".json") and _STEPS.match(head):
        yield Feature("begins as a list of actions", FileKind.WORKFLOW, 6.0)
    if b"\0" in head and any(part in ("test", "tests", "data", "testdata") for part in path.lower().split("/")):
        yield Feature("binary among tests or data", FileKind.DATASET, 2.0)
    if head.startswith(b"#!") and b"sh" in head.split(b"\n", 1)[0]:
        yield Feature("begins as a shell script", FileKind.WORKFLOW, 1.5)


def _of_facts(facts: Facts) -> Iterator[Feature]:
    if facts.definitions:
        yield Feature("defines functions or classes", FileKind.UTILITY, 3.0)
    elif facts.imports:
        yield Feature("imports and defines nothing", FileKind.UTILITY, 1.5)
    else:
        yield Feature("Python source", FileKind.UTILITY, 1.0)
    if "__main__ guard" in facts.entry_points:
        yield Feature("has __main__ guard", FileKind.UTILITY, 0.3)
    for module in dict.fromkeys(name.partition(".")[0] for name in facts.imports if not name.startswith(".")):
        if (known := _IMPORTS.get(module)) is not None:
            yield Feature(f"imports {module}", *known)
    for definition in facts.definitions:
        yield from (_of_class if definition.kind == "class" else _of_function)(definition)
    yield from _of_decorators(facts.method_decorators)


def _of_class(definition: Definition) -> Iterator[Feature]:
    if any(map(is_plugin, definition.bases)):
        yield Feature("subclasses Plugin of aetherra", FileKind.PLUGIN, 6.0)
    elif any(_last(base).endswith("Plugin") for base in definition.bases):
        yield Feature("subclasses a Plugin", FileKind.PLUGIN, 3.5)
    elif definition.name.endswith("Plugin"):
        yield Feature("defines a class named Plugin", FileKind.PLUGIN, 2.0)
    if definition.name.endswith("Agent") or any(_last(base).endswith("Agent") for base in definition.bases):
        acting = sorted(_AGENT_METHODS.intersection(definition.methods))
        yield Feature("defines a class named Agent", FileKind.AGENT, 1.5)
        if acting:
            yield Feature(f"an Agent that can {acting[0]}", FileKind.AGENT, 2.5)


def _of_function(definition: Definition) -> Iterator[Feature]:
    yield from _of_decorators(definition.decorators)
    if definition.name.startswith("pytest_"):
        yield Feature("defines pytest hooks", FileKind.PLUGIN, 2.5)


def _of_decorators(decorators: tuple[str, ...]) -> Iterator[Feature]:
    for decorator in dict.fromkeys(decorators):
        last = _last(decorator)
        if last == "hookimpl" or decorator.endswith("HookimplMarker()"):
            yield Feature("defines hookimpl", FileKind.PLUGIN, 4.0)
        elif last in ("handler", "every") and is_ours(decorator):
            yield Feature(f"has a method under @{last}", FileKind.PLUGIN, 3.0)
        elif last in _FLOWS and decorator.partition(".")[0] in _IMPORTS:
            yield Feature(f"defines a {last}", FileKind.WORKFLOW, 2.0)


def _last(name: str) -> str:
    return name.rpartition(".")[2]
