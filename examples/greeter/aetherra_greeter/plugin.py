"""The greeter: a handler, an event, a metric, settings, and state that outlives its code."""

from collections.abc import Iterable

from aetherra.plugins import Message, MetricSample, Plugin, Settings, handler, hookimpl
from aetherra_greeter.messages import Farewell, Greet, Greeting


class GreeterState(Message, tag="greeter.state"):
    """What the next generation needs to know."""

    count: int = 0


class GreeterSettings(Settings):
    """How to greet."""

    greeting: str = "Hello"


class Greeter(Plugin[GreeterSettings]):
    """Greets, and counts."""

    name = "greeter"
    version = "0.1.0"
    requires = ("aetherra-api>=1,<2",)

    count = 0

    @handler
    async def greet(self, request: Greet) -> Greeting:
        """Answer a request."""
        self.count += 1
        return Greeting(f"{self.settings.greeting}, {request.name}", self.count)

    @handler
    async def wave(self, event: Farewell) -> None:
        """Hear an event."""
        self.ctx.log.info("good-bye, %s", event.name)

    @hookimpl
    def collect_metrics(self) -> Iterable[MetricSample]:
        """Homeostasis shows it as ``greeter.greetings``."""
        return [MetricSample("greetings", float(self.count), "greetings")]

    async def hand_over(self) -> GreeterState:
        """Tell the next generation."""
        return GreeterState(self.count)

    async def take_over(self, state: GreeterState) -> None:
        """Go on where the last generation was."""
        self.count = state.count
