"""The shape of settings: read off the source as it would be if it were run, and Any where only that would tell."""

from __future__ import annotations

from textwrap import dedent
from typing import Any

import pytest

from aetherra.plugins.self_incorporation.integration.shape import misfit

LAMP = """\
from __future__ import annotations
from typing import Annotated, ClassVar, Literal
import enum
import msgspec
from aetherra.plugins import Plugin, Settings
from elsewhere import Odd

raise SystemExit("it was run")

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class Tone(enum.Enum):
    WARM = "warm"
    COLD = "cold"


class Bulb(msgspec.Struct, frozen=True, rename="kebab"):
    socket_type: str
    next: Bulb | None = None


class LampSettings(Settings):
    room: str
    brightness: Share = 1.0
    mode: Literal["on", "off"] = "on"
    tone: Tone = Tone.WARM
    bulbs: tuple[Bulb, ...] = ()
    names: dict[str, int] = {}
    limit: "int | None" = None
    odd: Odd = Odd()
    far: int = msgspec.field(default=3, name="far-away")
    KIND: ClassVar[str] = "x"


class Lamp(Plugin[LampSettings]):
    name = "lamp"
"""


ODD = [
    "    a: Annotated[int, m.Meta(ge='x')]\n    b: int\n    c: str\n    d: list",
    f"    a: Annotated[int, m.Meta(ge={'9' * 400})]\n    b: Annotated[int, m.Meta(ge=1e999)]\n    c: Any\n    d: Any",
    f"    a: Literal[{'9' * 400}]\n    b: Literal[{2**63}, -{2**64}]\n    c: Literal[1.5]\n    d: Literal[True, [1]]",
    "    a: Literal[()]\n    b: Any\n    c: Any\n    d: Any",
    "    a: Literal[1, 'x', ..., b'y']\n    b: Annotated\n    c: Optional[()]\n    d: Union[()]",
    "    a: list[int] | tuple[int, ...] | set[str]\n    b: int = m.field(name=3)\n    c: str\n    d: list",
    f"    a: {'list[' * 50}int{']' * 50} | int\n    b: dict[list, int] | int\n    c: str\n    d: m.UnsetType | list",
    "    a: Annotated[int, m.Meta(extra=f())]\n    b: Annotated[int, m.Meta(**f)]\n    c: list\\\n.x\n    d: list",
    "    c: Annotated[str, m.Meta(pattern='(x+x+)+y[')]\n    a: int\n    b: int\n    d: list[*list]",
    f"    a: '{'-' * 100_000}1'\n    b: int\n    c: '{'not ' * 50_000}x'\n    d: list",
]


def of(source: str | dict[str, str], settings: dict[str, Any], item: str = "in/lamp.py") -> str:
    files = {item: source} if isinstance(source, str) else source
    return misfit("lamp", settings, item, list(files), lambda path: dedent(files[path]).encode())


class TestMisfit:
    @pytest.mark.parametrize(
        "settings",
        [
            {"room": "hall"},
            {"room": "hall", "brightness": 0.5, "mode": "off", "tone": "cold", "limit": 3, "far-away": 2},
            {"room": "hall", "bulbs": [{"socket-type": "E27", "next": {"socket-type": "E14"}}], "names": {"a": 1}},
            {"room": "hall", "odd": {"what": "ever"}},
        ],
    )
    def test_settings_that_fit_are_refused(self, settings: dict[str, Any]) -> None:
        """What the plugin would take is right, and so is what only running it would tell."""
        assert of(LAMP, settings) == ""

    @pytest.mark.parametrize(
        ("settings", "said"),
        [
            ({}, "missing required field `room`"),
            ({"room": 3}, "Expected `str`, got `int` - at `$.room`"),
            ({"room": "hall", "rooom": "x"}, "unknown field `rooom`"),
            ({"room": "hall", "brightness": 2.0}, "`float` <= 1.0 - at `$.brightness`"),
            ({"room": "hall", "mode": "dim"}, "'dim' - at `$.mode`"),
            ({"room": "hall", "tone": "hot"}, "'hot' - at `$.tone`"),
            ({"room": "hall", "limit": "x"}, "at `$.limit`"),
            ({"room": "hall", "bulbs": [{}]}, "at `$.bulbs[0]`"),
            ({"room": "hall", "bulbs": [{"socket-type": 27}]}, "at `$.bulbs[0].socket-type`"),
            ({"room": "hall", "names": {"a": "b"}}, "at `$.names[...]`"),
            ({"room": "hall", "far": 3}, "unknown field `far`"),
            ({"room": "hall", "KIND": "y"}, "unknown field `KIND`"),
        ],
    )
    def test_a_wrong_field_is_let_through(self, settings: dict[str, Any], said: str) -> None:
        """It is told with its path, and nothing of the plugin has run."""
        assert said in of(LAMP, settings)

    def test_a_package_hides_its_settings(self) -> None:
        """They are found where they are defined, over imports within it, and over classes they are made from."""
        files = {
            "in/lamp/__init__.py": "from .service import Lamp\n",
            "in/lamp/service.py": "from aetherra.plugins import Plugin as P\nfrom . import parts\n"
            "class Lamp(P[parts.LampSettings]): ...\n",
            "in/lamp/parts/__init__.py": "from lamp.parts.base import Base\nclass LampSettings(Base):\n    room: str\n",
            "in/lamp/parts/base.py": "from aetherra.plugins import Settings\nclass Base(Settings):\n    floor: int\n",
        }
        assert of(files, {"room": "hall", "floor": 1}, "in/lamp") == ""
        assert "`$.floor`" in of(files, {"room": "hall", "floor": "one"}, "in/lamp")

    def test_types_of_types_are_read_again_and_again(self) -> None:
        """Each class and each name is read once, however many refer to it: a plan waits for no exponential."""
        classes = ["class C0(Settings):\n    x: int", "class B0(Settings): ...", "A0 = int"]
        for number in range(60):
            after = number + 1
            classes += [
                f"class C{after}(Settings):\n    x: C{number}\n    y: C{number}",
                f"class B{after}(B{number}, D{number}): ...\nclass D{after}(B{number}, D{number}): ...",
                f"A{after} = tuple[A{number}, A{number}]",
            ]
        classes += ["class D0(Settings): ...", "class S(B60):\n    c: C60\n    a: A60"]
        source = "\n".join(["from aetherra.plugins import *", *classes, "class Lamp(Plugin[S]): ..."])
        source = source.replace("import *", "import Plugin, Settings")

        assert "`$.c`" in of(source, {"c": 1, "a": []})

    def test_a_plugin_without_settings_takes_some(self) -> None:
        """It declares none, so none can be given."""
        source = "from aetherra.plugins import Plugin\nclass Lamp(Plugin): ...\n"
        assert of(source, {}) == ""
        assert "unknown field `room`" in of(source, {"room": "hall"})

    @pytest.mark.parametrize(
        ("body", "settings"),
        [
            ("def f(:", "S"),
            ("", "made()"),
            ("from x import S", "S"),
            ("from x import B\nclass S(B):\n    a: int", "S"),
            ("class S(Settings, rename=f):\n    a: int", "S"),
            (
                "A = B\nB = A\nclass S(Settings):\n    a: A\n    b: 'x y'\n    c: int | list[f()]\n    d: list[int, 3]",
                "S",
            ),
            ("class S(S): ...", "S"),
            *((f"import msgspec as m\nfrom typing import *\nclass S(Settings):\n{fields}", "S") for fields in ODD),
        ],
    )
    def test_what_cannot_be_read_is_an_error(self, body: str, settings: str) -> None:
        """It counts as right, and is for the loader to check."""
        source = f"from aetherra.plugins import Plugin, Settings\n{body}\nclass Lamp(Plugin[{settings}]): ...\n"
        assert of(source, {"a": 1, "b": 2, "c": "x", "d": []}) == ""
