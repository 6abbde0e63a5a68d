"""What text an expression of constants makes, worked out and not run."""

import ast
import itertools

import pytest

from aetherra.plugins.self_incorporation.code.folding import folded_text


def folded(text: str, **texts: str) -> tuple[str, bool] | None:
    return folded_text(ast.parse(text, mode="eval").body, texts)


class TestFoldedText:
    @pytest.mark.parametrize(
        "text",
        [
            "'ex' + 'ec'",
            "''.join(['e', 'x', 'ec'])",
            "f\"{'ex'}ec\"",
            "'%s%s' % ('ex', 'ec')",
            "'{}{}'.format('e', 'xec')",
            "bytes.fromhex('65786563').decode()",
            "chr(101) + 'xec'",
            "''.join(chr(code ^ 1) for code in [100, 121, 100, 98])",
            "''.join(map(chr, [101, 120, 101, 99]))",
            "'cexe'[::-1]",
            "''.join(reversed('cexe'))",
            "base64.b64decode('ZXhlYw==').decode('ascii')",
            "codecs.decode('rkrp', 'rot13')",
            "str(b'exec', 'utf8')",
            "bytes([101, 120, 101, 99]).decode()",
            "'EXEC'.lower()",
            "'eXXec'.replace('XX', 'x')",
            "half + 'ec'",
            "'xexecx'[1:5]",
            "''.join(chr(code ^ key) for code, key in zip([100, 121, 100, 98], [1, 1, 1, 1]))",
            "''.join(chr(code - at) for at, code in enumerate([101, 121, 103, 102]))",
            "''.join('e x e c'.split(' '))",
            "zlib.decompress(base64.b64decode('eJxLrUhNBgAELQGm')).decode()",
            "{'a': 'exec', 'b': unknown()}['a']",
            "(lambda text: text[::-1])('cexe')",
            "bytes(int(pair, 16) for pair in ['65', '78', '65', '63']).decode()",
        ],
    )
    def test_text_that_is_put_together_is_not_known(self, text: str) -> None:
        """However it is, and that it was."""
        assert folded(text, half="ex") == ("exec", True)

    def test_plain_text_counts_as_put_together(self) -> None:
        """A constant, and a name of one, hide nothing."""
        assert folded("'exec'") == ("exec", False)
        assert folded("'ex' 'ec'") == ("exec", False)
        assert folded("name", name="exec") == ("exec", False)

    @pytest.mark.parametrize(
        "text",
        [
            "x + 'ec'",
            "f()",
            "open('a').read()",
            "'a'.encode().decode('idna')",
            "'%99999999d' % 1",
            "'{:>99999999}'.format(1)",
            "'a'.zfill(99999999)",
            "'a' * 99999999",
            "chr(2 ** 99)",
            "'a'.__class__",
            "''.join(chr(c) for c in x for d in y)",
            "1 // 0",
            "'a'[9]",
        ],
    )
    def test_what_only_running_it_would_tell_is_guessed(self, text: str) -> None:
        """Also what would take long or much: nothing is worked out beyond its bounds."""
        assert folded(text) is None

    def test_a_source_makes_it_work_for_long(self) -> None:
        """Work grows no faster than the source."""
        assert folded("('a' * 4 + " * 30 + "'b'" + ")" * 30) is None
        assert folded("+".join(["'aaaaaaaaaa'"] * 300)) == ("a" * 3000, True)
        assert folded("+".join(["'aaaaaaaaaaaaaaaaaaaa'"] * 300)) is None
        assert folded("'a'.replace('a', " * 30 + "'b'" + ")" * 30) == ("b", True)

    def test_a_mixture_of_operations_makes_it_fail(self) -> None:
        """Whatever is put together of them, it answers."""
        parts = [
            "'a'",
            "b'a'",
            "1",
            "[1, 'a']",
            "''.join(x)",
            "chr(-1)",
            "x[::0]",
            "'%d' % 'a'",
            "bytes([999])",
            "f'{x!r}'",
        ]
        for left, right in itertools.product(parts, parts):
            folded(f"{left} + {right}", x="ab")
            folded(f"({left})[{right}]", x="ab")
