"""The options of a submission: every way to submit has them all, by the same names."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, get_type_hints

import pytest

from aetherra.kernel import Kernel
from aetherra.kernel.actions.queue import ActionQueue
from aetherra.kernel.actions.submission import Submission


class TestSubmission:
    @pytest.mark.parametrize("submit", [ActionQueue.submit, Kernel.submit, Kernel.submit_and_wait])
    def test_every_way_to_submit_takes_all_options(self, submit: Callable[..., Any]) -> None:
        """What can be said to one can be said to each; nothing is lost on the way from one to the next."""
        options = get_type_hints(Submission)
        parameters = inspect.signature(submit).parameters
        own = {name for name, parameter in parameters.items() if parameter.kind is parameter.KEYWORD_ONLY}
        passed_on = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())

        assert own <= set(options)
        assert passed_on or own == set(options)

    def test_the_options_are_of_the_same_types_where_they_are_taken(self) -> None:
        """A type checker sees at the caller what the queue wants."""
        hints = get_type_hints(ActionQueue.submit)

        assert {name: hints[name] for name in get_type_hints(Submission)} == get_type_hints(Submission)

    def test_no_option_has_to_be_given(self) -> None:
        """Each has a default in the queue."""
        parameters = inspect.signature(ActionQueue.submit).parameters

        assert not Submission.__required_keys__
        assert all(parameters[name].default is not inspect.Parameter.empty for name in get_type_hints(Submission))
