"""What ``benchmarks/actions.py`` measures of the action queue: one file a question."""
