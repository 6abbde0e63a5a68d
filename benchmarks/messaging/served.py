"""The other process of the socket's figures: a host with a plugin, or a bare echo of the same bytes.

``python served.py host PATH`` serves a kernel on ``PATH/control.sock``; ``python served.py echo PATH`` answers on the
socket PATH. Either ends when its standard input does.
"""

from __future__ import annotations

import sys
from pathlib import Path

import anyio
import msgspec
from anyio.abc import SocketStream

sys.path.insert(0, str(Path(__file__).parent.parent))

from aetherra.kernel import Config, Kernel
from messaging.vocabulary import Adder


class Script(msgspec.Struct, frozen=True):
    """What an echo is told first, as one line: after so many bytes, say this so many times."""

    request: int
    answer: bytes
    times: int


async def host(folder: Path) -> None:
    """Serve calls until standard input ends."""
    plain = Config.in_memory()
    kernel_config = msgspec.structs.replace(plain.kernel, data_dir=str(folder))
    async with Kernel(msgspec.structs.replace(plain, kernel=kernel_config)) as kernel:
        await kernel.add_plugin(Adder)
        await until_told()


async def echo(path: Path) -> None:
    """Answer as many clients as come, each by its script, until standard input ends."""
    async with await anyio.create_unix_listener(path, mode=0o600) as listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, answer)
        await until_told()
        group.cancel_scope.cancel()


async def answer(stream: SocketStream) -> None:
    """Answer one client: each request's bytes with each reply's bytes, sent one by one as a host does."""
    async with stream:
        line = b""
        while not line.endswith(b"\n"):
            line += await stream.receive()
        script = msgspec.json.decode(line, type=Script)
        await stream.send(b"\n")
        waiting = 0
        while True:
            try:
                waiting += len(await stream.receive())
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                return
            while waiting >= script.request:
                waiting -= script.request
                for _ in range(script.times):
                    await stream.send(script.answer)


async def until_told() -> None:
    """Return when standard input ends."""
    await anyio.wait_readable(sys.stdin.fileno())


if __name__ == "__main__":
    anyio.run({"host": host, "echo": echo}[sys.argv[1]], Path(sys.argv[2]))
