"""A program of its own that calls a running host: start one with ``aetherra run`` in the folder that you name here."""

import sys
from pathlib import Path

import anyio

from aetherra.registry import HandlerError, NoHandlerError, connect


async def main(project: Path) -> None:
    async with connect(project / ".aetherra" / "control.sock") as host:
        status = await host.call_tag("kernel.status")
        print(f"process {status['pid']} is {status['health']['status']}, up {status['uptime']:.0f} s")
        try:
            print(await host.call_tag("selfimprovement.trends", {"name": "loop.lag", "window": 600}))
        except (NoHandlerError, HandlerError) as exc:
            print(f"no trend: {exc}")
        async with host.listen("homeostasis.*") as events:
            async for event in events:
                print(f"health score {event.body['health_score']}")
                break


if __name__ == "__main__":
    anyio.run(main, Path(sys.argv[1] if len(sys.argv) > 1 else "."))
