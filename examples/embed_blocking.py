"""The same for an application that is not async: the kernel runs in a thread of its own."""

from aetherra.kernel import Kernel
from aetherra.plugins import Message, Plugin, Request, handler


class Echo(Message, tag="echo.echo"):
    text: str


class Say(Request[Echo], tag="echo.say"):
    text: str


class Echoes(Plugin):
    @handler
    def say(self, request: Say) -> Echo:
        return Echo(request.text.upper())


if __name__ == "__main__":
    with Kernel.blocking() as kernel:
        kernel.add_plugin(Echoes)
        print(kernel.call(Say("hello")).text, kernel.submit(Say("again")).wait().text)
