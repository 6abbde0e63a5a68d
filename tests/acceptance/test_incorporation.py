"""A whole host that finds code, judges it, brings it in and takes it out, under the one gate."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from aetherra.kernel import Config, Kernel
from aetherra.plugins import HandlerError, NoHandlerError
from aetherra.plugins.governance.messages import (
    Approve,
    EmergencyStopAll,
    GetAuditTail,
    LiftStop,
    ListApprovals,
    VerifyAudit,
)
from aetherra.plugins.self_incorporation.messages import (
    DecideItem,
    GetSelfIncorporationStatus,
    Incorporated,
    Integrate,
    ListIntegrations,
    ListItems,
    ListQuarantined,
    LookAround,
    MakePlan,
    QuarantineItem,
    ReleaseItem,
    Rollback,
    Scan,
    SecurityEval,
    TakenOut,
)
from aetherra.plugins.signing import RING_NAME, KeyRing, SigningKey, sign

PATIENCE = 30.0
GREETER = """
from aetherra.plugins import Message, Plugin, Request, handler


class Greeting(Message, tag="greeter.greeting"):
    text: str


class Greet(Request[Greeting], tag="greeter.greet"):
    name: str


class Greeter(Plugin):
    name = "greeter"
    version = "VERSION"

    @handler
    async def greet(self, request: Greet) -> Greeting:
        return Greeting(f"WORD, {request.name}")
"""
REACH = "\n\ndef reach():\n    return socket.create_connection(('example.org', 80))\n"
LIST = "\n\ndef run():\n    subprocess.run(['ls'])\n"
MUTE = "\n    async def self_test(self) -> None:\n        raise OSError('no voice')\n"
TRIAL = {"first_time": 0.2, "look": 0.05, "traffic": 0.1}


def greeter(word: str = "Hello", version: str = "1") -> str:
    return GREETER.replace("WORD", word).replace("VERSION", version)


class Project:
    """A folder that is hosted, with a folder for what is to come in."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "incoming").mkdir()

    def put(self, name: str, text: str, *, folder: str = "incoming") -> Path:
        place = self.path / folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
        return place

    @asynccontextmanager
    async def hosted(
        self, *, profile: str = "standard", grants: tuple[str, ...] = (), **settings: Any
    ) -> AsyncGenerator[Kernel]:
        ours = {
            "incoming": ["incoming"],
            "integrate": "act",
            "scan_at_start": False,
            "watch": False,
            "trial": TRIAL,
            "night": {"enabled": False},
            **settings,
        }
        document = {
            "profile": profile,
            "plugins": {
                "self_incorporation": {**ours, "grants": ["*:*"]},
                "homeostasis": {"enabled": False},
                "self_improvement": {"enabled": False},
                "greeter": {"source": "later", "grants": list(grants)},
            },
        }
        async with Kernel(Config.parse(document, root=self.path)) as kernel:
            yield kernel

    def kept(self) -> dict[str, tuple[int, str]]:
        """Return mode and digest of every file of what was brought in."""
        folder = self.path / ".aetherra" / "self_incorporation" / "integrations"
        return {
            str(place.relative_to(folder)): (place.stat().st_mode, hashlib.sha256(place.read_bytes()).hexdigest())
            for part in ("incorporated", "registrations")
            for place in sorted((folder / part).rglob("*"))
            if place.is_file()
        }


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


async def ask(kernel: Kernel, name: str = "Ada") -> str:
    return (await kernel.call_tag("greeter.greet", {"name": name}))["text"]


async def look(kernel: Kernel) -> None:
    await kernel.call(Scan())
    await kernel.call(SecurityEval(), timeout=PATIENCE)


async def bring_in(kernel: Kernel, *items: str) -> Incorporated:
    return await kernel.call(Integrate(items), timeout=PATIENCE)


async def until(what: Callable[[], Awaitable[Any]]) -> Any:
    with anyio.fail_after(PATIENCE):
        while not (found := await what()):  # noqa: ASYNC110
            await anyio.sleep(0.02)  # threads and files, which tell nobody
    return found


async def ledger(kernel: Kernel, kind: str) -> list[str]:
    tail = await kernel.call(GetAuditTail(limit=100))
    return [entry.code for entry in tail.entries if entry.kind == kind]


class TestBringingIn:
    async def test_what_is_dropped_in_does_not_serve_or_stays_when_taken_out(self, project: Project) -> None:
        """A plugin that lies in an incoming folder serves, also after a restart, until its token takes it out."""
        project.put("greeter.py", greeter())
        async with project.hosted() as kernel:
            before = project.kept()
            await look(kernel)
            done = await bring_in(kernel)

            assert (done.names, done.why_not) == (("greeter",), "")
            assert await ask(kernel) == "Hello, Ada"
        async with project.hosted() as kernel:
            await until(lambda: serves(kernel))
            assert await ask(kernel) == "Hello, Ada"
            taken = await kernel.call(Rollback(done.token, "enough"), timeout=PATIENCE)

            assert taken == TakenOut(done.token, ("greeter",), (), "enough")
            with pytest.raises(NoHandlerError):
                await ask(kernel)
            assert project.kept() == before
            assert await ledger(kernel, "integration") == ["allowed", "done"]
            assert await ledger(kernel, "rollback") == ["allowed", "done"]
            assert (await kernel.call(VerifyAudit())).verification.ok
        async with project.hosted() as kernel:
            assert (await kernel.call(ListIntegrations())).registered == {}

    async def test_new_code_does_not_take_over_or_the_old_does_not_come_back(self, project: Project) -> None:
        """A new version is swapped in while it serves; taken out, the one before serves again, byte for byte."""
        project.put("greeter.py", greeter())
        async with project.hosted() as kernel:
            await look(kernel)
            await bring_in(kernel)
            first = project.kept()
            project.put("greeter.py", greeter("Howdy", "2"))
            await look(kernel)
            second = await bring_in(kernel)

            assert await ask(kernel) == "Howdy, Ada"
            assert project.kept() != first
            await kernel.call(Rollback(second.token), timeout=PATIENCE)
            assert await ask(kernel) == "Hello, Ada"
            assert project.kept() == first

    async def test_code_that_does_not_start_comes_in(self, project: Project) -> None:
        """A version that fails its first time is taken back: the old serves on, and nothing of the new is left."""
        project.put("greeter.py", greeter())
        async with project.hosted() as kernel:
            await look(kernel)
            await bring_in(kernel)
            first = project.kept()
            project.put("greeter.py", greeter("Howdy", "2") + MUTE)
            await look(kernel)
            with pytest.raises(HandlerError, match="no voice"):
                await bring_in(kernel)

            assert await ask(kernel) == "Hello, Ada"
            assert project.kept() == first
            assert await ledger(kernel, "integration") == ["allowed", "done", "allowed", "failed"]
            status = await kernel.call(GetSelfIncorporationStatus())
            assert (status.integrations, status.failed_integrations, status.registered) == (1, 1, ("greeter",))

    async def test_a_dry_run_does_something(self, project: Project) -> None:
        """A plan says which files, plugins and registrations there would be, and nothing of it is done."""
        project.put("greeter.py", greeter())
        async with project.hosted() as kernel:
            await look(kernel)
            planned = await kernel.call(MakePlan())

            assert planned.problem == ""
            assert planned.would is not None
            (effect,) = planned.would.effects
            assert (effect.action, effect.name) == ("load_plugin", "greeter")
            assert [file.what for file in effect.files if file.path.endswith("greeter.py")] == ["written"]
            assert project.kept() == {}
            with pytest.raises(NoHandlerError):
                await ask(kernel)
            with pytest.raises(HandlerError, match="look at it again"):
                await kernel.call(Integrate(digest="0" * 64))


async def serves(kernel: Kernel) -> bool:
    return "greeter" in {info.name for info in kernel.plugins() if info.state == "serving"}


class TestJudging:
    async def test_a_threat_comes_in(self, project: Project) -> None:
        """What holds a threat is blocked with its line, and no approval but a person's word on its bytes helps."""
        threat = greeter() + "\nimport base64\nexec(base64.b64decode('cGFzcw=='))  # nosec # noqa\n"
        project.put("greeter.py", threat)
        async with project.hosted() as kernel:
            await look(kernel)
            done = await bring_in(kernel)
            (found,) = (await kernel.call(ListItems("greeter"))).items

            assert done.token == ""
            assert "greeter" in done.why_not
            assert found.decision is not None
            assert found.decision.verdict == "blocked"
            grounds = [ground for ground in found.decision.rationale if ground.code == "threat"]
            assert [line.line for ground in grounds for line in ground.lines] == [
                threat[: threat.index("exec(")].count("\n") + 1
            ]
            with pytest.raises(NoHandlerError):
                await ask(kernel)

    async def test_network_code_comes_in_without_a_grant(self, project: Project) -> None:
        """Code that reaches for the network needs ``network:outbound`` in the configuration, and says so."""
        project.put(
            "greeter.py",
            "import socket\n"
            + greeter()
            + "\n\ndef reach():\n    return socket.create_connection(('example.org', 80))\n",
        )
        async with project.hosted() as kernel:
            await look(kernel)
            refused = await bring_in(kernel)
            assert refused.token == ""
            assert "network:outbound" in refused.why_not
        async with project.hosted(grants=("network:outbound",)) as kernel:
            await look(kernel)
            assert (await bring_in(kernel)).names == ("greeter",)

    async def test_what_grew_since_it_was_judged_comes_in(self, project: Project) -> None:
        """An item that can do more than when it came in is blocked until a person has looked at it as it is."""
        project.put("greeter.py", greeter())
        async with project.hosted(grants=("process:spawn", "network:outbound")) as kernel:
            await look(kernel)
            await bring_in(kernel)
            project.put("greeter.py", "import subprocess\n" + greeter("Howdy", "2") + LIST)
            await look(kernel)
            refused = await bring_in(kernel)
            (found,) = (await kernel.call(ListItems("greeter"))).items
            assert found.decision is not None
            codes = {ground.code for ground in found.decision.rationale if ground.against}

            assert refused.token == ""
            assert "capabilities_grew" in codes
            assert await ask(kernel) == "Hello, Ada"
            await kernel.call(DecideItem("greeter", found.item.digest, accept=True, reason="it lists files"))
            assert (await bring_in(kernel)).names == ("greeter",)
            assert await ask(kernel) == "Howdy, Ada"

    async def test_what_is_set_aside_can_be_loaded_or_is_lost(self, project: Project) -> None:
        """An item in quarantine is not where it was and does not come in; released it is there, byte for byte."""
        place = project.put("greeter.py", greeter())
        content, stat = place.read_bytes(), place.stat()
        async with project.hosted() as kernel:
            await look(kernel)
            aside = (await kernel.call(QuarantineItem("greeter", "I do not like it"))).quarantined

            assert not place.exists()
            await look(kernel)
            assert (await bring_in(kernel)).token == ""
            listed = await kernel.call(ListQuarantined())
            assert [one.id for one in listed.items] == [aside.id]
        async with project.hosted() as kernel:
            await kernel.call(ReleaseItem(aside.id))
            now = place.stat()
            assert (place.read_bytes(), now.st_mode, now.st_mtime_ns) == (content, stat.st_mode, stat.st_mtime_ns)

    async def test_what_came_in_from_what_is_set_aside_serves_on(self, project: Project) -> None:
        """Setting an item aside takes out what had been brought in from it, also where that was not possible then."""
        project.put("greeter.py", greeter())
        async with project.hosted() as kernel:
            await look(kernel)
            await bring_in(kernel)
            aside = await kernel.call(QuarantineItem("greeter", "it steals"), timeout=PATIENCE)

            assert (aside.taken_out, aside.serving) == (("greeter",), ())
            with pytest.raises(NoHandlerError):
                await ask(kernel)
            assert await ledger(kernel, "rollback") == ["allowed", "done"]

    async def test_what_a_person_rejected_comes_in_under_another_name(self, project: Project) -> None:
        """Their word is on the bytes: a copy comes in by itself once they accept it, and not before."""
        place = project.put("greeter.py", greeter())
        async with project.hosted() as kernel:
            await look(kernel)
            (found,) = (await kernel.call(ListItems("greeter"))).items
            await kernel.call(DecideItem("greeter", found.item.digest, accept=False, reason="never"))
            place.rename(place.with_name("other.py"))
            looked = await kernel.call(LookAround(), timeout=PATIENCE)
            assert looked.brought_in == ()
            assert looked.kept_out == {"incoming/other.py": "a person has rejected the same as incoming/greeter.py"}

            (found,) = (await kernel.call(ListItems("greeter"))).items
            await kernel.call(DecideItem("greeter", found.item.digest, accept=True, reason="well"))
            looked = await kernel.call(LookAround(), timeout=PATIENCE)
            assert [done.names for done in looked.brought_in] == [("greeter",)]

    async def test_what_a_person_rejected_comes_in_once_their_word_is_lost(self, project: Project) -> None:
        """Where decisions were damaged, and so lost, it is said, and a person has to agree to what comes in unasked."""
        project.put("greeter.py", greeter())
        async with project.hosted() as kernel:
            await look(kernel)
            (found,) = (await kernel.call(ListItems("greeter"))).items
            await kernel.call(DecideItem("greeter", found.item.digest, accept=False, reason="never"))
        kept = project.path / ".aetherra" / "self_incorporation"
        for file in kept.glob("decisions.sqlite3-*"):
            file.unlink()
        (kept / "decisions.sqlite3").write_bytes(b"no database at all" * 1000)
        (kept / "taken_out.json").unlink()  # by which it would stay out all the same
        async with project.hosted(scan_at_start=True) as kernel:
            waiting = await until(lambda: pending(kernel))
            status = await kernel.call(GetSelfIncorporationStatus())

            assert "reviews were lost" in waiting.why
            assert any("reviews were lost" in problem for problem in status.problems)
            assert status.registered == ()


class TestUnderGovernance:
    async def test_what_waits_for_a_person_comes_in_without_or_not_with_one(self, project: Project) -> None:
        """With ``ask`` it waits for an approval, comes in by itself once that is there, and only as it was then."""
        place = project.put("greeter.py", greeter())
        async with project.hosted(integrate="ask", scan_at_start=True) as kernel:
            waiting = await until(lambda: pending(kernel))
            await until(lambda: waits(kernel))  # it is asked about a moment before it is on the list
            assert (waiting.kind, waiting.component) == ("integration", "greeter")
            with pytest.raises(NoHandlerError):
                await ask(kernel)
            place.write_text(greeter("Howdy"))  # after it was judged, before it is approved
            await kernel.call(Approve(waiting.id, "it is polite"))
            await until(lambda: waits(kernel, False))
            with pytest.raises(NoHandlerError):
                await ask(kernel)

            place.write_text(greeter())
            await look(kernel)
            kernel_waits = await kernel.call(ListIntegrations())
            assert kernel_waits.waiting == {}

    async def test_an_approval_is_forgotten_by_a_restart(self, project: Project) -> None:
        """What a person agrees to while self-incorporation does not run is done once it does."""
        project.put("greeter.py", greeter())
        async with project.hosted(integrate="ask", scan_at_start=True) as kernel:
            waiting = await until(lambda: pending(kernel))
            await until(lambda: waits(kernel))
            await kernel.remove_plugin("self_incorporation")
            await kernel.call(Approve(waiting.id, "it is polite"))
        async with project.hosted(integrate="ask") as kernel:
            await until(lambda: serves(kernel))
            assert await ask(kernel) == "Hello, Ada"

    async def test_the_emergency_stop_lets_something_in(self, project: Project) -> None:
        """While it holds, also over a restart, nothing comes in or goes out; once a person lifts it, things go on."""
        project.put("greeter.py", greeter())
        async with project.hosted() as kernel:
            await look(kernel)
            done = await bring_in(kernel)
            await kernel.call(EmergencyStopAll("too much at once"))
        async with project.hosted() as kernel:
            project.put("greeter.py", greeter("Howdy", "2"))
            await look(kernel)
            await until(lambda: serves(kernel))
            with pytest.raises(HandlerError, match="too much at once"):
                await bring_in(kernel)
            with pytest.raises(HandlerError, match="too much at once"):
                await kernel.call(Rollback(done.token))
            assert await ask(kernel) == "Hello, Ada"
            await kernel.call(LiftStop("all is well"))
            await bring_in(kernel)
            assert await ask(kernel) == "Howdy, Ada"

    async def test_the_guard_on_integrations_lets_a_sixth_pass(self, project: Project) -> None:
        """Five an hour, and one more pauses self-incorporation until a person ends that."""
        async with project.hosted() as kernel:
            for number in range(5):
                project.put("greeter.py", greeter(f"Hello {number}", str(number)))
                await look(kernel)
                assert (await bring_in(kernel)).token
            project.put("greeter.py", greeter("Hello 6", "6"))
            await look(kernel)
            with pytest.raises(HandlerError, match="integrations_per_hour"):
                await bring_in(kernel)
            assert await ask(kernel) == "Hello 4, Ada"
        async with project.hosted() as kernel:
            await look(kernel)
            with pytest.raises(HandlerError, match="pause"):
                await bring_in(kernel)
            await kernel.call_tag("governance.reset_guard", {"guard": "integrations_per_hour"})
            assert (await bring_in(kernel)).token

    async def test_what_is_dropped_in_at_once_pauses_self_incorporation(self, project: Project) -> None:
        """Six at once breach no guard: five come in, and the sixth once its turn is there."""
        for number in range(6):
            project.put(f"data{number}.csv", f"a,b\n{number},2\n")
        async with project.hosted() as kernel:
            looked = await kernel.call(LookAround(), timeout=PATIENCE)

            assert [len(done.names) for done in looked.brought_in] == [1] * 5
            (why,) = looked.kept_out.values()
            assert "integrations_per_hour" in why
            assert not (await kernel.call_tag("governance.guards"))["measures"]

    async def test_an_approval_is_lost_while_everything_is_stopped(self, project: Project) -> None:
        """What a person agreed to is done once the stop is lifted, and not before."""
        project.put("greeter.py", greeter())
        async with project.hosted(integrate="ask", scan_at_start=True) as kernel:
            waiting = await until(lambda: pending(kernel))
            await kernel.call(EmergencyStopAll("wait"))
            await kernel.call(Approve(waiting.id, "it is polite"))
        async with project.hosted(integrate="ask") as kernel:
            await until(lambda: waits(kernel))
            with pytest.raises(NoHandlerError):
                await ask(kernel)
            await kernel.call(LiftStop("all is well"))
            await until(lambda: serves(kernel))

    async def test_what_was_dropped_in_during_a_stop_waits_for_the_next_look(self, project: Project) -> None:
        """Once the stop is lifted it is looked at, and comes in, at once."""
        async with project.hosted() as kernel:
            await kernel.call(EmergencyStopAll("wait"))
            project.put("greeter.py", greeter())
            await look(kernel)
            await kernel.call(LiftStop("all is well"))
            await until(lambda: serves(kernel))

    async def test_prod_takes_what_nobody_signed_or_approved(self, project: Project) -> None:
        """In ``prod`` an item needs a signature by a known key and a person's approval."""
        place = project.put("greeter.py", greeter())
        async with project.hosted(profile="prod") as kernel:
            await look(kernel)
            refused = await bring_in(kernel)
            assert refused.token == ""
            assert "sign" in refused.why_not
        key = SigningKey.generate()
        ring = KeyRing.load(project.path / ".aetherra" / RING_NAME)
        ring.add(key.public, owner="the owner")
        ring.pin(key.public.id)
        sign(place, key, version="1", capabilities=())
        async with project.hosted(profile="prod") as kernel:
            await look(kernel)
            waits = await bring_in(kernel)
            assert waits.approval
            (found,) = (await kernel.call(ListItems("greeter"))).items
            assert found.decision is not None
            assert found.decision.tier == "verified"

    async def test_what_a_revoked_key_has_signed_serves_on(self, project: Project) -> None:
        """Once a key is revoked, what came in under it is taken out, and is not brought up by a restart."""
        place = project.put("greeter.py", greeter())
        key = SigningKey.generate()
        async with project.hosted() as kernel:
            ring = KeyRing.load(project.path / ".aetherra" / RING_NAME)
            ring.add(key.public, owner="the owner")
            sign(place, key, version="1", capabilities=())
            await look(kernel)
            assert (await bring_in(kernel)).token
            ring.revoke(key.public.id, reason="stolen")
            await look(kernel)
            refused = await bring_in(kernel)
            assert refused.token == ""
        async with project.hosted() as kernel:
            await until(lambda: nothing_is_registered(kernel))
            with pytest.raises(NoHandlerError):
                await ask(kernel)
            assert "revoked" in (await kernel.call(ListIntegrations())).integrations[0].reason


async def nothing_is_registered(kernel: Kernel) -> bool:
    return not (await kernel.call(ListIntegrations())).registered


async def pending(kernel: Kernel) -> Any:
    found = (await kernel.call(ListApprovals(state="pending"))).approvals
    return found[0] if found else None


async def waits(kernel: Kernel, wanted: bool = True) -> bool:
    return bool((await kernel.call(ListIntegrations())).waiting) is wanted
