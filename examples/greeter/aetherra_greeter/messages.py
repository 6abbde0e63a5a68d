"""What the greeter says: the only file that other plugins import."""

from aetherra.plugins import Message, Request


class Greeting(Message, tag="greeter.greeting"):
    """The reply to ``Greet``: the text, and how many there have been."""

    text: str
    count: int


class Greet(Request[Greeting], tag="greeter.greet"):
    """Ask for a greeting."""

    name: str


class Farewell(Message, tag="greeter.farewell"):
    """An event that the greeter hears."""

    name: str
