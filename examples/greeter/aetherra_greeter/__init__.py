"""A plugin that greets, and remembers how often."""
