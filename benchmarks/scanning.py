"""What a scan of a tree costs: cold, on one core; when nothing has changed; when one file has; and in memory.

The real tree is the folder of installed packages of this interpreter, or ``AETHERRA_TREE``. The floor stands in the
same round, in a process of its own on the same core: it walks the tree, reads and hashes every file and parses those
that are Python, and does nothing with any of it. Times are of that core, so that a busy machine adds little. The large
tree is generated. Figures are no tests: the exit status is 0 whatever they are::

    python benchmarks/scanning.py [--rounds 3] [--quick] [--only real] [--json | --markdown | --readme]
"""

from __future__ import annotations

from incorporating.scans import PARTS

from measuring.report import main

if __name__ == "__main__":
    main("scanning", __doc__, PARTS, ())
