"""Plugins that watch all messages by hooks, and a bus that has nobody to tell while none does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from aetherra.kernel import Config, Kernel, Plugin, handler, hookimpl
from aetherra.kernel.testing import FakeClock, run_plugin
from aetherra.registry import (
    Call,
    CapabilityError,
    HandlerError,
    Identity,
    Message,
    NoHandlerError,
    Request,
    ServiceStatus,
    current_call,
)


class Said(Message, tag="speaker.said"):
    text: str


class Speak(Request[Said], tag="speaker.speak"):
    text: str


class Speaker(Plugin):
    @handler
    async def speak(self, request: Speak) -> Said:
        if not request.text:
            raise ValueError("nothing to say")
        said = Said(request.text)
        await self.ctx.publish(said)
        return said


class Watcher(Plugin):
    seen: list[tuple[Any, ...]]

    async def start(self, ctx: Any) -> None:
        type(self).seen = []

    @hookimpl
    def before_call(self, call: Call, request: Request[Any]) -> None:
        self.seen.append(("before", call.tag, str(call.caller), request))

    @hookimpl
    def after_call(self, call: Call, seconds: float, error: BaseException | None) -> None:
        self.seen.append(("after", call.tag, type(error).__name__, seconds >= 0))

    @hookimpl
    def event_published(self, event: Message, publisher: Identity, kept: int) -> None:
        if isinstance(event, Said):
            self.seen.append(("event", event, str(publisher), kept))

    @hookimpl
    def act_refused(self, who: Identity, tag: str, error: Exception) -> None:
        self.seen.append(("refused", tag, type(error).__name__))
        raise RuntimeError("a watcher's own fault")


class TestWatching:
    async def test_a_watcher_misses_something(self) -> None:
        """Calls before and after, with their errors, events, and refusals; its own faults are logged, no more."""
        async with Kernel() as kernel:
            await kernel.add_plugin(Speaker)
            assert kernel.bus.observer is None
            await kernel.add_plugin(Watcher)
            assert kernel.bus.observer is not None
            assert (await kernel.call(Speak("hi"))).text == "hi"
            with pytest.raises(HandlerError):
                await kernel.call(Speak(""))
            with pytest.raises(NoHandlerError):
                await kernel.call_tag("speaker.spek")
            await kernel.remove_plugin("watcher")
            assert kernel.bus.observer is None
            await kernel.call(Speak("unseen"))
        assert Watcher.seen == [
            ("before", "speaker.speak", "the host", Speak("hi")),
            ("event", Said("hi"), "plugin 'speaker' (generation 1)", 0),
            ("after", "speaker.speak", "NoneType", True),
            ("before", "speaker.speak", "the host", Speak("")),
            ("after", "speaker.speak", "HandlerError", True),
            ("refused", "speaker.spek", "NoHandlerError"),
        ]


NOSY = """
from aetherra.plugins import Message, Plugin, Request, handler

class Said(Message, tag="speaker.said"):
    text: str

class Speak(Request[Said], tag="speaker.speak"):
    text: str

class Peek(Request[Said], tag="nosy.peek"):
    pass

class Nosy(Plugin):
    @handler
    async def peek(self, request: Peek) -> Said:
        return await self.ctx.call(Speak("pst"))
"""


class TestGrants:
    @pytest.mark.parametrize(("grants", "granted"), [([], False), (["call:speaker.*"], True)])
    async def test_prod_lets_pass_what_no_grant_covers(self, tmp_path: Path, grants: list[str], granted: bool) -> None:
        """A plugin may call another if the configuration says so; the error says what to write where."""
        (tmp_path / "nosy.py").write_text(NOSY, encoding="utf-8")
        document = {
            "profile": "prod",
            "kernel": {"data_dir": None, "discover": False, "durability": "none"},
            "plugins": {"nosy": {"source": "nosy.py", "grants": grants}},
        }
        async with Kernel(Config.parse(document, root=tmp_path)) as kernel:
            await kernel.add_plugin(Speaker)
            if granted:
                assert (await kernel.call_tag("nosy.peek")) == {"text": "pst"}
                return
            with pytest.raises(HandlerError) as raised:
                await kernel.call_tag("nosy.peek")
            assert isinstance(raised.value.__cause__, CapabilityError)
            assert "add 'call:speaker.speak' to plugins.nosy.grants" in str(raised.value)


class Beating(Plugin):
    heartbeat = 60.0


class TestHeartbeats:
    async def test_silence_goes_unnoticed(self) -> None:
        """A service that sends no heartbeat for its time is degraded, and healthy with the next."""
        clock = FakeClock()
        async with run_plugin(Beating, clock=clock) as kernel:

            def status() -> ServiceStatus:
                info = kernel.registry.get_service_info("beating")
                assert info is not None
                return info.status

            await clock.advance(50.0)
            assert status() is ServiceStatus.HEALTHY
            await clock.advance(40.0)
            assert status() is ServiceStatus.DEGRADED
            (entry,) = kernel._running().plugins.entries()
            assert entry.generation is not None
            entry.generation.context.heartbeat()
            assert status() is ServiceStatus.HEALTHY


class Note(Request[Said], tag="noter.note"):
    text: str


class Later(Request[Said], tag="noter.later"):
    text: str


class Noter(Plugin):
    noted: dict[str, tuple[str, str, str]]

    async def start(self, ctx: Any) -> None:
        type(self).noted = {}

    def _note(self, name: str) -> None:
        call = current_call()
        assert call is not None
        self.noted[name] = (call.id, call.trace_id, call.causation_id)

    @handler
    async def note(self, request: Note) -> Said:
        self._note("call")
        handle = await self.ctx.submit(Later(request.text))
        return await handle.wait()

    @handler
    async def later(self, request: Later) -> Said:
        self._note("in the action")
        await self.ctx.publish(Said(request.text))
        return Said(request.text)

    @handler
    async def on_said(self, event: Said) -> None:
        self._note("event")


class TestConversation:
    async def test_an_action_begins_a_conversation_of_its_own(self) -> None:
        """A call, the action that it submits, and the event that this publishes are one; each names its cause."""
        async with run_plugin(Noter) as kernel:
            await kernel.call(Note("hi"))
            await kernel.bus.clock.advance(0)  # type: ignore[attr-defined]
        noted = Noter.noted
        call_id, trace, cause = noted["call"]
        assert (call_id, cause) == (trace, "")
        assert {trace_id for _, trace_id, _ in noted.values()} == {trace}
        assert noted["event"][2] == noted["in the action"][0]


class TestRequirements:
    async def test_a_service_is_alone(self) -> None:
        """It tells what it requires, and what of that is missing; others tell who depends on it."""

        class Base(Plugin):
            name = "base"

        class Upper(Plugin):
            name = "upper"
            requires = ("base",)

        async with Kernel() as kernel:
            await kernel.add_plugin(Base)
            await kernel.add_plugin(Upper)
            info = kernel.registry.get_service_info("upper")
            assert info is not None
            assert (info.requires, info.unmet) == (("base",), ())
            assert kernel.registry.dependents("base") == ("upper",)
            kernel.registry.unregister("base")
            info = kernel.registry.get_service_info("upper")
            assert info is not None
            assert info.unmet == ("base",)
