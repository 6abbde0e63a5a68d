"""How an action may be submitted: the options that all ways to submit one have."""

from __future__ import annotations

from typing import TypedDict

from aetherra.kernel.actions.envelope import ActionPriority, RetryPolicy


class Submission(TypedDict, total=False):
    """Options of ``submit``, for who passes them on as ``**options: Unpack[Submission]``.

    Attributes:
        priority: How urgent it is: which lane, and where in it.
        deadline: Seconds from now after which it is not worth doing.
        timeout: Seconds for one attempt; ``None`` means the host's ``default_timeout``.
        retry: How often to try; default three times with backoff.
        target: The plugin that is to do it; default is whichever answers its tag.
        idempotency_key: A submission of the same type under the same key is the same action, and gets its handle: while
            it is not finished, and once it was done for the rest of the window. Death sets the key free.
        idempotency_window: Seconds from now for which the key counts; default is a day.
        wait_for_room: Seconds to wait for room in a full lane, in the order in which submitters came.
    """

    priority: ActionPriority
    deadline: float | None
    timeout: float | None
    retry: RetryPolicy | None
    target: str
    idempotency_key: str
    idempotency_window: float
    wait_for_room: float
