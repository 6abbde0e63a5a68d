"""What is wrong with the parts, and what the plugin's status says of it."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from aetherra.plugins import ServiceStatus
from aetherra.plugins.self_incorporation.troubles import Troubles


class Shown:
    log = logging.getLogger("tests.troubles")

    def __init__(self) -> None:
        self.statuses: list[tuple[ServiceStatus, str]] = []

    def set_status(self, status: ServiceStatus, reason: str = "") -> None:
        self.statuses.append((status, reason))


class TestTroubles:
    def test_one_part_that_is_well_hides_what_is_wrong_with_another(self, caplog: pytest.LogCaptureFixture) -> None:
        """The status is degraded while anything is wrong, and each trouble is logged once."""
        shown: Any = Shown()
        troubles = Troubles(shown)
        troubles.note("keys", "no keys")
        troubles.note("keys", "no keys")
        troubles.note("roots", "no root")
        troubles.note("keys", "")
        troubles.note("keys", "")
        assert troubles.all() == ("no root",)
        troubles.note("roots", "")

        assert shown.statuses == [
            (ServiceStatus.DEGRADED, "no keys"),
            (ServiceStatus.DEGRADED, "no keys; no root"),
            (ServiceStatus.DEGRADED, "no root"),
            (ServiceStatus.HEALTHY, ""),
        ]
        assert [record.getMessage() for record in caplog.records] == ["no keys", "no root"]
