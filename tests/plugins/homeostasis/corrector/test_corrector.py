"""The corrector as a whole: when it listens, what it counts, and that it never feeds itself."""

from __future__ import annotations

import logging
import threading
import warnings

import anyio

from aetherra.plugins import NoHandlerError

LOG = logging.getLogger("acme")


def missing(name="nowhere_of_tests"):
    """Return the exception of an import that finds nothing."""
    return ModuleNotFoundError("gone", name=name)


class TestListening:
    async def test_a_stopped_corrector_listens_on(self, clinic):
        """From ``start`` to ``stop`` it hears the log, and at the end of its plugin nothing of it is left."""
        root, shown = list(logging.getLogger().handlers), warnings.showwarning
        async with clinic() as host:
            host.corrector.start()
            assert len(logging.getLogger().handlers) == len(root) + 1
            LOG.warning("heard")
            host.corrector.stop()
            host.corrector.stop()
            LOG.warning("not heard")
            assert host.corrector.get_statistics().seen == 1
            assert not host.corrector.get_statistics().running
            host.corrector.start()
            LOG.warning("heard")
            assert host.corrector.get_statistics().seen == 2

        assert logging.getLogger().handlers == root
        assert warnings.showwarning == shown

    async def test_a_corrector_that_is_not_enabled_listens(self, clinic):
        """With ``enabled`` false it takes no record."""
        async with clinic(enabled=False) as host:
            LOG.warning("x")

            assert host.corrector.get_statistics().seen == 0

    async def test_a_corrector_whose_task_has_ended_seems_to_run(self, clinic, monkeypatch):
        """``running`` is said while somebody looks: who looks no more listens no more, and can be started again."""
        root = list(logging.getLogger().handlers)
        async with clinic(enabled=True, interval=1.0) as host:

            async def give_out(_):
                raise SystemError("no more")

            monkeypatch.setattr(host.doctor.ctx.clock, "sleep", give_out)
            host.corrector.stop()
            host.corrector.start()
            assert host.corrector.get_statistics().running
            await anyio.wait_all_tasks_blocked()
            assert not host.corrector.get_statistics().running
            assert logging.getLogger().handlers == root
            monkeypatch.undo()
            host.corrector.start()
            assert host.corrector.get_statistics().running

    async def test_a_default_that_is_not_there_is_found_out_when_it_is_needed(self, clinic, project, caplog):
        """At the start it is said which declared files could not be made."""
        project("there.json", "{}")
        async with clinic(data_files={"a.json": "there.json", "b.json": "lost.json", "c/": ""}):
            said = [line for line in caplog.messages if line.startswith("data_files.")]

        assert said == ["data_files.b.json: 'lost.json' is not there, so that nothing could be made of it"]

    async def test_what_is_heard_waits_for_somebody_to_ask(self, clinic):
        """A trouble is looked at within ``interval`` seconds, without anybody asking."""
        async with clinic(interval=1.0) as host:
            LOG.error("lost", exc_info=missing())
            with anyio.fail_after(10):
                while not host.doctor.told:
                    await host.clock.advance(1.0)
                    await anyio.sleep(0.001)

            assert host.doctor.told[0].outcome == "advised"
            assert host.doctor.told[0].subject == {"module": "nowhere_of_tests", "plugin": ""}

    async def test_a_record_that_is_handed_in_is_lost(self, clinic):
        """``process_log_message`` takes a record of WARNING and above, as the log would bring it, from any thread."""
        async with clinic() as host:
            host.corrector.stop()
            record = LOG.makeRecord(
                "acme", logging.ERROR, "f.py", 1, "lost", (), (ModuleNotFoundError, missing(), None)
            )
            thread = threading.Thread(target=host.corrector.process_log_message, args=(record,))
            thread.start()
            thread.join()

            assert await host.work() == [("missing_module", "advised")]


class TestCounting:
    async def test_the_same_trouble_is_dealt_with_again_and_again(self, clinic):
        """For 300 to 600 s the same trouble is left alone and counted as suppressed; another one is not."""
        async with clinic() as host:
            for _ in range(5):
                LOG.error("lost", exc_info=missing())
            LOG.error("lost", exc_info=missing("other_of_tests"))
            assert await host.work() == [("missing_module", "advised")] * 2
            await host.clock.advance(299.0)
            LOG.error("lost", exc_info=missing())
            assert await host.work() == []
            await host.clock.advance(302.0)
            LOG.error("lost", exc_info=missing())
            assert await host.work() == [("missing_module", "advised")]

            numbers = host.corrector.get_statistics()
            assert (numbers.detected, numbers.advised, numbers.suppressed) == (8, 3, 5)
            assert numbers.categories == {"missing_module": {"detected": 8, "advised": 3}}

    async def test_counters_do_not_add_up(self, clinic, project, tmp_path):
        """Detected are suppressed, gone, attempted and advised; attempted are successful and failed."""
        project("default.json", "{}")
        declared = {"made.json": "default.json", "lost.json": "no default"}
        async with clinic(data_files=declared) as host:
            for name in ("made.json", "lost.json", "other.json", "made.json", "default.json"):
                LOG.error("lost", exc_info=FileNotFoundError(2, "not there", str(tmp_path / name)))
            LOG.error("nothing in it")
            await host.work()

            numbers = host.corrector.get_statistics()
            assert (numbers.successful, numbers.failed, numbers.advised) == (1, 1, 1)
            assert (numbers.suppressed, numbers.gone, numbers.detected) == (1, 1, 5)
            assert numbers.detected == numbers.suppressed + numbers.gone + numbers.attempted + numbers.advised
            assert numbers.attempted == numbers.successful + numbers.failed

    async def test_the_corrector_feeds_itself(self, clinic):
        """What it logs about a trouble is no trouble."""
        async with clinic() as host:
            host.doctor.ctx.log.error("lost", exc_info=missing())
            LOG.error("lost", exc_info=missing())
            await host.work()
            await host.work()

            assert host.corrector.get_statistics().seen == 1
            assert host.corrector.get_statistics().waiting == 0

    async def test_a_storm_holds_the_host_up(self, clinic):
        """A storm of made-up troubles from 8 threads comes to a bounded number of looks, and a real one passes."""
        async with clinic() as host:

            def storm(number):
                for turn in range(1000):
                    LOG.error("storm", exc_info=missing(f"made_up_{number}_{turn}"))

            threads = [threading.Thread(target=storm, args=(number,)) for number in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            LOG.error("real", exc_info=NoHandlerError("mill.ask"))
            ended = await host.work()

            numbers = host.corrector.get_statistics()
            assert ended.count(("missing_module", "advised")) <= 50
            assert ended[-1] == ("service_registration", "advised")
            assert numbers.exceptions == 8001
            assert numbers.dropped + len(ended) + numbers.suppressed == 8001

    async def test_two_looks_run_into_each_other(self, clinic, project):
        """Who asks for a look while one goes on waits for its turn: a plugin is not brought up twice at a time."""
        project("mill.py", "raise RuntimeError('no mill yet')\n")
        async with clinic(plugins=["mill"]) as host:
            inside, most = 0, 0
            submit = host.doctor.ctx.submit

            async def slow(request, **options):
                nonlocal inside, most
                inside += 1
                most = max(most, inside)
                await anyio.sleep(0.01)
                inside -= 1
                return await submit(request, **options)

            host.doctor.ctx.submit = slow
            LOG.error("lost", exc_info=missing("yaml_of_tests"))
            host.corrector._settings.allow_modules["yaml_of_tests"] = "./no such wheel.whl"
            async with anyio.create_task_group() as group:
                group.start_soon(host.work)
                await anyio.wait_all_tasks_blocked()
                LOG.error("lost", exc_info=missing("other_of_tests"))
                host.corrector._settings.allow_modules["other_of_tests"] = "./no such wheel.whl"
                group.start_soon(host.work)

            assert most == 1
            assert len(host.doctor.asked) == 3

    async def test_a_correction_that_hangs_holds_up_all_others(self, clinic):
        """One that does not end in ``timeout`` seconds is failed, and the next trouble is looked at."""
        async with clinic(timeout=5.0) as host:

            async def never(request, **options):
                await anyio.sleep_forever()

            host.doctor.ctx.submit = never
            LOG.error("lost", exc_info=missing("yaml_of_tests"))
            host.corrector._settings.allow_modules["yaml_of_tests"] = "yaml"
            LOG.error("lost", exc_info=missing("other_of_tests"))
            async with anyio.create_task_group() as group:
                group.start_soon(host.work)
                with anyio.fail_after(10):
                    while not host.corrector.get_statistics().recent:
                        await host.clock.advance(1.0)
                        await anyio.sleep(0.001)

            assert [done.outcome for done in host.corrector.get_statistics().recent] == ["failed", "advised"]
            assert host.corrector.get_statistics().recent[0].text == "it was not done after 5 s"
