"""Fixtures for all tests: every async test runs on asyncio and on trio, and leaves no thread that an exit waits for.

What users keep outside of projects goes into a folder of the session.
"""

from __future__ import annotations

import faulthandler
import gc
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from aetherra.kernel.stacks import stack_text, thread_stack

PATIENCE = 20.0  # seconds that a thread has to end after its test
EXIT_LIMIT = 60.0  # seconds that the interpreter has to end after the last test

# A busy machine is no fault: no example is timed. What CI sets for itself stays.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """The event loop that a test runs on."""
    return str(request.param)


@pytest.fixture(scope="session", autouse=True)
def state_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder for the state of users: no test leaves the head of a ledger in that of whoever runs the tests."""
    folder = tmp_path_factory.mktemp("state")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(folder))
        yield folder


@pytest.fixture(autouse=True)
def every_thread_ends() -> Iterator[None]:
    """Say which test leaves a thread behind that would keep the process from ending, and where that thread is."""
    before = set(threading.enumerate())
    yield
    for thread in threading.enumerate():
        if thread in before or thread.daemon:
            continue
        thread.join(PATIENCE)
        if thread.is_alive():
            frames, _ = thread_stack(thread.ident or 0)
            pytest.fail(f"{thread.name} is left behind, at:\n{stack_text(frames)}")


def pytest_collection_finish() -> None:
    """Leave what was collected out of every collection of garbage: thousands of tests are many times what a host holds.

    A test that has a host look for what keeps something in memory pays for all that is there, again and again.
    """
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    """Have an end that hangs say where, and fail."""
    faulthandler.dump_traceback_later(EXIT_LIMIT, exit=True, file=sys.__stderr__)
