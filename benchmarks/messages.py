"""What messages cost: calls, events, conversion and the control socket, and the same jobs done by others.

Each figure is a ratio to a floor that is measured in the same rounds, turn by turn, so that a noisy machine disturbs
both; the median of the rounds is printed. Figures are no tests: the exit status is 0 whatever they are. Run it from an
environment with ``aetherra[trio]``, and with ``aetherra[bench]`` for the others' figures::

    python benchmarks/messages.py [--rounds 5] [--quick] [--json | --markdown | --readme] [--only PART]
"""

from __future__ import annotations

from messaging import calls, conversions, events, peers, remote

from measuring.report import Part, main

PARTS = {
    "calls": Part("asyncio", calls.on_asyncio),
    "events": Part("asyncio", events.measured),
    "conversion": Part("asyncio", conversions.measured),
    "socket": Part("asyncio", remote.measured),
    "trio": Part("trio", calls.on_trio),
    "peers": Part("asyncio", peers.measured),
    "memory": Part("asyncio", calls.memory),
}

if __name__ == "__main__":
    main("messages", __doc__, PARTS, peers.MODULES)
