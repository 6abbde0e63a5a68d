"""The plugins that are edited, as text: each edit is other bytes of the same size, and an answer says of which."""

from __future__ import annotations

SMALL, LARGE = 30, 200
"""Lines: of the small plugin those that are not blank, of the large one all."""
MODULES, MODULE = 50, 300
FIRST = 100_000
"""Added to each number, so that all have the same size."""

TOP = '''\
"""Answers with what its code says, and counts its calls."""

import anyio.lowlevel
import msgspec

from aetherra.plugins import Message, Plugin, Request, handler
{import_}

VERSION = {version}


class Answer(Message, tag="bench.answer"):
    """The versions that a call has met, and how many calls there were."""

    entry: int
    helper: int
    count: int


class Ask(Request[Answer], tag="bench.ask"):
    """Asks for both."""


class Count(msgspec.Struct):
    """What it has counted."""

    count: int
'''
JOB = '''

class Weighed{n}(Message, tag="bench.weighed_{n}"):
    """What a set of amounts came to."""

    total: float
    least: float
    heavy: tuple[str, ...] = ()


class Weigh{n}(Request[Weighed{n}], tag="bench.weigh_{n}"):
    names: tuple[str, ...]
    amounts: tuple[float, ...]
'''
FUNCTION = '''

def weigh_{n}(names, amounts, *, limit=1.0, strict=False):
    """Add amounts up, and name those above a limit."""
    if len(names) != len(amounts):
        raise ValueError(f"{{len(names)}} names, but {{len(amounts)}} amounts")
    total, heavy, seen = 0.0, [], {{}}
    for name, amount in zip(names, amounts):
        if strict and amount < 0:
            raise ValueError(f"{{name!r}} weighs {{amount}}; expected no less than 0")
        seen[name] = seen.get(name, 0.0) + amount
        total += amount * {n}
        if seen[name] > limit:
            heavy.append(name)
    least = min(seen.values(), default=0.0)
    return total, least, tuple(sorted(set(heavy)))
'''
PLUGIN = '''

class Counter(Plugin):
    """Counts."""

    name = "counter"
    count = 0

    @handler
    async def ask(self, request: Ask) -> Answer:
        version = VERSION
        await anyio.lowlevel.checkpoint()
        self.count += 1
        return Answer(version, HELPER, self.count)

    async def hand_over(self) -> Count:
        return Count(self.count)

    async def take_over(self, state: Count) -> None:
        self.count = state.count
'''
METHOD = """
    @handler
    async def weigh_{n}(self, request: Weigh{n}) -> Weighed{n}:
        total, least, heavy = weigh_{n}(request.names, request.amounts, limit={n}.5)
        if total < least:
            self.ctx.log.warning("%s weighs less than its lightest part, %s", total, least)
        return Weighed{n}(total=total, least=least, heavy=heavy)
"""


def plugin(number: int, lines: int = SMALL, import_: str = "HELPER = 0") -> str:
    """Return a plugin of about so many lines, with jobs as they fit; ``import_`` brings ``HELPER``."""
    top = TOP.format(version=FIRST + number, import_=import_)
    job = (JOB + FUNCTION + METHOD).count("\n")
    jobs = range(max(0, round((lines - (top + PLUGIN).count("\n")) / job)))
    before = "".join((JOB + FUNCTION).format(n=n) for n in jobs)
    return top + before + PLUGIN + "".join(METHOD.format(n=n) for n in jobs)


def helper(number: int) -> str:
    """Return the module beside it."""
    return f'"""What the plugin takes from beside it."""\n\nHELPER = {FIRST + number}\n'


def module(number: int, version: int) -> str:
    """Return one of a package's modules: functions, and a constant."""
    top = f'"""Part {number} of a package."""\n\nimport math\n\nVERSION = {FIRST + version}\n'
    top += f"SCALE = math.sqrt({number})\n"
    return top + "".join(FUNCTION.format(n=n) for n in range(round(MODULE / FUNCTION.count("\n"))))


def package(version: int) -> dict[str, str]:
    """Return a plugin's package: files by name."""
    names = [f"part_{number:02}" for number in range(MODULES)]
    imports = "\n".join(f"from . import {name}" for name in names)
    files = {f"{name}.py": module(number, version) for number, name in enumerate(names)}
    return {"__init__.py": plugin(version, import_=f"{imports}\n\nHELPER = {EDITED}.VERSION"), **files}


EDITED = f"part_{MODULES // 2:02}"
"""The module that is edited."""
