"""What cannot be done where nothing is kept: each says what would be needed for it."""

from __future__ import annotations

import pytest

from aetherra.plugins import HandlerError
from aetherra.plugins.self_incorporation import SelfIncorporationService
from aetherra.plugins.self_incorporation.errors import NothingKeptError
from aetherra.plugins.self_incorporation.messages import (
    Integrate,
    Integrations,
    ListIntegrations,
    ListQuarantined,
    MakePlan,
    Rollback,
)


class TestNothingKeptError:
    async def test_a_host_that_keeps_nothing_brings_something_in(self, hosting, tmp_path):
        """Without a data directory there is no way back, and so nothing is brought in; the error says so."""
        quiet = {"roots": [str(tmp_path)], "scan_at_start": False, "watch": False}
        async with hosting(SelfIncorporationService, self_incorporation=quiet) as kernel:
            for request, what in (
                (MakePlan(), "a plan"),
                (Integrate(), "bringing something in"),
                (Rollback("none"), "a way back"),
                (ListQuarantined(), "quarantine"),
            ):
                with pytest.raises(HandlerError, match=f"{what} needs a place .* set kernel.data_dir") as caught:
                    await kernel.call(request)
                assert isinstance(caught.value.__cause__, NothingKeptError)

            assert await kernel.call(ListIntegrations()) == Integrations((), {}, {}, ())
