"""The activity of one generation: what it does by itself while it serves, and that it rests while it is swapped."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from aetherra.kernel.loops import Loop, Relay
from aetherra.kernel.standing import Standing
from aetherra.kernel.tasks import Tasks, name_of
from aetherra.registry import Caller, Clock, Letter, Message, Overflow, Subscription


class Activity:
    """Hears events, repeats methods and forwards, each in a loop of its own, from when the generation serves.

    Args:
        caller: In whose name it hears and publishes.
        clock: The host's.
        tasks: Which run the loops.
        standing: Which contains what fails in them.
    """

    def __init__(self, caller: Caller, clock: Clock, tasks: Tasks, standing: Standing) -> None:
        self.serving = False
        self._caller = caller
        self._clock = clock
        self._tasks = tasks
        self._standing = standing
        self._paused = False
        self._loops: list[Loop[Any]] = []
        self._relays: list[Relay[Message]] = []
        self._subscriptions: list[Subscription[Any]] = []

    # What the plugin does

    def listen(
        self, what: Any, function: Callable[[Any], Awaitable[Message | None]], *, capacity: int, overflow: Overflow
    ) -> None:
        """Hear events, one at a time; what ``function`` returns is published."""
        subscription = self._caller.listen(what, capacity=capacity, overflow=overflow, attach=False)
        self._subscriptions.append(subscription)
        name = f"hearing {subscription.pattern!r}"

        async def hear(event: Message) -> None:
            answer = await function(event)
            if answer is not None:
                await self._caller.publish(answer)

        async def act(letter: Letter) -> None:
            with letter.heard(self._clock.monotonic()):
                await self._standing.contained(name, lambda: hear(letter.event))

        if self.serving:
            subscription.attach()
        self._add(Loop(name, subscription.receive, act))

    def repeat(self, interval: float, function: Callable[[], Awaitable[Any]], *, at_start: bool) -> None:
        """Run ``function`` every ``interval`` seconds.

        Raises:
            ValueError: There is nothing between.
        """
        name = f"repeating {name_of(function)}"
        if not interval > 0:
            raise ValueError(f"{name}: expected an interval of more than 0 seconds, got {interval!r}")
        due: float | None = None

        async def wait() -> None:
            nonlocal due
            now = self._clock.monotonic()
            if due is None:
                due = now + (0.0 if at_start else interval)
            await self._clock.sleep(max(0.0, due - now))

        async def act(_: None) -> None:
            nonlocal due
            due = self._clock.monotonic() + interval
            await self._standing.contained(name, function)

        self._add(Loop(name, wait, act))

    def forward(self, events: AsyncIterator[Message]) -> None:
        """Publish what an iterator yields; what was drawn from it before a stop is published, too."""
        relay = Relay(events)
        self._relays.append(relay)
        name = f"forwarding {name_of(events)}"
        drawing = False

        async def wait() -> Message:
            nonlocal drawing
            if not drawing:
                drawing = True
                self._tasks.start(name, relay.draw)
            return await anext(relay)

        async def publish(event: Message) -> None:
            await self._caller.publish(event)

        async def act(event: Message) -> None:
            await self._standing.contained(name, lambda: publish(event))

        self._add(Loop(name, wait, act))

    def _add(self, loop: Loop[Any]) -> None:
        self._loops.append(loop)
        if self.serving:
            self._start(loop)

    def _start(self, loop: Loop[Any]) -> None:
        if not self._paused:
            loop.resume()
        self._tasks.start(loop.name, loop.run)

    # When it does it

    def inherit(self, former: Activity) -> None:
        """Take over the mailboxes whose events both hear, with publishers that wait for room in them."""
        for subscription in self._subscriptions:
            late = next((each for each in former._subscriptions if each.pattern == subscription.pattern), None)
            if late is None:
                continue
            former._subscriptions.remove(late)
            late.leave()
            mailbox = late.mailbox
            mailbox.capacity, mailbox.overflow = subscription.mailbox.capacity, subscription.mailbox.overflow
            mailbox.dropped = 0  # the bus counted them when it detached the former
            subscription.mailbox = mailbox

    def attach(self) -> None:
        """Have events kept in the mailboxes."""
        for subscription in self._subscriptions:
            subscription.attach()

    def begin(self) -> None:
        """Run the loops."""
        self.serving = True
        for loop in self._loops:
            self._start(loop)

    def end(self) -> None:
        """Publish what was drawn, and hear nothing more; events that wait stay in their mailboxes."""
        self.serving = False
        for relay in self._relays:
            for event in relay.take():
                self._caller.publish_nowait(event)
        for subscription in self._subscriptions:
            subscription.close()

    async def pause(self) -> None:
        """Return when no event or repeated method is in hand; no new one is taken. ``resume`` undoes it."""
        self.hold()
        for loop in self._loops:
            await loop.pause()

    def hold(self) -> None:
        """Take no new event and run no repeated method; ``resume`` undoes it."""
        self._paused = True
        for loop in self._loops:
            loop.hold()

    def resume(self) -> None:
        """Take events again, and run the repeated methods."""
        self._paused = False
        if self.serving:
            for loop in self._loops:
                loop.resume()

    def in_hand(self) -> list[str]:
        """Return what is in hand now, each with where it waits."""
        return [f"{loop.name}, at\n{loop.stack()}" for loop in self._loops if loop.acting]
