"""Source that reads differently from how it runs."""

import pytest

from aetherra.plugins.self_incorporation.code.lookalikes import lookalikes


def codes(text: str) -> list[tuple[str, int]]:
    return [(finding.code, finding.line) for finding in lookalikes("a.py", text)]


class TestLookalikes:
    def test_a_control_character_that_reorders_text_is_found(self) -> None:
        """The early return of the Trojan Source paper, hidden in a docstring."""
        (found,) = lookalikes("a.py", "def f():\n    '''Say \u2067''' ;return\n")

        assert (found.code, found.line, found.severity) == ("bidi-control", 2, "threat")

    @pytest.mark.parametrize("text", ["\u2067a\u2069", "\u202ea\u202c", "\u2067\u202ea\u2069", "a\u2069"])
    def test_text_that_ends_where_its_control_does_is_a_threat(self, text: str) -> None:
        """What shows in another order by itself alone may be somebody's language."""
        (found,) = lookalikes("a.py", f"x = '{text}'\n")

        assert (found.code, found.severity) == ("bidi-control", "warning")

    @pytest.mark.parametrize("text", ["\u202ea\u2069", "\u2067a\u202c", "\u2066\u2067a\u2069"])
    def test_an_end_of_another_kind_ends_it(self, text: str) -> None:
        """An override is ended by a pop, an isolate by its own end, and each by one."""
        (found,) = lookalikes("a.py", f"x = '{text}'\n")

        assert found.severity == "threat"

    @pytest.mark.parametrize("name", ["p\u0430ssword", "\u0441\u043e\u0440\u0443", "\uff45\uff58\uff45\uff43"])
    def test_a_name_that_imitates_latin_letters_is_found(self, name: str) -> None:
        """Mixed, wholly foreign, or folded by Python itself: a reader sees another name."""
        assert codes(f"x = 1\n{name} = 2\n") == [("lookalike-name", 2)]

    @pytest.mark.parametrize(
        "text",
        [
            "naïve = 1",
            "Δx = 1",
            "größe = 2",
            "имя = 3",
            "変数 = 4",
            "µ = 5",
            "x = 'p\u0430ssword'",
            "# p\u0430ssword",
            "x = 1",
        ],
    )
    def test_honest_letters_are_not(self, text: str) -> None:
        """People name things in their own language, and write what they like in text."""
        assert codes(text) == []
