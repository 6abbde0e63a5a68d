"""``python -m aetherra.kernel.cli``: the command where its script is not on the path."""

from aetherra.kernel.cli import main

main()
