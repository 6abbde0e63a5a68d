"""What ``benchmarks/hotswap.py`` measures: one file a promise of hot swap."""
