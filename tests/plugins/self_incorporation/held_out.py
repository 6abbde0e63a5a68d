"""Files that were written to get past the judge, or to come close and do no harm; and what is known of each set.

Hostile ones are to be judged and never run; they reach for loopback and ``example.invalid`` only. A set was measured as
it was first judged; then rules were changed in sight of it, so that it says no more of what nobody has seen. The
first was written by who had not read the rules, the others by who had just changed them.
"""

import re
from pathlib import Path

__all__ = ["ALARMS", "AT_FIRST", "MISSED", "samples"]

_HERE = Path(__file__).parent / "held_out"

AT_FIRST = {"first": (26, 60), "second": (10, 30), "third": (7, 20)}
"""How many of each set's hostile files were found when the rules had not been changed for any of them."""

MISSED = {
    "first": frozenset[str](),
    "second": frozenset(
        [
            "program_behind_a_picture",  # what is read from a file and started: a program's settings do that
            "remote_login_wrapper_tells_credentials",  # what it is given, sent: every client does that
            "privileged_container",  # a request like any other, to a place that is no host
        ]
    ),
    "third": frozenset(
        [
            "asks_git_for_passwords",  # what a command answers, sent
            "letters_without_width",  # decoded by a filter of characters
            "loader_is_told_to_load",  # a variable of the environment that the system's loader reads
            "logs_go_elsewhere",  # what a library is told to do
            "namespace_of_builtins",  # one of two things, by what it is
            "server_runs_its_path",  # what a framework's object holds
        ]
    ),
}
"""What is knowingly missed, and why."""

ALARMS = {
    "first": frozenset(["shell_completion_installer", "systemd_unit_of_own_service"]),  # a person decides
    "second": frozenset[str](),
    "third": frozenset[str](),
}
"""What is blocked and means no harm."""


def samples(which: str, kind: str) -> dict[str, tuple[str, str]]:
    """Return the files of a set, ``hostile`` or ``benign``, by what they are called: a path, and the text."""
    parts = re.split(r"^#: (\w+)\n", (_HERE / f"{which}_{kind}.txt").read_text(encoding="utf-8"), flags=re.MULTILINE)[
        1:
    ]
    files = dict(zip(parts[::2], parts[1::2], strict=True))
    return {name: ("setup.py" if name.startswith("setup_") else f"{name}.py", text) for name, text in files.items()}
