"""The corrector's settings, as they stand in a configuration."""

from __future__ import annotations

import msgspec
import pytest

from aetherra.plugins.homeostasis.corrector import CorrectorSettings


def test_the_defaults_change_code():
    """By default nothing is installed, edited or made."""
    settings = CorrectorSettings()

    assert (settings.allow_modules, settings.allow_edits, settings.data_files) == ({}, False, {})
    assert settings.cooldown == settings.cooldown_jitter == 300.0


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"allow_modules": {"yaml": "--index-url=http://evil"}}, "requirement for module 'yaml'"),
        ({"allow_modules": {"yaml": " "}}, "requirement for module 'yaml'"),
        ({"allow_modules": {"yaml": "a\n--index-url=x"}}, "requirement for module 'yaml'"),
        ({"allow_modules": {"../yaml": "PyYAML"}}, "name of a module"),
        ({"moved": {"a.b": "c d"}}, "name of a module"),
        ({"data_files": {"folder/": "default"}}, 'a folder as "path/": ""'),
        ({"data_files": {"file": ""}}, "a file with a file to copy"),
        ({"capacity": 0}, ">= 1"),
        ({"cooldwon": 1}, "unknown field"),
    ],
)
def test_a_mistake_is_taken(given, problem):
    """What cannot be meant is refused, and says what was expected."""
    with pytest.raises(msgspec.ValidationError, match=problem):
        msgspec.convert(given, CorrectorSettings)
