"""What kind of thing a file is."""

import ast
import math

import pytest

from aetherra.plugins.self_incorporation.code.classifier import Classification, Feature, FileKind, HeuristicClassifier
from aetherra.plugins.self_incorporation.code.facts import facts_of
from aetherra.plugins.self_incorporation.code.names import Names
from aetherra.plugins.self_incorporation.code.syntax import Syntax


def of(path: str, content: str | bytes = b"") -> Classification:
    if isinstance(content, bytes):
        return HeuristicClassifier().classify(path, head=content, facts=None)
    syntax = Syntax(ast.parse(content))
    return HeuristicClassifier().classify(path, head=content.encode(), facts=facts_of(content, syntax, Names(syntax)))


PYTHON = {
    "our plugin": (
        FileKind.PLUGIN,
        "from aetherra.plugins import Plugin, handler\nclass A(Plugin[S]):\n    @handler\n    async def a(self): ...",
    ),
    "our plugin, by module": (FileKind.PLUGIN, "import aetherra.plugins as p\nclass A(p.Plugin): ..."),
    "pluggy": (FileKind.PLUGIN, "import pluggy\nhookimpl = pluggy.HookimplMarker('x')\n@hookimpl\ndef setup(): ..."),
    "pytest": (FileKind.PLUGIN, "import pytest\n@pytest.hookimpl\ndef pytest_configure(config): ..."),
    "agent": (FileKind.AGENT, "from openai import OpenAI\nclass SearchAgent:\n    def run(self): ..."),
    "airflow": (FileKind.WORKFLOW, "from airflow.decorators import dag, task\n@dag\ndef pipeline(): ..."),
    "prefect": (FileKind.WORKFLOW, "from prefect import flow\n@flow(name='x')\ndef pipeline(): ..."),
    "library": (FileKind.UTILITY, "import os\ndef helper(): ...\nclass Thing: ..."),
}
OTHERS = {
    "greet.aether": FileKind.AETHER,
    ".github/workflows/ci.yml": FileKind.WORKFLOW,
    "Makefile": FileKind.WORKFLOW,
    "tox.ini": FileKind.WORKFLOW,
    "data/rows.csv": FileKind.DATASET,
    "x.parquet": FileKind.DATASET,
    "a/b.json": FileKind.DATASET,
    "README": FileKind.DOCS,
    "LICENSE": FileKind.DOCS,
    "docs/index.html": FileKind.DOCS,
    "guide.md": FileKind.DOCS,
    "man/tool.1": FileKind.DOCS,
    "lib.so": FileKind.UNKNOWN,
    "strange.zzz": FileKind.UNKNOWN,
    "": FileKind.UNKNOWN,
}


class TestClassify:
    @pytest.mark.parametrize("name", PYTHON)
    def test_python_is_classified_by_what_it_defines(self, name: str) -> None:
        """The name of the file has no part in it."""
        kind, text = PYTHON[name]

        assert of("some/module.py", text).kind is kind

    @pytest.mark.parametrize(("path", "kind"), OTHERS.items())
    def test_other_files_are_classified_by_their_path(self, path: str, kind: FileKind) -> None:
        """Suffix, name and folder say enough."""
        assert of(path).kind is kind

    def test_the_first_bytes_tell_what_a_name_does_not(self) -> None:
        """A database is one under any name."""
        assert of("thing", b"SQLite format 3\0").kind is FileKind.DATASET
        assert of("tests/thing.zzz", b"a\0b").kind is FileKind.DATASET

    @pytest.mark.parametrize(
        ("head", "kind"),
        [
            (b'[{"tag": "reports.make", "body": {}}]', FileKind.WORKFLOW),
            (b'\xef\xbb\xbf [\n {"body": {"a": 1}, "tag": "reports.make"}, {', FileKind.WORKFLOW),
            (b'[{"tag": "noun"}]', FileKind.DATASET),
            (b'[{"text": "a", "tag": "noun.verb"}]', FileKind.DATASET),
            (b'{"tag": "reports.make"}', FileKind.DATASET),
        ],
    )
    def test_a_list_of_actions_is_a_dataset(self, head: bytes, kind: FileKind) -> None:
        """What begins as a workflow does is one, under the name of data, too."""
        assert of("a/flow.json", head).kind is kind

    def test_the_confidence_is_the_share_under_softmax(self) -> None:
        """The figure follows from the weights by the formula in the documentation."""
        others = len(FileKind) - 2

        assert of("x.aether").confidence == round(math.exp(6) / (math.exp(6) + math.e + others), 4)
        assert of("strange.zzz").confidence == round(math.e / (math.e + others + 1), 4)

    def test_agreeing_features_raise_the_confidence_and_others_lower_it(self) -> None:
        """Evidence adds up."""
        plain, agreed, opposed = of("x.md"), of("docs/x.md"), of("data/x.md")

        assert opposed.confidence < plain.confidence < agreed.confidence < 1

    def test_the_features_that_led_there_are_named(self) -> None:
        """Heaviest first, and only those that speak for the answer."""
        assert of("a.py", PYTHON["our plugin"][1]).features == (
            "subclasses Plugin of aetherra",
            "has a method under @handler",
        )
        assert of("rows.csv").features == ("suffix .csv",)

    def test_a_label_is_the_same_for_every_file_and_counts_once(self) -> None:
        """Weights are learnt for labels, so none holds a figure, or counts by how many functions there are."""
        one, two = (of("a.py", "def pytest_a(): ...\n" * count) for count in (1, 2))

        assert one == two
        assert [feature.label for feature in one.evidence] == ["defines functions or classes", "defines pytest hooks"]

    def test_the_evidence_is_all_of_it(self) -> None:
        """What points elsewhere is kept too: from it a file can be classified anew, under other weights, unread."""
        found = of("docs/rows.csv")

        assert found.evidence == (
            Feature("suffix .csv", FileKind.DATASET, 5.0),
            Feature("lies in docs/", FileKind.DOCS, 1.5),
        )
        assert HeuristicClassifier().score(found.evidence) == found


class TestWeights:
    def test_weights_stand_in_place_of_their_own(self) -> None:
        """Under others a file may be of another kind, and the evidence is as it was."""
        found = of("docs/rows.csv")
        learnt = HeuristicClassifier({"lies in docs/": 9.0, "suffix .csv": 1.0, "no such": 50.0})

        assert learnt.score(found.evidence).kind is FileKind.DOCS
        assert learnt.score(found.evidence).evidence == found.evidence
        assert learnt.classify("docs/rows.csv", head=b"", facts=None).features == ("lies in docs/",)

    def test_a_fingerprint_tells_weights_apart(self) -> None:
        """So that it is known which files were classified under which."""
        fingerprints = [
            HeuristicClassifier(weights).fingerprint for weights in ({}, {"a": 1.0}, {"a": 2.0}, {"b": 1.0})
        ]

        assert fingerprints[0] == ""
        assert len(set(fingerprints)) == 4
        assert (
            HeuristicClassifier({"a": 1.0, "b": 2.0}).fingerprint
            == HeuristicClassifier({"b": 2.0, "a": 1.0}).fingerprint
        )

    def test_weights_of_any_size_make_a_confidence(self) -> None:
        """A sum of exponentials must not overflow."""
        assert HeuristicClassifier({"suffix .md": 5000.0}).classify("a.md", head=b"", facts=None).confidence == 1.0


class TestOthers:
    def test_what_others_say_counts_like_the_rest(self) -> None:
        """They see the path, the first bytes and the facts; what they say is in the evidence."""
        asked: list[tuple[str, bytes, object]] = []

        def others(path: str, head: bytes, facts: object) -> list[Feature]:
            asked.append((path, head, facts))
            return [Feature("theirs: a flow", FileKind.WORKFLOW, 7.0)]

        found = HeuristicClassifier(others=others).classify("a.md", head=b"x", facts=None)

        assert (found.kind, found.features) == (FileKind.WORKFLOW, ("theirs: a flow",))
        assert asked == [("a.md", b"x", None)]
