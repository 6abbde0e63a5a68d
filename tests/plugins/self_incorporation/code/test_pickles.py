"""What a pickle would call, read off its opcodes."""

import os
import pickle
from typing import Any

import pytest

from aetherra.plugins.self_incorporation.code.pickles import Called, calls_of, is_telling, looks_pickled


class Runs:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("true",)


class TestCallsOf:
    @pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
    def test_a_call_is_not_seen_in_a_pickle(self, protocol: int) -> None:
        """Whatever the protocol, what it would call is told, and nothing is called."""
        called = list(calls_of(pickle.dumps(Runs(), protocol)))

        assert called == [Called(os.name, "system")]
        assert is_telling(called[0])

    def test_plain_data_calls_something(self) -> None:
        """Data needs nothing that tells."""
        assert not list(calls_of(pickle.dumps({"a": [1, 2.0, "b", None]})))

    def test_an_ordinary_thing_tells(self) -> None:
        """A date or a class of one's own is what pickles are for."""
        assert not is_telling(Called("datetime", "date"))
        assert not is_telling(Called("builtins", "set"))
        assert is_telling(Called("builtins", "eval"))

    def test_text_looks_like_a_pickle(self) -> None:
        """Pickles of today begin with their protocol."""
        assert looks_pickled(pickle.dumps(1))
        assert not looks_pickled(b"\x80text")
