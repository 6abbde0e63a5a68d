"""What ``benchmarks/messages.py`` measures: one file a kind of message."""
