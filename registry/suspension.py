"""A coroutine that says when it first waits, so that whoever runs it can let another go on with the rest."""

from __future__ import annotations

import types
from collections.abc import Callable, Coroutine, Generator
from contextvars import copy_context
from typing import Any, TypeVar

T = TypeVar("T")


@types.coroutine
def watch(work: Coroutine[Any, Any, T], suspends: Callable[[], object]) -> Generator[Any, Any, T]:
    """Run ``work`` in this task, in a context of its own, and call ``suspends`` when it waits for the first time.

    What ``work`` does before that costs no task. Everything it does is done in one task, whose cancel scopes it may
    open and close as it likes; what it sets in context variables is gone afterwards.
    """
    run = copy_context().run
    try:
        waits_for = run(work.send, None)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
    suspends()
    step: Callable[[Any], Any]
    word: Any
    while True:
        try:
            value = yield waits_for
        except GeneratorExit:
            work.close()
            raise
        except BaseException as exc:  # noqa: BLE001  # the task's word to the work, whatever it is
            step, word = work.throw, exc
        else:
            step, word = work.send, value
        try:
            waits_for = run(step, word)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]
