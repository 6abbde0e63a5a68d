"""Self-improvement: what its anomaly detector is worth on the Numenta Anomaly Benchmark, and what a point costs."""
