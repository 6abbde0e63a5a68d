"""What a path or an address looks like, put together from what the source tells."""

import ast

import pytest

from aetherra.plugins.self_incorporation.code.names import Names
from aetherra.plugins.self_incorporation.code.sketches import Sketches
from aetherra.plugins.self_incorporation.code.syntax import Syntax

HEAD = "import glob, os, os.path, site\nfrom pathlib import Path\nhome = Path.home()\n"


def sketched(expression: str, before: str = "") -> str:
    syntax = Syntax(ast.parse(f"{HEAD}{before}\nlast = {expression}\n"))
    names = Names(syntax)

    def reached(node: ast.expr) -> str:
        found = names.resolve(node)
        return "" if found is None else found.name

    return Sketches(syntax.scopes, reached).of(syntax.scopes[0].bindings[-1][1])


class TestSketches:
    @pytest.mark.parametrize(
        ("expression", "looks_like"),
        [
            ("home / '.ssh' / 'id_rsa'", "~/.ssh/id_rsa"),
            ("os.path.join(os.path.expanduser('~'), '.aws', name)", "~/.aws/*"),
            ("f'{home}/.netrc'", "~/.netrc"),
            ("home.joinpath('a').expanduser().with_name('b')", "~/b"),
            ("os.environ['HOME'] + '/x'", "~/x"),
            ("os.getenv('APPDATA') + '/x'", "%APPDATA%/x"),
            ("os.path.join(site.getsitepackages()[0], 'a.pth')", "/site-packages/a.pth"),
            ("[path for path in home.glob('*.txt')][0]", "~/*.txt"),
            ("os.path.join('a', '/b', 'c')", "/b/c"),
            ("Path('a').parent", "*"),
            ("'http://%s/x' % host", "http://*/x"),
            ("unknown()", "*"),
        ],
    )
    def test_a_place_is_not_seen_that_is_put_together(self, expression: str, looks_like: str) -> None:
        """Parts are joined as they would be, and what is not known is a star."""
        assert sketched(expression) == looks_like

    def test_a_name_that_is_made_of_itself_is_followed_for_ever(self) -> None:
        """Following ends, whatever the names stand for."""
        assert "*" in sketched("a", "a = b + 'x'\nb = a + 'y'")

    def test_a_long_text_is_sketched_in_full(self) -> None:
        """A sketch has an end."""
        assert len(sketched(repr("x" * 10_000) + " + 'y'")) <= 400

    @pytest.mark.parametrize(
        "several", ["os.path.join(a, a, a, a, a, a, a, a, a, a)", "home / f'{a}{a}{a}{a}' / a / a"]
    )
    def test_names_that_stand_for_names_multiply(self, several: str) -> None:
        """A few lines that name each other are looked into once from each depth, and not once for each way to them."""
        syntax = Syntax(ast.parse(HEAD + f"a = {several}\n" * 4))
        steps = 0

        def reached(node: ast.expr) -> str:
            nonlocal steps
            steps += 1
            return ast.unparse(node)

        sketches = Sketches(syntax.scopes, reached)
        for scope in syntax.scopes:
            for _, value in scope.bindings:
                assert len(sketches.of(value)) <= 400
        assert steps < 10_000, steps
