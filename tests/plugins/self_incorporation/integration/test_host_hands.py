"""Integrations into real hosts, with hot swap, on both event loops: nothing stands in for anything."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from aetherra.hmr import GetCanary, HmrController, Reload, Rollback, TakeIn
from aetherra.kernel import Config, Kernel
from aetherra.plugins import AetherraError, HandlerError, NoHandlerError, Plugin, PluginContext
from aetherra.plugins.self_incorporation.code.classifier import FileKind
from aetherra.plugins.self_incorporation.integration.errors import IntegrationError
from aetherra.plugins.self_incorporation.integration.host_hands import CAPABILITIES, HostHands
from aetherra.plugins.self_incorporation.integration.integrator import CoreIntegrator
from aetherra.plugins.self_incorporation.integration.planner import IntegrationPlanner
from aetherra.plugins.self_incorporation.integration.probation import Terms
from tests.plugins.self_incorporation.integration.conftest import Leave, item_at, judged, snapshot

QUICK = Terms(look=0.01, first_time=0.05, traffic=0.0, seconds=30.0)
BUSY = Terms(look=0.02, first_time=0.05, traffic=0.2, seconds=20.0, share=0.5, margin=0.2)

LAMP = """
from aetherra.plugins import Message, Plugin, PluginContext, Request, Settings, State, handler

class Lit(Message, tag="lamp.lit"):
    text: str
    asked: int

class Light(Request[Lit], tag="lamp.light"):
    who: str = ""

class LampSettings(Settings):
    colour: str = "white"

class Asked(State):
    times: int

class Lamp(Plugin[LampSettings]):
    version = "{version}"
    asked = 0
    {attributes}

    @handler
    async def light(self, request: Light) -> Lit:
        {body}
        self.asked += 1
        return Lit(text="{version} " + self.settings.colour, asked=self.asked)

    async def start(self, ctx: PluginContext) -> None:
        {start}

    async def hand_over(self) -> Asked:
        return Asked(times=self.asked)

    async def take_over(self, state: Asked) -> None:
        self.asked = state.times
"""


FALLS = "ctx.start_soon(self.fall)\n\n    async def fall(self) -> None:\n        raise OSError('fell')"


class Integrating(Plugin):
    """Has the privilege, and nothing else to do."""

    name = "integrating"
    capabilities = (*CAPABILITIES, "submit:*")
    privileges = ("kernel:swap",)
    terms = QUICK
    integrator: CoreIntegrator

    async def start(self, ctx: PluginContext) -> None:
        assert ctx.data_dir is not None
        hands = HostHands(ctx, ctx.privilege("kernel:swap"), self.terms)
        self.integrator = CoreIntegrator(hands, ctx.data_dir, now=ctx.clock.time, log=ctx.log)
        await self.integrator.recover()
        type(self).last = self  # type: ignore[attr-defined]


class Host:
    """A real host, and a tree to take plugins from."""

    def __init__(self, kernel: Kernel, root: Path) -> None:
        self.kernel = kernel
        self.root = root

    @property
    def integrator(self) -> CoreIntegrator:
        return Integrating.last.integrator  # type: ignore[attr-defined,no-any-return]

    def lamp(self, version: str, *, body: str = "", start: str = "", attributes: str = "") -> None:
        text = LAMP.format(version=version, body=body or "pass", start=start or "pass", attributes=attributes)
        (self.root / "lamp.py").write_text(text, encoding="utf-8")

    async def integrate(
        self, *paths: str, settings: Any = None, kind: FileKind = FileKind.PLUGIN, **fields: Any
    ) -> str:
        items = [judged(item_at(self.root, path, kind, **fields)) for path in paths]
        plan = IntegrationPlanner().plan(items, await self.integrator.world(), at=0.0, settings=settings)
        assert plan.left_out == ()
        return (await self.integrator.integrate(plan, Leave())).token

    async def light(self, who: str = "") -> str:
        return str((await self.kernel.call_tag("lamp.light", {"who": who}))["text"])

    async def asked(self) -> int:
        return int((await self.kernel.call_tag("lamp.light"))["asked"])

    def held(self) -> dict[str, tuple[str, int, bytes]]:
        return snapshot(self.integrator.destination, self.integrator.folder / "registrations")


@asynccontextmanager
async def hosting(
    tmp_path: Path, *, terms: Terms = QUICK, watch: bool = False, hmr: bool = True, plugins: Any = None
) -> AsyncIterator[Host]:
    root = tmp_path / "project"
    root.mkdir(exist_ok=True)
    document = {"kernel": {"discover": False, "data_dir": str(tmp_path / "data")}, "plugins": plugins or {}}
    Integrating.terms = terms
    async with Kernel(Config.parse(document, root=root)) as kernel:
        if hmr:
            await kernel.add_plugin(HmrController, settings={"watch": watch, "drain_timeout": 0.5})
        await kernel.add_plugin(Integrating)
        yield Host(kernel, root)


class TestANewPlugin:
    @pytest.mark.parametrize("source", [{"source": "later"}, {}])
    async def test_comes_in_under_a_name_that_is_configured_and_nowhere(
        self, tmp_path: Path, source: dict[str, str]
    ) -> None:
        """With what the configuration says for it, in this run and the next."""
        configured = {"lamp": {**source, "colour": "green"}}
        async with hosting(tmp_path, plugins=configured) as host:
            host.lamp("1", start="")
            await host.integrate("lamp.py")
            assert "green" in await host.light()
        async with hosting(tmp_path, plugins=configured) as host:
            assert [(one.name, one.problem) for one in await host.integrator.bring_up()] == [("lamp", "")]
            assert "green" in await host.light()

    async def test_serves_and_is_gone_again(self, tmp_path: Path) -> None:
        """With its settings, in this run and the next."""
        async with hosting(tmp_path) as host:
            host.lamp("1")
            before = host.held()
            token = await host.integrate("lamp.py", settings={"lamp": {"colour": "red"}})
            assert await host.light() == "1 red"
        async with hosting(tmp_path) as host:
            assert [one.problem for one in await host.integrator.bring_up()] == [""]
            assert await host.light() == "1 red"
            await host.integrator.trigger_rollback(token, Leave())
            with pytest.raises(NoHandlerError):
                await host.light()
            assert host.held() == before
        async with hosting(tmp_path) as host:
            assert await host.integrator.bring_up() == ()

    @pytest.mark.parametrize(
        ("options", "expected"),
        [
            ({"start": "raise OSError('no lamp here')"}, "no lamp here"),
            (
                {"start": FALLS},
                "first time",
            ),
            ({"attributes": "privileges = ('kernel:swap',)", "start": "ctx.privilege('kernel:swap')"}, "kernel:swap"),
            ({"attributes": "requires = ('nobody',)"}, "nobody"),
        ],
    )
    async def test_that_does_not_do_well_leaves_nothing(self, tmp_path: Path, options: Any, expected: str) -> None:
        """What comes in has no privilege that the configuration does not grant."""
        async with hosting(tmp_path) as host:
            before = host.held()
            host.lamp("1", **options)
            with pytest.raises(IntegrationError, match=expected):
                await host.integrate("lamp.py")
            assert host.held() == before
            assert "lamp" not in await host.integrator._hands.plugins()

    async def test_that_the_configuration_turns_off_is_refused(self, tmp_path: Path) -> None:
        """The configuration is the owner's word, and is never changed."""
        async with hosting(tmp_path, plugins={"lamp": {"enabled": False}}) as host:
            host.lamp("1")
            with pytest.raises(IntegrationError, match="turns 'lamp' off"):
                await host.integrate("lamp.py")

    async def test_finds_utilities_that_came_in_with_it(self, tmp_path: Path) -> None:
        """They stand beside it."""
        async with hosting(tmp_path) as host:
            (host.root / "bulb.py").write_text("COLOUR = 'blue'\n", encoding="utf-8")
            await host.integrate("bulb.py", kind=FileKind.UTILITY)
            host.lamp("1", start="import bulb; self.settings = LampSettings(colour=bulb.COLOUR)")
            await host.integrate("lamp.py", imports=("bulb",))
            assert await host.light() == "1 blue"
            (host.root / "bulb.py").write_text("COLOUR = 'green'\n", encoding="utf-8")
            token = await host.integrate("bulb.py", kind=FileKind.UTILITY)
            assert await host.light() == "1 green"
            await host.integrator.trigger_rollback(token, Leave())
            assert await host.light() == "1 blue"


class TestNewCode:
    @pytest.mark.parametrize("watch", [False, True])
    async def test_without_calls_is_swapped_and_watched(self, tmp_path: Path, watch: bool) -> None:
        """With its state; and goes back with it, also in the next run, where nothing of the old is in memory."""
        async with hosting(tmp_path, watch=watch) as host:
            host.lamp("1")
            await host.integrate("lamp.py")
            first = host.held()
            assert await host.asked() == 1
            host.lamp("2")
            await host.integrate("lamp.py")
            assert await host.light() == "2 white"
            second = host.held()
            host.lamp("3")
            third = await host.integrate("lamp.py")
            await host.integrator.trigger_rollback(third, Leave())
            assert await host.light() == "2 white"
            assert await host.asked() == 4
            assert host.held() == second
            token = host.integrator.token_of("lamp")
        async with hosting(tmp_path, watch=watch) as host:
            await host.integrator.bring_up()
            await host.integrator.trigger_rollback(token, Leave())
            assert await host.light() == "1 white"
            assert host.held() == first

    @pytest.mark.parametrize("watch", [False, True])
    @pytest.mark.parametrize(
        "options",
        [
            {"start": "raise OSError('no lamp here')"},
            {"start": FALLS},
            {"attributes": "requires = ("},
        ],
    )
    async def test_that_does_not_do_well_leaves_the_old(self, tmp_path: Path, watch: bool, options: Any) -> None:
        """Serving with its state, and its files in their places."""
        async with hosting(tmp_path, watch=watch) as host:
            host.lamp("1")
            await host.integrate("lamp.py")
            before = host.held()
            assert await host.asked() == 1
            host.lamp("2", **options)
            with pytest.raises(IntegrationError):
                await host.integrate("lamp.py")
            assert await host.light() == "1 white"
            assert await host.asked() == 3
            assert host.held() == before

    async def test_that_imports_late_is_no_other_code(self, tmp_path: Path) -> None:
        """Neither in its first time nor later; earlier code that somebody has brought back is."""
        (tmp_path / "project").mkdir()
        (tmp_path / "project" / "late.py").write_text("V = 1\n", encoding="utf-8")
        async with hosting(tmp_path, terms=Terms(look=0.01, first_time=0.3, traffic=0.0)) as host:
            await host.integrate("late.py", kind=FileKind.UTILITY)
            host.lamp("1")
            await host.integrate("lamp.py", imports=("late",))
            host.lamp(
                "2", body="import late", start="ctx.start_soon(self.soon)\n\n    async def soon(self): import late"
            )
            token = await host.integrate("lamp.py", imports=("late",))
            await host.light()
            assert await host.integrator.strayed() == {}
            await host.kernel.call(Reload("lamp"))
            assert await host.integrator.strayed() == {}
            await host.kernel.call(Rollback("lamp"))
            await host.kernel.call(Rollback("lamp"))
            assert await host.light() == "2 white"
            host.lamp("3")
            token = await host.integrate("lamp.py", imports=("late",))
            await host.kernel.call(Rollback("lamp"))
            assert await host.light() == "2 white"
            assert await host.integrator.strayed() == {"lamp": token}
            await host.integrator.trigger_rollback(token, Leave())
            assert await host.integrator.strayed() == {}
            assert await host.light() == "2 white"

    async def test_needs_hot_swap(self, tmp_path: Path) -> None:
        """Without it there is no new code, and the way back of what came in goes all the same."""
        async with hosting(tmp_path, hmr=False) as host:
            host.lamp("1")
            token = await host.integrate("lamp.py")
            host.lamp("2")
            with pytest.raises(IntegrationError, match=r"hmr\.reload"):
                await host.integrate("lamp.py")
            assert await host.light() == "1 white"
            await host.integrator.trigger_rollback(token, Leave())
            assert host.held() == {}

    async def test_goes_back_though_what_the_old_promised_is_broken(self, tmp_path: Path) -> None:
        """A way back that needs somebody's consent would be none."""
        async with hosting(tmp_path) as host:
            host.lamp("1")
            await host.integrate("lamp.py")
            host.lamp("2", attributes="@handler\n    async def dim(self, request: Dim) -> None: ...\n")
            text = (host.root / "lamp.py").read_text(encoding="utf-8")
            (host.root / "lamp.py").write_text(
                text.replace(
                    "class LampSettings", "class Dim(Request[None], tag='lamp.dim'): ...\n\nclass LampSettings"
                ),
                encoding="utf-8",
            )
            token = await host.integrate("lamp.py")
            await host.kernel.call_tag("lamp.dim")
            await host.integrator.trigger_rollback(token, Leave())
            assert await host.light() == "1 white"


@asynccontextmanager
async def calls(host: Host) -> AsyncIterator[list[BaseException]]:
    """Have a plugin called all the time, by ever other callers; yields what went wrong."""
    wrong: list[BaseException] = []
    stop = anyio.Event()

    async def call() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            try:
                await host.light(str(number))
            except AetherraError as exc:
                wrong.append(exc)
            await anyio.sleep(0.0005)

    async with anyio.create_task_group() as group:
        group.start_soon(call)
        yield wrong
        stop.set()


class TestNewCodeUnderLoad:
    @pytest.mark.parametrize("watch", [False, True])
    async def test_that_is_as_good_is_let_through_by_a_canary(self, tmp_path: Path, watch: bool) -> None:
        """Not one call is lost."""
        async with hosting(tmp_path, terms=BUSY, watch=watch) as host:
            host.lamp("1")
            await host.integrate("lamp.py")
            async with calls(host) as wrong:
                host.lamp("2")
                plan = IntegrationPlanner().plan(
                    [judged(item_at(host.root, "lamp.py"))], await host.integrator.world(), at=0.0
                )
                done = await host.integrator.integrate(plan, Leave())
                assert await host.light() == "2 white"
            assert "let through by its canary" in done.notes[0]
            assert wrong == []

    @pytest.mark.parametrize("watch", [False, True])
    async def test_that_fails_more_is_not(self, tmp_path: Path, watch: bool) -> None:
        """The old one serves on, and nobody tries the files again."""
        async with hosting(tmp_path, terms=BUSY, watch=watch) as host:
            host.lamp("1")
            await host.integrate("lamp.py")
            before = host.held()
            async with calls(host) as wrong:
                host.lamp("2", body="if len(request.who) % 2: raise OSError('dark')")
                with pytest.raises(IntegrationError, match="it fails more"):
                    await host.integrate("lamp.py")
                failed = len(wrong)
                await host.kernel.call(TakeIn("lamp"))
                assert await host.light("1") == "1 white"
            assert failed
            assert len(wrong) == failed
            assert host.held() == before
            with pytest.raises(HandlerError, match="has no canary"):
                await host.kernel.call(GetCanary("lamp"))

    async def test_of_which_too_little_is_known_is_not(self, tmp_path: Path) -> None:
        """No verdict is no reason to let it through."""
        terms = Terms(look=0.01, traffic=0.2, seconds=1.0, share=0.5, margin=0.9, first_time=0.05)
        async with hosting(tmp_path, terms=terms) as host:
            host.lamp("1")
            await host.integrate("lamp.py")
            before = host.held()
            async with calls(host):
                host.lamp("2", body="import anyio; await anyio.sleep_forever()")
                with pytest.raises(IntegrationError, match="too little is known"):
                    await host.integrate("lamp.py")
                assert host.held() == before

    async def test_that_can_have_no_canary_is_swapped_and_watched(self, tmp_path: Path) -> None:
        """As an exclusive one, of which no two generations run at once."""
        async with hosting(tmp_path, terms=BUSY) as host:
            host.lamp("1", attributes="exclusive = True")
            await host.integrate("lamp.py")
            async with calls(host):
                host.lamp("2", attributes="exclusive = True")
                await host.integrate("lamp.py")
                assert await host.light() == "2 white"

    async def test_a_canary_that_is_cancelled_leaves_none(self, tmp_path: Path) -> None:
        """Whoever waits for an integration may give up at any moment."""
        terms = Terms(look=0.02, traffic=0.05, seconds=1000.0, share=0.01, first_time=0.05)
        async with hosting(tmp_path, terms=terms) as host:
            host.lamp("1")
            await host.integrate("lamp.py")
            before = host.held()
            async with calls(host):
                host.lamp("2")
                with anyio.move_on_after(0.4):
                    await host.integrate("lamp.py")
            assert host.held() == before
            with pytest.raises(HandlerError, match="has no canary"):
                await host.kernel.call(GetCanary("lamp"))
            assert await host.light() == "1 white"


class TestAWorkflow:
    async def test_is_done_by_actions_and_undone_by_actions(self, tmp_path: Path) -> None:
        """Through the host's queue, in order."""
        async with hosting(tmp_path) as host:
            host.lamp("1")
            await host.integrate("lamp.py")
            flow = '[{"tag": "lamp.light", "body": {"who": "x"}, "undo": {"tag": "lamp.light", "body": {}}}]'
            (host.root / "flow.json").write_text(flow, encoding="utf-8")
            token = await host.integrate("flow.json", kind=FileKind.WORKFLOW)
            assert await host.asked() == 2
            await host.integrator.trigger_rollback(token, Leave())
            assert await host.asked() == 4

    async def test_that_fails_is_said_to(self, tmp_path: Path) -> None:
        """By the action's own error."""
        async with hosting(tmp_path) as host:
            host.lamp("1", body="from aetherra.plugins import Reject; raise Reject('not today')")
            await host.integrate("lamp.py")
            (host.root / "flow.json").write_text('[{"tag": "lamp.light"}]', encoding="utf-8")
            with pytest.raises(IntegrationError, match="not today"):
                await host.integrate("flow.json", kind=FileKind.WORKFLOW)
            assert set(host.integrator.registered) == {"lamp"}
