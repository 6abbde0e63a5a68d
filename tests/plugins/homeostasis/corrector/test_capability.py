"""Refusals: told with the line that would allow it, and never allowed by the corrector."""

from __future__ import annotations

import json
import logging

import pytest

from aetherra.kernel.errors import PrivilegeError
from aetherra.plugins import CapabilityError, GetStatistics, Plugin, every

LOG = logging.getLogger("acme")


class Meddler(Plugin):
    """Does again and again what it may not."""

    name = "meddler"

    @every(1.0)
    async def meddle(self) -> None:
        await self.ctx.call(GetStatistics())


class TestMissingCapability:
    async def test_a_refusal_does_not_tell_the_line(self, clinic):
        """A plugin that is refused gets no grant; a person gets the line, which is JSON and right."""
        async with clinic(profile="prod") as host:
            await host.kernel.add_plugin(Meddler)
            await host.clock.advance(1.0)

            assert await host.work() == [("missing_capability", "advised")]
            line = host.last.partition("beside what stands there: ")[2]
            assert json.loads("{" + line + "}") == {"plugins": {"meddler": {"grants": ["call:kernel.statistics"]}}}
            await host.clock.advance(1.0)
            assert host.kernel.registry.get_service_info("meddler").status == "degraded"
            assert host.doctor.asked == []

    @pytest.mark.parametrize(
        ("error", "line"),
        [
            (
                CapabilityError("remote client 'web'", "call:x.y", "kernel.clients.web in the configuration"),
                '"kernel": {"clients": {"web": ["call:x.y"]}}',
            ),
            (PrivilegeError("mill", "kernel:swap"), '"plugins": {"mill": {"grants": ["kernel:swap"]}}'),
        ],
    )
    async def test_a_line_stands_in_the_wrong_place(self, clinic, error, line):
        """Clients and privileges have places of their own."""
        async with clinic() as host:
            LOG.warning("refused: %s", error)

            assert await host.work() == [("missing_capability", "advised")]
            assert host.last.endswith(line)
