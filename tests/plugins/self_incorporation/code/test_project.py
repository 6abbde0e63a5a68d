"""What a project says of itself: read as it is written, and whatever is wrong with it is told."""

import pytest

from aetherra.plugins.self_incorporation.code.project import is_project, project_of
from aetherra.plugins.self_incorporation.code.script import Script

NEEDS = ("dependencies", "requires-python")


class TestProject:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            (
                '[project]\nversion = "1.2"\nrequires-python = ">=3.9"\ndependencies = ["a<2", "b"]\nurls.x = "y"\n',
                Script(("a<2", "b"), ">=3.9", version="1.2"),
            ),
            ('\ufeff[project]\nname = "x"\n', Script()),
            ("[tool.ruff]\nline-length = 1\n", Script()),
            ("", Script()),
            ('[project]\ndynamic = ["version", "readme"]\n', Script()),
            ('[project]\ndynamic = ["dependencies"]\nversion = "1"\n', Script(version="1", left_open=NEEDS[:1])),
            ('[project]\ndynamic = ["requires-python", "dependencies"]\n', Script(left_open=NEEDS)),
            ('[project]\ndynamic = ["dependencies"]\ndependencies = ["a"]\n', Script(("a",))),
            ('[build-system]\nrequires = ["poetry-core"]\n[tool.poetry]\nname = "x"\n', Script(left_open=NEEDS)),
        ],
    )
    def test_a_project_is_misread(self, text: str, expected: Script) -> None:
        """What it states is told as it stands, and what it leaves to its build is told as left open."""
        assert project_of(text.encode()) == expected

    @pytest.mark.parametrize(
        ("data", "problem"),
        [
            (b"[project\n", "it is no TOML"),
            (b"[project]\nversion = '\xff'\n", "it is no TOML"),
            (b"a = " + b"[" * 5000, "it is no TOML"),
            (b"project = 3\n", "at `$.project`"),
            (b"[project]\nversion = 3\n", "Expected `str`, got `int` - at `$.project.version`"),
            (b"[project]\nrequires-python = ['>=3']\n", "at `$.project.requires-python`"),
            (b"[project]\ndependencies = 'a'\n", "at `$.project.dependencies`"),
            (b"[project]\ndependencies = [3]\n", "at `$.project.dependencies[0]`"),
            (
                b"[project]\ndependencies = ['" + b"a" * 1001 + b"']\n",
                "length <= 1000 - at `$.project.dependencies[0]`",
            ),
            (b"[project]\ndependencies = [" + b"'a'," * 1001 + b"]\n", "length <= 1000"),
            (b"[project]\ndynamic = 'dependencies'\n", "at `$.project.dynamic`"),
            (b"#" * 256_001, "expected at most 256,000 bytes, got 256,001"),
        ],
    )
    def test_what_cannot_be_read_is_an_error(self, data: bytes, problem: str) -> None:
        """Whatever is wrong is told, with where."""
        found = project_of(data)
        assert problem in found.problem
        assert found == Script(problem=found.problem)

    def test_another_file_is_taken_for_one(self) -> None:
        """It goes by its whole name."""
        assert is_project("a/pyproject.toml") and is_project("pyproject.toml")
        assert not is_project("a/my-pyproject.toml") and not is_project("pyproject.toml/x.py")
