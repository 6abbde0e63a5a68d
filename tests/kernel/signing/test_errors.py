"""Errors of signing: what they say, and that they survive a trip to another process."""

from __future__ import annotations

import pickle

import pytest

from aetherra.kernel.signing.errors import (
    KeyFileError,
    KeyRingError,
    PassphraseNeededError,
    SigningError,
    SigningUnavailableError,
    UnknownKeyError,
    UnsignableError,
    WeakKeyError,
)

ERRORS = [
    KeyFileError("a.key", "is no key"),
    PassphraseNeededError("a.key", "needs it"),
    KeyRingError("ring", "is none"),
    UnsignableError("x\ny", "it is a pipe"),
    UnknownKeyError("ed25519:ab", ("ed25519:cd",)),
    WeakKeyError("weak"),
    SigningUnavailableError(),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_is_lost_on_the_way(error: SigningError) -> None:
    """Each can be pickled, says the same afterwards in one line, and is caught as an error of signing."""
    twin = pickle.loads(pickle.dumps(error))
    assert (type(twin), str(twin)) == (type(error), str(error))
    assert "\n" not in str(twin)
    assert isinstance(twin, SigningError)


def test_nobody_knows_what_to_install() -> None:
    """The error is an import's, and names the extra."""
    assert isinstance(SigningUnavailableError(), ImportError)
    assert "pip install 'aetherra[sign]'" in str(SigningUnavailableError())
