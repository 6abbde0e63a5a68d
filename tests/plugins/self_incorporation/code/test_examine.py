"""One file's bytes, all the way."""

import pytest

from aetherra.plugins.self_incorporation.code.classifier import Classification, FileKind, HeuristicClassifier
from aetherra.plugins.self_incorporation.code.examine import Examined, examine
from aetherra.plugins.self_incorporation.code.facts import Facts
from aetherra.plugins.self_incorporation.code.findings import Refusal
from aetherra.plugins.self_incorporation.code.source import may_be_source


def examined(path: str, data: bytes) -> Examined:
    outcome = examine(path, data)
    assert isinstance(outcome, Examined)
    return outcome


class TestExamine:
    @pytest.mark.parametrize(
        ("path", "data"), [("a.py", b"x = 1"), ("a.PYI", b"x: int"), ("tool", b"#!/usr/bin/env python3\n")]
    )
    def test_python_is_parsed_whatever_it_is_called(self, path: str, data: bytes) -> None:
        """A script without a suffix is known by its first line."""
        assert may_be_source(path)
        assert examined(path, data).facts is not None

    @pytest.mark.parametrize(
        ("path", "data"), [("a.md", b"x = = 1"), ("tool", b"#!/bin/sh\nx = = 1"), ("a.bin", b"\0\xff")]
    )
    def test_nothing_else_is(self, path: str, data: bytes) -> None:
        """Bytes that are no Python are classified, and no refusal for that."""
        assert examined(path, data).facts is None

    def test_what_cannot_be_parsed_is_a_refusal(self) -> None:
        """A broken file is counted with its reason, and never raises."""
        outcome = examine("a.py", b"def f(:\n")

        assert isinstance(outcome, Refusal)
        assert outcome.reason == "syntax_error"

    @pytest.mark.parametrize("taken", ["['k']", "[0]", ".get('k')", "()", ".a"])
    def test_no_chain_that_parses_is_too_deep(self, taken: str) -> None:
        """One such file would end the scan of all others."""
        outcome = examine("a.py", f"import os\nt = {{'k': os.system}}\nx = t{taken * 1200}\n".encode())

        assert isinstance(outcome, Examined)

    def test_what_is_too_deep_is_a_refusal(self) -> None:
        """Whatever step gives up, it is this file that is kept out, and no other."""

        class Deep(HeuristicClassifier):
            def classify(self, path: str, *, head: bytes, facts: Facts | None) -> Classification:
                raise RecursionError

        outcome = examine("a.py", b"x = 1\n", Deep())

        assert isinstance(outcome, Refusal)
        assert outcome.reason == "too_complex"

    def test_a_path_file_that_lists_folders_runs_nothing(self) -> None:
        """Most path files are lists, and no finding."""
        outcome = examined("x.pth", b"/some/folder\n../other folder\n")

        assert (outcome.judgement.findings, outcome.facts) == ((), None)

    def test_a_path_file_that_runs_code_is_judged(self) -> None:
        """Its import lines run at every start of the interpreter: alone a warning, with more to them a threat."""
        harmless = examined("x.pth", b"/some/folder\nimport hook; hook.install()\n")
        harmful = examined("x.pth", b"/some/folder\nimport os; os.system('x')\n")

        assert [item.severity for item in harmless.judgement.findings] == ["warning"]
        assert "threat" in [item.severity for item in harmful.judgement.findings]

    def test_kind_and_facts_come_from_one_parse(self) -> None:
        """What one step learns, the next uses."""
        outcome = examined("a.py", b"from aetherra.plugins import Plugin\nclass A(Plugin): ...\n")

        assert outcome.classification.kind is FileKind.PLUGIN
        assert outcome.facts is not None
        assert outcome.facts.imports == ("aetherra.plugins",)
