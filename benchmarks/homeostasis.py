"""What homeostasis is worth, and what it costs.

The worth: a simulated plant that knows nothing of this host goes wrong in many ways, and controllers are compared by
the share of its requests that are served badly, from one that does nothing to an oracle that knows what is wrong. The
same seeds bring the same figures. The cost: processor time in a real host. Figures are no tests: the exit status is 0
whatever they are::

    python benchmarks/homeostasis.py [--seeds 3] [--quick] [--json | --markdown | --readme] [--only plant|cost]
"""

from __future__ import annotations

from healing.telling import main

if __name__ == "__main__":
    main(__doc__)
