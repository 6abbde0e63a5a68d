"""A canary: old and new side by side, each key on its side, until the new one is promoted or aborted."""

from __future__ import annotations

import gc
import sys
import weakref
from contextlib import suppress
from itertools import count as numbers

import anyio
import anyio.lowlevel
import pytest

from aetherra.hmr import (
    Abort,
    Canary,
    CanaryError,
    GetCanary,
    HmrController,
    Prepared,
    Promote,
    Rollback,
    SwapError,
    Swapped,
)
from aetherra.kernel import Config, Kernel
from aetherra.kernel.testing import FakeClock
from aetherra.plugins import HandlerError, Message, Request
from aetherra.registry import Figures, NoHandlerError, ServiceStoppedError, SplitKeyError, connect_blocking

SHOP = """
import pathlib

import msgspec
from aetherra.plugins import Message, MetricSample, Plugin, Request, every, handler, hookimpl

VERSION = 1


class Answer(Message, tag="shop.answer"):
    version: int
    count: int


class Ask(Request[Answer], tag="shop.ask"):
    user: int


class Wait(Request[Answer], tag="shop.wait"):
    user: int


class Tick(Message, tag="clock.tick"):
    pass


class Beat(Message, tag="shop.beat"):
    version: int


class State(msgspec.Struct):
    count: int


class Shop(Plugin):
    name = "shop"

    count = 0

    @handler
    async def ask(self, request: Ask) -> Answer:
        self.count += 1
        return Answer(VERSION, self.count)

    @handler
    async def wait(self, request: Wait) -> Answer:
        await self.ctx.call_tag("gate.wait", {"name": f"wait {VERSION}"})
        return await self.ask(Ask(request.user))

    @handler
    async def hear(self, tick: Tick) -> Beat:
        return Beat(VERSION)

    @every(10.0)
    async def beat(self) -> None:
        await self.ctx.publish(Beat(VERSION))

    @hookimpl
    def collect_metrics(self):
        return [MetricSample("version", float(VERSION), "")]

    async def start(self, ctx) -> None:
        pass

    async def self_test(self) -> None:
        pass

    async def stop(self) -> None:
        pathlib.Path(__file__).with_name(f"stopped {VERSION}").touch()

    async def hand_over(self) -> State:
        return State(self.count)

    async def take_over(self, state: State) -> None:
        self.count = state.count
"""
NEW_TAG = """
class Buy(Request[Answer], tag="shop.buy"):
    user: int


class State"""
NEW_HANDLER = """
    @handler
    async def buy(self, request: Buy) -> Answer:
        return Answer(VERSION, 0)

    async def start"""


class Tick(Message, tag="clock.tick"):
    pass


class Answer(Message, tag="shop.answer"):
    version: int
    count: int


class Ask(Request[Answer], tag="shop.ask"):
    user: int


def save(project, *changes, version):
    text = SHOP.replace("VERSION = 1", f"VERSION = {version}")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    project.write("shop.py", text)


@pytest.fixture
def shop(project):
    """A host with the shop, whose second version is on disk."""

    def host(*changes, clock=None, old=(), **hmr):
        save(project, *old, version=1)
        plugins = {"shop": {"source": "shop.py"}}
        return project.host(plugins, hmr={"watch_period": 0, **hmr}, clock=clock)

    return host


async def version(kernel, user, tag="shop.ask"):
    return (await kernel.call_tag(tag, {"user": user}))["version"]


async def count(kernel, user=0):
    return (await kernel.call_tag("shop.ask", {"user": user}))["count"]


async def users_of(kernel, number=200):
    """Return which of so many users the candidate has, by asking for each."""
    return {user for user in range(number) if await version(kernel, user) != 1}


async def fails(kernel, request, error):
    """Return the error that a request to hot swap is answered with."""
    with pytest.raises(HandlerError) as caught:
        await kernel.call(request)
    assert isinstance(caught.value.__cause__, error), caught.value.__cause__
    return caught.value.__cause__


def loaded():
    return {name for name in sys.modules if name.startswith("shop@")}


class TestSplit:
    async def test_a_share_of_the_calls_is_not_met(self, project, shop):
        """Of 1,000 users at 10 %, 5 to 15 % meet the candidate, each for as long as it runs; figures add up."""
        async with shop() as kernel:
            save(project, version=2)
            status = await kernel.call(Canary("shop", key="user"))
            assert (status.control.generation, status.candidate.generation) == (1, 2)
            assert (status.share, status.seen_share, status.key) == (0.1, None, "user")

            chosen = await users_of(kernel, 1000)
            assert 50 <= len(chosen) <= 150
            assert await users_of(kernel, 1000) == chosen

            status = await kernel.call(GetCanary("shop"))
            assert status.seen_share == len(chosen) / 1000
            assert status.candidate.total.calls == status.candidate.tags["shop.ask"].calls == 2 * len(chosen)
            assert status.control.total.calls == 2000 - 2 * len(chosen)
            assert status.control.total.latency.p99 is not None
            assert status.candidate.tags["shop.wait"] == Figures()

    async def test_a_greater_share_takes_users_back(self, project, shop):
        """Whoever meets the candidate meets it at any greater share; the same request tells the host of that."""
        async with shop() as kernel:
            save(project, version=2)
            chosen = set()
            for share in (0.0, 0.1, 0.3, 0.8, 1.0):
                status = await kernel.call(Canary("shop", share, "user"))
                assert (status.share, status.candidate.generation) == (share, 2)
                now = await users_of(kernel)
                assert chosen <= now
                chosen = now
            assert len(chosen) == 200

    async def test_without_a_key_no_call_is_split(self, project, shop):
        """It is all that a request says."""
        async with shop() as kernel:
            save(project, version=2)
            await kernel.call(Canary("shop", 0.5))
            chosen = await users_of(kernel)
            assert 50 <= len(chosen) <= 150
            assert await users_of(kernel) == chosen

    async def test_the_way_of_a_call_decides(self, project, shop):
        """By class, by tag, from a client in another process, as an action: a user is on one side."""
        async with shop() as kernel:
            save(project, version=2)
            await kernel.call(Canary("shop", 0.5, "user"))
            client = kernel.bus.caller(kernel.bus.route("shop.ask").provider)
            chosen = await users_of(kernel, 60)
            for user in range(60):
                expected = 2 if user in chosen else 1
                assert (await kernel.call(Ask(user))).version == expected
                assert (await client.call(Ask(user))).version == expected
                assert b'"version":%d' % expected in await client.call_json("shop.ask", b'{"user": %d}' % user)
                assert (await (await kernel.submit(Ask(user))).wait()).version == expected

    @pytest.mark.parametrize("backend", ["asyncio", "trio"])
    def test_a_caller_that_is_not_async_meets_another_side(self, project, backend):
        """A thread of the host and a client at the control socket meet the same side as each other."""
        save(project, version=1)
        document = {"kernel": {"discover": False, "data_dir": "data"}, "plugins": {"shop": {"source": "shop.py"}}}
        with Kernel.blocking(Config.parse(document, root=project.root), backend=backend) as kernel:
            kernel.add_plugin(HmrController)
            save(project, version=2)
            kernel.call(Canary("shop", 0.5, "user"))
            with connect_blocking(project.root / "data" / "control.sock") as client:
                sides = [kernel.call(Ask(user)).version for user in range(60)]
                assert [client.call(Ask(user)).version for user in range(60)] == sides
                assert [client.call_tag("shop.ask", {"user": user})["version"] for user in range(60)] == sides
            assert set(sides) == {1, 2}

    async def test_a_field_that_there_is_not_is_the_key(self, project, shop):
        """The error says which requests lack it, and nothing of the candidate is left."""
        async with shop(old=[("    user: int\n\n\nclass Tick", "    who: int\n\n\nclass Tick")]) as kernel:
            before = loaded()
            save(project, ("    user: int\n\n\nclass Tick", "    who: int\n\n\nclass Tick"), version=2)
            error = await fails(kernel, Canary("shop", key="user"), SplitKeyError)
            assert (error.lacking, error.having) == (("shop.wait",), ("shop.ask",))
            assert (project.root / "stopped 2").exists()
            assert loaded() == before
            await fails(kernel, GetCanary("shop"), CanaryError)

    @pytest.mark.parametrize("share", [-0.1, 1.5])
    async def test_there_is_a_share_outside_of_everything(self, project, shop, share):
        """A share is from 0 to 1, at the beginning and later."""
        async with shop() as kernel:
            await fails(kernel, Canary("shop", share), SwapError)
            await kernel.call(Canary("shop", 0.5))
            await fails(kernel, Canary("shop", share), ValueError)
            assert (await kernel.call(GetCanary("shop"))).share == 0.5

    async def test_the_key_changes_on_the_way(self, project, shop):
        """That would move users to and fro: abort it first. Without a key the share alone is changed."""
        async with shop() as kernel:
            await kernel.call(Canary("shop", 0.5, "user"))
            assert "by 'user'" in str(await fails(kernel, Canary("shop", 0.6, "other"), CanaryError))
            status = await kernel.call(Canary("shop", 0.6))
            assert (status.share, status.key) == (0.6, "user")

    async def test_a_tag_of_the_candidates_own_is_answered(self, project, shop):
        """It is, once the candidate serves; until then the status names it."""
        async with shop() as kernel:
            save(project, ("\nclass State", NEW_TAG), ("\n    async def start", NEW_HANDLER), version=2)
            status = await kernel.call(Canary("shop", 1.0))
            assert status.new_tags == ("shop.buy",)
            with pytest.raises(NoHandlerError):
                await version(kernel, 1, "shop.buy")
            await kernel.call(Promote("shop"))
            assert await version(kernel, 1, "shop.buy") == 2

    async def test_errors_are_not_told_apart(self, project, shop):
        """Whose error it is stands in the error, and in the figures of that side alone."""
        async with shop() as kernel:
            save(project, ("        self.count += 1\n", "        raise KeyError(request.user)\n"), version=2)
            await kernel.call(Canary("shop", 0.5, "user"))
            answered, failed = [], []
            for user in range(40):
                try:
                    answered.append(await version(kernel, user))
                except HandlerError as exc:
                    failed.append(exc.generation)
            status = await kernel.call(GetCanary("shop"))
            assert (set(answered), set(failed)) == ({1}, {2})
            assert len(failed) == status.candidate.total.errors == status.candidate.tags["shop.ask"].errors
            assert status.candidate.total.error_types == {"KeyError": len(failed)}
            assert (status.control.total.errors, status.control.total.calls) == (0, len(answered))


class TestRest:
    async def test_both_generations_act(self, project, shop):
        """Events are heard once and by the old one, its methods repeated, its hooks asked, its service its own."""
        clock = FakeClock()
        async with shop(clock=clock) as kernel:
            save(project, version=2)
            await kernel.call(Canary("shop", 1.0))
            assert await version(kernel, 1) == 2
            with kernel.bus.subscribe("shop.beat") as beats:
                await kernel.publish(Tick())
                assert (await beats.receive()).event.version == 1
                await clock.advance(10.0)
                assert (await beats.receive()).event.version == 1
                assert not beats.mailbox.items
                assert kernel.registry.get_service_info("shop").generation == 1
                assert [plugin.generation for plugin in kernel.plugins() if plugin.name == "shop"] == [1]

                await kernel.call(Promote("shop"))
                await kernel.publish(Tick())
                assert (await beats.receive()).event.version == 2
                await clock.advance(10.0)
                assert (await beats.receive()).event.version == 2
                assert not beats.mailbox.items
                assert kernel.registry.get_service_info("shop").generation == 2


class TestBegin:
    async def test_the_candidate_begins_without_the_state(self, project, shop):
        """It takes a copy, the old one goes on with its own; at promotion the old one's is handed over again."""
        async with shop() as kernel:
            for _ in range(5):
                await count(kernel)
            save(project, version=2)
            await kernel.call(Canary("shop", 1.0))
            assert await count(kernel) == 6
            assert await count(kernel) == 7
            await kernel.call(Canary("shop", 0.0))
            assert await count(kernel) == 6
            await kernel.call(Promote("shop"))
            assert await kernel.call_tag("shop.ask", {"user": 0}) == {"version": 2, "count": 7}

    async def test_a_copy_is_taken_in_the_middle_of_a_call(self, project, shop):
        """The copy is of the state between two calls: what is in hand is finished first, as in a swap."""
        async with shop() as kernel:
            save(project, version=2)
            project.shut("wait 1")
            begun = []

            async def begin():
                begun.append(await kernel.call(Canary("shop", 1.0)))

            async with anyio.create_task_group() as group:
                group.start_soon(version, kernel, 1, "shop.wait")
                await project.reached("wait 1")
                group.start_soon(begin)
                with anyio.fail_after(10):
                    while kernel.bus.routing.parking("shop.ask") is None:  # noqa: ASYNC110  # polls what has no event
                        await anyio.sleep(0.001)
                assert begun == []
                project.open("wait 1")
            assert await kernel.call_tag("shop.ask", {"user": 1}) == {"version": 2, "count": 2}

    async def test_a_candidate_cannot_add_what_it_did(self, project, shop):
        """One that knows what it was given first can tell its own part, and add it to what it is given at last."""
        merging = ("self.count = state.count", "self.count += state.count - self.given; self.given = state.count")
        async with shop() as kernel:
            await count(kernel)
            save(project, merging, ("    count = 0\n", "    count = given = 0\n"), version=2)
            await kernel.call(Canary("shop", 0.5, "user"))
            for user in range(100):
                await count(kernel, user)
            await kernel.call(Promote("shop"))
            assert await count(kernel) == 102

    @pytest.mark.parametrize(
        ("code", "change"),
        [
            ("load_failed", ("class Shop(Plugin)", "class Shop(")),
            ("contract_broken", ("    user: int\n\n\nclass Wait", "    user: int\n    more: int\n\n\nclass Wait")),
            ("probe_failed", ("ctx) -> None:\n        pass", "ctx) -> None:\n        raise OSError(1)")),
            ("probe_failed", ("self_test(self) -> None:\n        pass", "self_test(self) -> None:\n        1 / 0")),
            ("state_import_failed", ("        self.count = state.count", "        raise OSError(1)")),
            ("state_import_failed", ("    async def take_over", "    async def taking_over")),
        ],
    )
    async def test_a_candidate_that_fails_its_probe_gets_calls(self, project, shop, code, change):
        """It is probed as in a swap, and nothing of it is left if it fails; a better one may be tried at once."""
        async with shop() as kernel:
            before = loaded()
            save(project, change, version=2)
            error = await fails(kernel, Canary("shop", 1.0), SwapError)
            assert error.code == code
            assert await version(kernel, 1) == 1
            assert loaded() == before
            await fails(kernel, GetCanary("shop"), CanaryError)

            save(project, version=2)
            await kernel.call(Canary("shop", 1.0))
            assert await version(kernel, 1) == 2

    @pytest.mark.parametrize("which", ["old", "new"])
    async def test_an_exclusive_plugin_has_a_canary(self, project, shop, which):
        """No two generations of it can run at once, so it cannot; the error says what to do."""
        exclusive = [('    name = "shop"\n', '    name = "shop"\n    exclusive = True\n')]
        async with shop(old=exclusive if which == "old" else ()) as kernel:
            save(project, *(exclusive if which == "new" else ()), version=2)
            assert "exclusive" in str(await fails(kernel, Canary("shop"), CanaryError))
            assert await version(kernel, 1) == 1

    async def test_a_plugin_that_does_not_serve_has_a_canary(self, project, shop):
        """There is nothing to go beside."""
        async with shop(old=[("class Shop(Plugin)", "class Shop(")]) as kernel:
            save(project, version=2)
            assert "does not serve" in str(await fails(kernel, Canary("shop"), CanaryError))

    async def test_a_plugin_without_requests_has_a_canary(self, project, shop):
        """There is nothing to split."""
        async with shop() as kernel:
            text = 'from aetherra.plugins import Plugin\n\nclass Shop(Plugin):\n    name = "shop"\n    version = "1"\n'
            project.write("shop.py", text)
            assert "no request" in str(await fails(kernel, Canary("shop"), CanaryError))
            assert await version(kernel, 1) == 1


class TestPromotion:
    async def test_a_promotion_is_no_swap(self, project, shop):
        """It is told as one, with the state, and can be rolled back as one."""
        async with shop() as kernel:
            save(project, version=2)
            await kernel.call(Canary("shop", 0.1))
            with kernel.bus.subscribe(Swapped) as swaps, kernel.bus.subscribe(Prepared) as prepared:
                swapped = await kernel.call(Promote("shop"))
                assert (swapped.old_generation, swapped.generation, swapped.how) == (1, 2, "canary")
                assert [path.rpartition("/")[2] for path in swapped.changed] == ["shop.py"]
                assert (await swaps.receive()).event == swapped
                assert (await prepared.receive()).event.generation == 2
            assert {await version(kernel, user) for user in range(50)} == {2}
            await fails(kernel, GetCanary("shop"), CanaryError)
            await fails(kernel, Promote("shop"), CanaryError)
            await kernel.call(Rollback("shop"))
            assert await version(kernel, 1) == 1

    async def test_calls_in_hand_of_the_candidate_are_cut_off(self, project, shop):
        """A promotion waits for them as for the old one's, and the state comes after; the canary waits for no third."""
        clock = FakeClock()
        async with shop(clock=clock) as kernel:
            save(project, version=2)
            await kernel.call(Canary("shop", 1.0))
            project.shut("wait 2")
            versions, errors = [], []

            async def wait():
                versions.append(await version(kernel, 1, "shop.wait"))

            async def promote():
                errors.append(await fails(kernel, Promote("shop"), SwapError))

            async with anyio.create_task_group() as group:
                group.start_soon(wait)
                await project.reached("wait 2")
                group.start_soon(promote)
                await clock.advance(10.0)
                assert [error.code for error in errors] == ["quiesce_timeout"]
                assert "candidate's calls in hand" in str(errors[0])
                assert (await kernel.call(GetCanary("shop"))).candidate.total.in_hand == 1
                assert await version(kernel, 1) == 2
                project.open("wait 2")
            assert versions == [2]
            await kernel.call(Promote("shop"))
            assert await version(kernel, 1) == 2

    @pytest.mark.parametrize("step", ["hand_over", "take_over"])
    async def test_a_promotion_that_fails_leaves_a_candidate(self, project, shop, step):
        """Once the state was touched the canary is over, and the old one serves alone with all it has."""
        giving = ("        return State(", "        assert self.count < 3\n        return State(")
        taking = ("        self.count = state", "        assert state.count < 3\n        self.count = state")
        async with shop(old=[giving] if step == "hand_over" else []) as kernel:
            before = loaded()
            await count(kernel)
            save(project, *([taking] if step == "take_over" else []), version=2)
            await kernel.call(Canary("shop", 0.0))
            assert [await count(kernel) for _ in range(3)] == [2, 3, 4]
            error = await fails(kernel, Promote("shop"), SwapError)
            assert error.code == "state_import_failed"
            assert await count(kernel) == 5
            assert loaded() == before
            await fails(kernel, GetCanary("shop"), CanaryError)

    async def test_a_tag_of_another_plugin_is_taken_at_promotion(self, project, shop):
        """A conflict shows when the candidate would answer alone; the old one then serves on with all of its calls."""
        theft = ('tag="shop.buy"', 'tag="gate.wait"')
        async with shop() as kernel:
            changes = ("\nclass State", NEW_TAG.replace(*theft)), ("\n    async def start", NEW_HANDLER)
            save(project, *changes, version=2)
            await kernel.call(Canary("shop", 1.0))
            assert await version(kernel, 1) == 2
            assert (await fails(kernel, Promote("shop"), SwapError)).code == "post_swap_failed"
            assert await version(kernel, 1) == 1
            assert kernel.bus.route("gate.wait").provider.name == "gate"


class TestAbort:
    async def test_an_aborted_candidate_gets_calls(self, project, shop):
        """It gets none, its last figures are the reply, and nothing else has changed."""
        async with shop() as kernel:
            await count(kernel)
            save(project, version=2)
            await kernel.call(Canary("shop", 1.0))
            for _ in range(3):
                await count(kernel)
            status = await kernel.call(Abort("shop"))
            assert (status.candidate.total.calls, status.control.total.calls) == (3, 0)
            assert await kernel.call_tag("shop.ask", {"user": 0}) == {"version": 1, "count": 2}
            assert kernel.registry.get_service_info("shop").calls == 2
            await fails(kernel, Abort("shop"), CanaryError)

    async def test_a_call_in_hand_is_cut_off(self, project, shop):
        """What the candidate has in hand it finishes, while the old one has all new calls already."""
        async with shop() as kernel:
            save(project, version=2)
            await kernel.call(Canary("shop", 1.0))
            project.shut("wait 2")
            versions, ended = [], []

            async def wait():
                versions.append(await version(kernel, 1, "shop.wait"))

            async def abort():
                ended.append(await kernel.call(Abort("shop")))

            async with anyio.create_task_group() as group:
                group.start_soon(wait)
                await project.reached("wait 2")
                group.start_soon(abort)
                await anyio.wait_all_tasks_blocked()
                assert await version(kernel, 1, "shop.wait") == 1
                assert ended == []
                project.open("wait 2")
            assert versions == [2]
            assert (ended[0].candidate.total.calls, ended[0].candidate.total.in_hand) == (1, 0)

    async def test_a_call_that_does_not_end_keeps_the_candidate(self, project, shop):
        """After the drain timeout, and the time that any stop has, it is cancelled; its caller is told."""
        clock = FakeClock()
        async with shop(clock=clock) as kernel:
            save(project, version=2)
            await kernel.call(Canary("shop", 1.0))
            project.shut("wait 2")
            ended = []

            async def wait():
                with pytest.raises((ServiceStoppedError, HandlerError)):
                    await version(kernel, 1, "shop.wait")
                ended.append("call")

            async def abort():
                await kernel.call(Abort("shop"))
                ended.append("canary")

            async with anyio.create_task_group() as group:
                group.start_soon(wait)
                await project.reached("wait 2")
                group.start_soon(abort)
                await clock.advance(9.0)
                assert ended == []
                await clock.advance(7.0)
            assert ended == ["call", "canary"]

    async def test_an_aborted_candidate_lives_on(self, project, shop):
        """No object and no module of it is left, though it has answered, failed and been cancelled."""
        failing = ("        self.count += 1\n", "        self.count += 1\n        assert request.user % 3\n")
        async with shop() as kernel:
            before = loaded()
            save(project, failing, version=2)
            await kernel.call(Canary("shop", 1.0))
            (split,) = kernel.bus.routing.splits()
            route = next(split.pairs).candidate.route
            plugin = weakref.ref(route.answer.__self__)
            traces = plugin, weakref.ref(type(plugin())), weakref.ref(route.request_type)
            del split, route
            for user in range(30):
                with suppress(HandlerError):
                    await version(kernel, user)
                await (await kernel.submit(Ask(1))).wait()
            project.shut("wait 2")
            async with anyio.create_task_group() as group:
                group.start_soon(version, kernel, 1, "shop.wait")
                await project.reached("wait 2")
                group.cancel_scope.cancel()
            await kernel.call(Abort("shop"))
            await anyio.wait_all_tasks_blocked()
            for _ in range(2):  # what has a finalizer goes first, and then what it held
                gc.collect()
            assert [trace() for trace in traces] == [None, None, None]
            assert loaded() == before


class TestLoad:
    @pytest.mark.parametrize("end", [Promote, Abort])
    async def test_a_call_is_lost_on_the_way(self, project, shop, end):
        """While 1,000 calls and more run, a canary begins, changes its share, and ends: each has its one answer."""
        async with shop() as kernel:
            save(project, version=2)
            replies, users, over = [], numbers(), False

            async def ask_on():
                while not over or len(replies) < 1000:
                    user = next(users)
                    replies.append((user, await version(kernel, user)))
                    await anyio.lowlevel.checkpoint()

            async def some_more():
                enough = len(replies) + 200
                while len(replies) < enough:
                    await anyio.lowlevel.checkpoint()

            async with anyio.create_task_group() as group:
                for _ in range(8):
                    group.start_soon(ask_on)
                await some_more()
                await kernel.call(Canary("shop", 0.2, "user"))
                await some_more()
                await kernel.call(Canary("shop", 0.7))
                await some_more()
                ended = await kernel.call(end("shop"))
                after = len(replies) + 8
                await some_more()
                over = True
            by_candidate = sum(version == 2 for _, version in replies)
            assert sorted(user for user, _ in replies) == list(range(next(users)))
            assert {version for _, version in replies[after:]} == {2 if end is Promote else 1}
            assert 0 < by_candidate < len(replies)
            assert end is Promote or ended.candidate.total.calls == by_candidate
            assert kernel.bus.statistics().call_errors == 0
