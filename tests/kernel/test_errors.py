"""The kernel's errors: they pickle, read well, and are what a caller would catch."""

from __future__ import annotations

import pickle

import pytest

from aetherra.kernel import errors
from aetherra.registry import AetherraError

EXAMPLES: list[AetherraError] = [
    errors.ConfigError("config.json", "`$.kernel`: unknown key"),
    errors.HostRunningError("/data", 7),
    errors.PluginLoadError("greeter", "starting", "no"),
    errors.PluginDefinitionError("no"),
    errors.PluginNotFoundError("greter", ["greeter"]),
    errors.PluginUnreadableError("greeter.py: Permission denied"),
    errors.PrivilegeError("hmr", "kernel:swap"),
    errors.StepTimeoutError("greeter", "start()", 10.0, "greeter.py:3 in start"),
    errors.UnknownKnobError("greter.batch", ["greeter.batch"]),
    errors.KnobRangeError("greeter.batch", "a whole number from 1 to 64", "65"),
    errors.KnobChangedError("greeter.batch", 8, 16),
    errors.KnobError("greeter.batch", "its write raised OSError", 8, 8),
    errors.KernelNotRunningError(),
    errors.ActionQueueFullError("high", 5, "t-1"),
    errors.ActionExpiredError("t-1", "greeter.greet"),
    errors.ActionCancelledError("t-1", "greeter.greet", "the host stopped"),
    errors.ActionRunningError("t-1"),
    errors.ReplyLostError("t-1", "the journal could not hold it"),
    errors.LetterNotFoundError("t-1"),
    errors.DataFileError("/data/file", "cannot write: No space left on device"),
]


class TestErrors:
    @pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
    def test_an_error_survives_pickling(self, error: AetherraError) -> None:
        """A worker process or a test runner may send it on: fields, text and type stay."""
        copy = pickle.loads(pickle.dumps(error))

        assert type(copy) is type(error)
        assert (str(copy), vars(copy), copy.args) == (str(error), vars(error), error.args)

    def test_every_error_has_an_example_here(self) -> None:
        """Every error of the module is in the list above."""
        defined = {
            value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, AetherraError)
        }

        assert defined - {AetherraError} == {type(error) for error in EXAMPLES}

    def test_an_operating_system_error_carries_no_text_as_its_number(self) -> None:
        """``errno`` is a number or nothing."""
        assert errors.DataFileError("/data/file", "no").errno is None
        assert errors.PrivilegeError("hmr", "kernel:swap").errno is None


class TestRetryLater:
    @pytest.mark.parametrize("seconds", [-1.0, float("inf"), float("nan")])
    def test_a_wait_that_never_ends_is_refused(self, seconds: float) -> None:
        """The handler that asks for it fails there, with a text that says why."""
        with pytest.raises(ValueError, match="expected a finite number of seconds"):
            errors.RetryLater(seconds)
