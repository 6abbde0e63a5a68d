"""What the streaming anomaly detector is worth on the Numenta Anomaly Benchmark, and what a point costs.

Each series is fed one point at a time, nothing is known beforehand, and the threshold is 0.5 for all of them: the
benchmark's own figures are for thresholds chosen afterwards, on the same series, for each profile. The data is not part
of this checkout: its folder is the argument, or ``NAB_DATA``. Figures are no tests: the exit status is 0 whatever they
are, and also where there is no data::

    python benchmarks/nab_detector.py [DATA] [--quick] [--leave-out] [--json | --markdown | --readme]
"""

from __future__ import annotations

from improving.telling import main

if __name__ == "__main__":
    main(__doc__)
