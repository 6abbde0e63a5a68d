"""The cycle as a whole: real threads, a clock that goes when it is told to."""

from __future__ import annotations

from aetherra.plugins.self_incorporation.night.phases import Phase

FILES = {f"pkg/m{number}.py": f'"""Doc."""\n\n\ndef used_{number}(a):\n    return a\n' for number in range(8)}


class TestTheWholeNight:
    async def test_a_night_begins_though_somebody_needs_the_host(self, folder, night):
        """It begins once nobody has needed the host for so long, and its report tells what was found."""
        folder.write(FILES)
        async with night() as made:
            await made.host.pass_time(1000)
            made.host.calls += 1
            await made.host.pass_time(1700)
            assert made.phase is Phase.MONITORING and not made.host.reports

            await made.host.pass_time(200)
            report = made.host.reports[0]
            assert (report.number, report.files, report.measured) == (1, 8, 8)
            assert report.found == {"dead_code": 8, "quality": 1}
