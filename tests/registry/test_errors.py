"""The registry's errors: what they keep, and what counts as a signal."""

from __future__ import annotations

import asyncio
import pickle
import subprocess
import sys

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetherra.registry import HOST, Identity, errors
from aetherra.registry.client import NoHostError
from aetherra.registry.errors import AetherraError, HandlerError, NoHandlerError, fault_in, is_refusal, is_signal

EXAMPLES: list[AetherraError] = [
    AetherraError("text"),
    errors.MessageDefinitionError("text"),
    errors.MessageValidationError("a.b", "Expected `int` - at `$.x`"),
    errors.ServiceNotFoundError("greeter", ["greet"]),
    errors.ServiceNotFoundError("greeter"),
    errors.NoHandlerError("a.b", ["a.c", "a.d"], "it was stopped"),
    errors.NoHandlerError("a.b"),
    errors.RouteConflictError("a.b", "the host", "plugin 'x' (generation 1)"),
    errors.ServiceConflictError("greeter", "the host", "plugin 'x' (generation 1)"),
    errors.CallTimeoutError("a.b", 1.5, "it is being swapped"),
    errors.CallTimeoutError("a.b", 1.5, "it was at work", ("a.b", "c.d")),
    errors.EventTimeoutError("a.b", 1.5, "none came"),
    errors.ServiceQuiescedError("a.b", 1.5, "its plugin is being swapped", ("a.b",)),
    errors.CallDepthError(["a.b", "c.d"] * 6),
    errors.HandlerBusyError("a.b", 4, 100),
    errors.CapabilityError("plugin 'x' (generation 1)", "call:a.b", "plugins.x.grants in the configuration"),
    errors.ServiceUnavailableError("a.b", "plugin 'x' (generation 1)", "why"),
    errors.ServiceStartingError("a.b", "plugin 'x' (generation 1)"),
    errors.ServiceStoppingError("a.b", "plugin 'x' (generation 1)"),
    errors.ServiceFailedError("a.b", "plugin 'x' (generation 1)", "it raised"),
    errors.ServiceQuarantinedError("a.b", "plugin 'x' (generation 1)"),
    errors.ServiceStoppedError("a.b", "plugin 'x' (generation 1)"),
    errors.ParkingFullError("a.b", 1000),
    errors.HandlerError("x", 3, "a.b", "ValueError: no"),
    errors.ReplyTypeError("x", "a.b", "'Greeting'", "'str'"),
    errors.ProtocolError("text"),
    errors.HostGoneError("aetherra", 42),
    errors.UnknownEventError("a.b", ["a.c"]),
    errors.RemoteError("KeyError", "'x'"),
    NoHostError("/run/control.sock"),
]


class MuteError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text either")


class TestErrors:
    def test_there_is_an_example_of_each_class(self) -> None:
        """The tests below see every error class of this layer."""
        defined = {kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, AetherraError)}
        assert defined <= {type(error) for error in EXAMPLES}

    @pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
    def test_pickling_keeps_fields_and_text(self, error: AetherraError) -> None:
        """An error crosses a process boundary whole."""
        again = pickle.loads(pickle.dumps(error))

        assert type(again) is type(error)
        assert (again.args, vars(again), str(again)) == (error.args, vars(error), str(error))

    @pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
    def test_the_args_make_the_error_again(self, error: AetherraError) -> None:
        """Nothing is lost in ``args``, which is what the wire carries."""
        assert str(type(error)(*error.args)) == str(error)

    @pytest.mark.parametrize(
        ("kind", "builtin"),
        [
            (errors.CallTimeoutError, TimeoutError),
            (errors.CallDepthError, RecursionError),
            (errors.CapabilityError, PermissionError),
            (errors.ServiceStartingError, errors.NoHandlerError),
            (errors.NoHandlerError, LookupError),
            (errors.MessageValidationError, ValueError),
            (errors.ReplyTypeError, TypeError),
            (NoHostError, ConnectionError),
        ],
    )
    def test_a_caller_may_catch_the_builtin(self, kind: type[AetherraError], builtin: type[Exception]) -> None:
        """Each error is also the builtin that its situation suggests."""
        assert issubclass(kind, builtin)

    def test_the_text_of_a_fault_is_kept(self) -> None:
        """The class and the text of what the handler raised stand in the error."""
        assert HandlerError.of(Identity("plugin", "x", 2), "a.b", ValueError("no zone")).cause == "ValueError: no zone"
        assert HandlerError.of(HOST, "a.b", ValueError()).cause == "ValueError"

    def test_a_fault_without_a_text_is_still_told(self) -> None:
        """A plugin's exception whose ``__str__`` raises does not hide that it failed."""
        assert HandlerError.of(HOST, "a.b", MuteError()).cause == "MuteError: its text could not be made"


LEAVES: list[tuple[BaseException, bool]] = [
    (ValueError(), False),
    (SystemExit(1), False),
    (KeyboardInterrupt(), True),
    (GeneratorExit(), True),
]
tree = st.recursive(
    st.sampled_from(LEAVES),
    lambda inner: st.lists(inner, min_size=1, max_size=3).map(
        lambda parts: (BaseExceptionGroup("", [exc for exc, _ in parts]), any(signal for _, signal in parts))
    ),
    max_leaves=8,
)


class NoRoomError(AetherraError, LookupError):
    """What a handler raises for a room that is not there."""


class BrokenError(AetherraError, RuntimeError):
    """What a handler raises for what it cannot do."""


class TestIsRefusal:
    @pytest.mark.parametrize(
        ("error", "refusal"),
        [
            (NoRoomError("9"), True),
            (PermissionError("of the disk"), False),
            (KeyError("a mistake of its own"), False),
            (BrokenError("the oven"), False),
            (NoHandlerError("oven.bake"), False),
            (BaseExceptionGroup("", [NoRoomError("9")]), False),
        ],
    )
    def test_a_senders_mistake_is_the_handlers(self, error: BaseException, refusal: bool) -> None:
        """Only an error of the handler's own that says by its builtin that the request was wrong is a refusal."""
        assert is_refusal(error) is refusal


class TestIsSignal:
    @given(tree)
    def test_a_group_is_a_signal_if_a_leaf_is(self, example: tuple[BaseException, bool]) -> None:
        """However deep the groups nest, and outside of any event loop."""
        exc, signal = example
        assert is_signal(exc) is signal

    async def test_a_cancellation_is_a_signal(self) -> None:
        """Alone, and in a group with a fault."""
        seen: list[bool] = []
        with anyio.CancelScope() as scope:
            scope.cancel()
            try:
                await anyio.sleep_forever()
            except BaseException as exc:
                seen = [is_signal(exc), is_signal(BaseExceptionGroup("", [ValueError(), exc]))]
                raise
        assert scope.cancelled_caught
        assert seen == [True, True]

    async def test_a_custom_base_exception_is_none(self) -> None:
        """A plugin that raises past ``Exception`` has failed, too."""

        class Strange(BaseException):
            pass

        assert not is_signal(Strange())

    @pytest.mark.parametrize("anyio_backend", ["asyncio"])
    async def test_a_cancelled_future_is_no_cancellation_of_the_one_who_waits(self) -> None:
        """A ``CancelledError`` that nobody sent to this task is a fault like any other."""
        future = asyncio.get_running_loop().create_future()
        future.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await future
        assert not is_signal(caught.value)

    @pytest.mark.parametrize("anyio_backend", ["asyncio"])
    async def test_a_native_task_cancellation_is_a_signal(self) -> None:
        """``Task.cancel()`` from outside of any scope counts."""
        seen: list[bool] = []

        async def wait() -> None:
            try:
                await asyncio.Event().wait()
            except BaseException as exc:
                seen.append(is_signal(exc))
                raise

        task = asyncio.create_task(wait())
        await anyio.wait_all_tasks_blocked()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert seen == [True]

    async def test_a_worker_thread_may_ask(self) -> None:
        """Where no event loop runs, no cancellation reaches."""
        assert await anyio.to_thread.run_sync(is_signal, KeyboardInterrupt())
        assert not await anyio.to_thread.run_sync(is_signal, asyncio.CancelledError())

    async def test_a_group_of_a_fault_and_a_cancellation_is_told_by_its_fault(self) -> None:
        """Cancellations alone are none, and a wish to end the process is never hidden."""
        fault, seen = ValueError("cleanup"), list[BaseException | None]()
        with anyio.CancelScope() as scope:
            scope.cancel()
            try:
                await anyio.sleep_forever()
            except BaseException as exc:
                inner = BaseExceptionGroup("", [exc, fault])
                seen = [fault_in(exc), fault_in(BaseExceptionGroup("", [exc])), fault_in(inner)]
                seen.append(fault_in(BaseExceptionGroup("", [inner, KeyboardInterrupt()])))
                raise
        assert seen[:2] == [None, None]
        assert isinstance(seen[2], ExceptionGroup)
        assert seen[2].exceptions == (fault,)
        assert seen[3] is None
        assert fault_in(fault) is fault

    def test_the_package_imports_alone(self) -> None:
        """The registry needs no other layer."""
        code = "import sys, aetherra.registry; assert not [m for m in sys.modules if m.startswith('aetherra.kernel')]"
        subprocess.run([sys.executable, "-c", code], check=True)
