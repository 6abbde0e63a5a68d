"""Ids: no two messages anywhere have one."""

from __future__ import annotations

import os
import subprocess
import sys

from aetherra.registry.call import new_id

FORKED = """
import os
from aetherra.registry.call import new_id
new_id()
reading, writing = os.pipe()
child = os.fork()
os.write(writing, f"{new_id()}\\n".encode())
if not child:
    os._exit(0)
os.waitpid(child, 0)
print(os.read(reading, 1000).decode())
"""


class TestNewId:
    def test_two_ids_are_equal(self) -> None:
        """They count up, and name the process."""
        ids = [new_id() for _ in range(1000)]

        assert len(set(ids)) == 1000
        assert all(each.startswith(f"{os.getpid():x}-") for each in ids)

    def test_a_forked_process_draws_its_parents_ids(self) -> None:
        """It is another process, with random bytes of its own."""
        ended = subprocess.run([sys.executable, "-c", FORKED], capture_output=True, text=True, check=True)
        ids = ended.stdout.split()

        assert len(ids) == 2
        assert len({each.rpartition("-")[0] for each in ids}) == 2
