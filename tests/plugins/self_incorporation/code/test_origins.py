"""Where values may come from."""

import ast

import pytest

from aetherra.plugins.self_incorporation.code.names import Names
from aetherra.plugins.self_incorporation.code.origin import Origin
from aetherra.plugins.self_incorporation.code.origins import Origins
from aetherra.plugins.self_incorporation.code.program import Program, Unit
from aetherra.plugins.self_incorporation.code.syntax import Scope, Syntax


def origin(text: str) -> int:
    """Return the origin of the first argument of the last call of ``sink``."""
    syntax = Syntax(ast.parse(text))
    origins = Origins(Program([Unit("a.py", text, syntax, Names(syntax))]))
    calls = [(scope, call) for scope in syntax.scopes for call in scope.calls if ast.unparse(call.func) == "sink"]
    return origins.of(calls[-1][1].args[0], calls[-1][0])


class TestOrigins:
    @pytest.mark.parametrize(
        "text",
        [
            "sink(b64decode(x))",
            "y = b64decode(x)\nz = y.decode()\nsink(z[1:])",
            "def f(p):\n    sink(p)\nf(b64decode(x))",
            "def f(a, p=None):\n    sink(p)\nf(1, p=b64decode(x))",
            "class C:\n    def f(self, p):\n        sink(p)\n    def g(self):\n        self.f(b64decode(x))",
            "def f():\n    return b64decode(x)\nsink(f())",
            "def f(p):\n    return g(p)\ndef g(p):\n    sink(p)\nf(b64decode(x))",
            "f = lambda p: sink(p)\nf(b64decode(x))",
            "for p in [b64decode(x)]:\n    sink(p)",
            "y = ''\ny += b64decode(x)\nsink(y)",
            "def f():\n    yield b64decode(x)\nfor y in f():\n    sink(y)",
            "y = []\ndef f():\n    y.append(b64decode(x))\ndef g():\n    sink(y)",
            "y = {'a': b64decode(x)}\nsink(y['a'])",
            "with open(p, 'wb') as f:\n    f.write(b64decode(x))\nsink(p)",
            "with open('/tmp/a', 'wb') as f:\n    f.write(b64decode(x))\nsink(open('/tmp/a').read())",
            "import os, tempfile\nd, p = tempfile.mkstemp()\nos.write(d, b64decode(x))\nsink(p)",
            "import os, tempfile\nd, p = tempfile.mkstemp()\nf = os.fdopen(d, 'wb')\nf.write(b64decode(x))\nsink(p)",
            "import shutil\nshutil.copyfile(b64decode(x), p)\nsink(p)",
        ],
    )
    def test_a_decoded_value_is_lost_on_its_way(self, text: str) -> None:
        """Through names, functions, parameters and methods."""
        assert origin(f"from base64 import b64decode\n{text}") & Origin.DECODED

    def test_calls_and_functions_of_one_name_multiply(self) -> None:
        """What is passed to a name goes to all functions of that name once, however often that is called."""
        added = 0

        class Counted(Origins):
            def _add(self, scope: Scope, name: str, origin: int) -> None:
                nonlocal added
                added += 1
                super()._add(scope, name, origin)

        syntax = Syntax(ast.parse("from base64 import b64decode\nz = b64decode(x)\n" + "def f(p):\n f(z)\n" * 300))
        Counted(Program([Unit("a.py", "", syntax, Names(syntax))]))

        assert added < 2_000

    @pytest.mark.parametrize(
        "text",
        ["sink(len(b64decode(x)))", "sink(x == b64decode(x))", "def f(p):\n    sink(1)\nf(b64decode(x))", "sink(x)"],
    )
    def test_a_harmless_value_is_taken_for_a_decoded_one(self, text: str) -> None:
        """What says nothing any more of what it was made of is nothing."""
        assert origin(f"from base64 import b64decode\n{text}") == Origin.NOWHERE

    @pytest.mark.parametrize(
        ("text", "data"),
        [
            ("sink(open('a.txt').read())", True),
            ("sink(open('a.txt', 'rb').read())", True),
            ("from pathlib import Path\nsink((Path(x) / 'logo.png').read_bytes())", True),
            ("sink(open(__file__).read())", True),
            ("sink(__doc__)", True),
            ("sink(open('a.py').read())", False),
            ("sink(open(path).read())", False),
            ("sink(open('VERSION').read())", False),
        ],
    )
    def test_a_file_that_is_no_source_is_taken_for_one(self, text: str, data: bool) -> None:
        """What its name says is enough, and a name that says nothing is not."""
        assert bool(origin(text) & Origin.DATA) is data

    @pytest.mark.parametrize(
        ("text", "known"),
        [
            ("import os\nsink(dict(os.environ))", Origin.ENVIRONMENT),
            ("import os\nsink(getattr(os, 'env' + 'iron').items())", Origin.ENVIRONMENT),
            ("import subprocess\nsink(subprocess.check_output(['env']))", Origin.ENVIRONMENT),
            ("import os\nsink(os.environ['HOME'])", Origin.NOWHERE),
            ("import os\nsink(os.environ.get('NPM_TOKEN'))", Origin.SECRET),
            ("from pathlib import Path\nsink((Path.home() / '.ssh' / 'id_rsa').read_text())", Origin.CREDENTIAL),
            ("from urllib.request import urlretrieve\nurlretrieve(u, p)\nsink(p)", Origin.DOWNLOADED),
            ("import asyncio\nr, w = await asyncio.open_connection(h, 1)\nsink(r.read())", Origin.DOWNLOADED),
            ("import gc\nsink([o for o in gc.get_objects()])", Origin.MEMORY),
            ("import os\nsink(os.fdopen().write(x))", Origin.NOWHERE),
            (
                "from aetherra.plugins import handler\nclass P:\n @handler\n def f(self, m):\n  sink(m.text)",
                Origin.MESSAGE,
            ),
        ],
    )
    def test_a_telling_source_is_not_known(self, text: str, known: int) -> None:
        """Each is told apart from what only looks like it."""
        assert origin(text) == known
