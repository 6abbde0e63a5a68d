"""The kernel from threads: each call once for real, on an event loop in a thread of its own."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from aetherra.kernel import (
    ActionCancelledError,
    ActionPriority,
    DeadLetter,
    Kernel,
    LetterNotFoundError,
    Plugin,
    PluginNotFoundError,
    Reject,
    RetryPolicy,
)
from aetherra.kernel.blocking import BlockingKernel
from aetherra.kernel.plugin import Settings, handler
from aetherra.registry import (
    HandlerError,
    Message,
    MessageValidationError,
    NoHandlerError,
    Request,
    ServiceStatus,
    current_call,
)


class Greeting(Message, tag="blocking.greeting"):
    text: str


class Greet(Request[Greeting], tag="blocking.greet"):
    name: str


class Block(Request[None], tag="blocking.block"):
    pass


class Hello(Message, tag="blocking.hello"):
    pass


class GreeterSettings(Settings):
    word: str = "Hello"


class Greeter(Plugin[GreeterSettings]):
    name = "greeter"
    heard = threading.Event()
    closed = False

    @handler
    async def greet(self, request: Greet) -> Greeting:
        if type(self).closed:
            raise Reject("closed")
        return Greeting(f"{self.settings.word}, {request.name}")

    @handler
    async def hello(self, _: Hello) -> None:
        self.heard.set()

    @handler(blocking=True)
    def block(self, _: Block) -> None:
        gate.wait(20)


gate = threading.Event()


@pytest.fixture(params=["asyncio", "trio"])
def kernel(request: pytest.FixtureRequest):
    gate.clear()
    Greeter.heard.clear()
    Greeter.closed = False
    with Kernel.blocking(backend=request.param) as kernel:
        kernel.add_plugin(Greeter, settings={"word": "Hi"})
        yield kernel
        gate.set()


class TestBlockingKernel:
    def test_calls_and_events_pass_in_both_directions(self, kernel: BlockingKernel) -> None:
        """By class and by name, with the kernel's own errors."""
        assert kernel.call(Greet("Ada"), timeout=5.0) == Greeting("Hi, Ada")
        assert kernel.call_tag("blocking.greet", {"name": "Bob"}, timeout=5.0) == {"text": "Hi, Bob"}
        assert kernel.publish(Hello()) == 1
        assert Greeter.heard.wait(20)
        with pytest.raises(NoHandlerError):
            kernel.call_tag("blocking.gret")
        with pytest.raises(MessageValidationError):
            kernel.call_tag("blocking.greet", {"nam": "Bob"})

    def test_actions_are_submitted_waited_for_and_cancelled(self, kernel: BlockingKernel) -> None:
        """The handle works from the calling thread."""
        handle = kernel.submit(Greet("Ada"), priority=ActionPriority.HIGH, deadline=20.0, timeout=5.0)
        assert handle.wait() == Greeting("Hi, Ada")
        assert (handle.status, handle.cancel()) == ("done", False)

        assert kernel.restart_plugin("greeter").generation == 2
        assert kernel.disable_plugin("greeter", reason="for a test").generation == 2
        assert kernel.enable_plugin("greeter").generation == 3
        kernel.remove_plugin("greeter")
        lost = kernel.submit(Greet("Ada"), retry=RetryPolicy(2, 60.0, 60.0))
        assert lost.cancel()
        with pytest.raises(ActionCancelledError):
            lost.wait()

    def test_dead_letters_are_listed_and_redriven(self, kernel: BlockingKernel) -> None:
        """With the filters of the kernel's own method."""
        Greeter.closed = True
        dead = kernel.submit(Greet("Ada"))
        with pytest.raises(HandlerError, match="closed"):
            dead.wait()
        (letter,) = kernel.get_dlq_items(10, reason="rejected")
        assert isinstance(letter, DeadLetter)
        assert (letter.trace_id, kernel.get_dlq_items(reason="timeout")) == (dead.trace_id, [])

        Greeter.closed = False
        assert kernel.redrive(dead.trace_id).wait() == Greeting("Hi, Ada")
        assert kernel.get_dlq_items() == []
        with pytest.raises(LetterNotFoundError):
            kernel.redrive(dead.trace_id)

    def test_dead_letters_are_redriven_and_deleted_by_filter(self, kernel: BlockingKernel) -> None:
        """As by the kernel's own methods."""
        Greeter.closed = True
        for name in ("Ada", "Grace"):
            with pytest.raises(HandlerError, match="closed"):
                kernel.submit(Greet(name)).wait()
        Greeter.closed = False
        oldest = kernel.get_dlq_items()[1]
        planned = kernel.redrive_where(reason="rejected", dry_run=True)
        assert planned.redriven[0].trace_id == oldest.trace_id
        assert kernel.purge(reason="timeout") == 0
        assert kernel.purge([oldest.trace_id]) == 1
        report = kernel.redrive_where()
        assert (len(report.redriven), report.refused, kernel.purge()) == (1, (), 0)

    def test_plugins_come_and_go(self, kernel: BlockingKernel) -> None:
        """And can be asked about."""
        assert [(info.name, info.state) for info in kernel.plugins()] == [("greeter", "serving")]
        service = kernel.get_service_info("greeter")
        assert service is not None
        assert service.status is ServiceStatus.HEALTHY
        assert kernel.get_service_info("stranger") is None
        kernel.remove_plugin("greeter")
        assert kernel.plugins() == []
        with pytest.raises(PluginNotFoundError):
            kernel.remove_plugin("greeter")

    def test_the_host_tells_how_it_is(self, kernel: BlockingKernel) -> None:
        """Counters and health."""
        kernel.call(Greet("Ada"))

        assert kernel.statistics().plugins == {"serving": 1}
        assert kernel.statistics().bus.calls >= 1
        assert kernel.health().overall.status is ServiceStatus.HEALTHY

    def test_many_threads_call_at_once(self, kernel: BlockingKernel) -> None:
        """Each gets its own reply, while another one's call takes its time."""
        with ThreadPoolExecutor(9) as pool:
            slow = pool.submit(kernel.call, Block())
            replies = list(pool.map(lambda number: kernel.call(Greet(str(number))), range(50)))
            assert not slow.done()
            gate.set()
            assert slow.result(20) is None

        assert replies == [Greeting(f"Hi, {number}") for number in range(50)]


class TestLife:
    @pytest.mark.parametrize("error", [ValueError("body"), KeyboardInterrupt(), SystemExit(3)])
    @pytest.mark.parametrize("backend", ["asyncio", "trio"])
    def test_an_error_of_the_body_comes_out_as_it_is_and_the_host_has_stopped(
        self, error: BaseException, backend: str
    ) -> None:
        """Ctrl-C in a blocking host ends it as Ctrl-C, not as a group of errors."""
        threads = set(threading.enumerate())
        kept: list[Any] = []

        def host() -> None:
            with Kernel.blocking(backend=backend) as kernel:
                kept.append(kernel)
                kernel.add_plugin(Greeter)
                raise error

        with pytest.raises(type(error)) as caught:
            host()

        assert caught.value is error
        for thread in set(threading.enumerate()) - threads:
            if "WorkerThread" not in repr(thread):
                thread.join(20)
                assert not thread.is_alive(), f"{thread} goes on"
        with pytest.raises(RuntimeError, match="portal is not running"):
            kept[0].plugins()


class WhoAsks(Request[Greeting], tag="blocking.who_asks"):
    pass


class Asked(Plugin):
    @handler
    async def who(self, _: WhoAsks) -> Greeting:
        call = current_call()
        assert call is not None
        return Greeting(f"{call.tag} by {call.caller}")


def test_a_handler_that_never_waits_knows_no_call() -> None:
    """Also where the kernel was made in another thread than its event loop runs in."""
    with Kernel.blocking() as kernel:
        kernel.add_plugin(Asked)
        assert kernel.call(WhoAsks()).text == "blocking.who_asks by the host"
