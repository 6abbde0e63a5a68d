"""What the benchmarks share: measuring cases beside their floors, and telling what came of it."""
