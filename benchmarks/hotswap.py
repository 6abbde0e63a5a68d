"""What a swap costs: from save to new answer, under load, of a package, and what a watch costs while nobody saves.

Each figure is a ratio to a floor that is measured in the same rounds, turn by turn, so that a noisy machine disturbs
both; the median of the rounds is printed. Figures are no tests: the exit status is 0 whatever they are. Run it from an
environment with ``aetherra[trio]``, and with ``aetherra[bench]`` for the others' figures::

    python benchmarks/hotswap.py [--rounds 5] [--quick] [--json | --markdown | --readme] [--only PART]
"""

from __future__ import annotations

from swapping import endurance, idle, peers, saves, swaps

from measuring.report import Part, main

PARTS = {
    "save": Part("asyncio", saves.on_asyncio),
    "swap": Part("asyncio", swaps.on_asyncio),
    "load": Part("asyncio", endurance.on_asyncio),
    "idle": Part("asyncio", idle.measured),
    "save-trio": Part("trio", saves.on_trio),
    "swap-trio": Part("trio", swaps.on_trio),
    "load-trio": Part("trio", endurance.on_trio),
    "peers": Part("asyncio", peers.measured),
}

if __name__ == "__main__":
    main("hotswap", __doc__, PARTS, peers.MODULES)
