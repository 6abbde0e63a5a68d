"""What actions cost: throughput, durability, memory, and how long urgent ones wait; and the same job done by others.

Each figure is a ratio to a floor that is measured in the same rounds, turn by turn, so that a noisy machine disturbs
both; the median of the rounds is printed. Figures are no tests: the exit status is 0 whatever they are. Run it from an
environment with ``aetherra[trio]``, and with ``aetherra[bench]`` for the others' figures::

    python benchmarks/actions.py [--rounds 5] [--quick] [--json | --markdown | --readme] [--only PART]
"""

from __future__ import annotations

from queueing import durability, memory, overtaking, peers, throughput

from measuring.report import Part, main

PARTS = {
    "throughput": Part("asyncio", throughput.on_asyncio),
    "journal": Part("asyncio", durability.journal),
    "durability": Part("asyncio", durability.side_by_side),
    "memory": Part("asyncio", memory.measured),
    "urgent": Part("asyncio", overtaking.measured),
    "trio": Part("trio", throughput.on_trio),
    "peers": Part("asyncio", peers.measured),
}

if __name__ == "__main__":
    main("actions", __doc__, PARTS, peers.MODULES)
