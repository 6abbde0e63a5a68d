"""The parked letters: put aside in a file of their own, and put back as they were."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager, suppress

from aetherra.kernel.actions.letter import DeadLetter
from aetherra.kernel.actions.letter_file import joined
from aetherra.kernel.actions.letter_files import LetterFiles
from aetherra.kernel.datadir import sync_folder
from aetherra.kernel.errors import DataFileError

log = logging.getLogger("aetherra.kernel.dlq")
AT_ONCE = 100
"""Letters that are put back by one call of the system."""
Identity = tuple[str, float]
"""A letter's trace id and time."""


class ParkedLetters:
    """``kernel_dlq.parked``, beside the files of the queue, whose lock is this one's, too.

    A letter is on the disk where it goes to before it leaves where it was. So a death between the two leaves it in
    both, and a mark, ``kernel_dlq.moving``, which says so: it is then the queue's, and the other is not counted, not
    read, and deleted by whoever moves or removes letters next.

    Args:
        queue: The files that letters leave, and come back to.
        most: Bytes that the file may hold.
    """

    def __init__(self, queue: LetterFiles, most: int) -> None:
        self._queue = queue
        self._most = most
        self.path = queue.path.with_suffix(".parked")
        self._mark = queue.path.with_suffix(".moving")
        self._files = LetterFiles(self.path, None, sync=True, lock=queue.lock)
        self._doubles = 0

    # Insight

    @property
    def letters(self) -> int:
        """Letters that are parked, as far as they were counted."""
        return max(0, self._files.letters - self._doubles)

    @property
    def strange(self) -> int:
        """Lines here that are no letters to us, as far as they were counted."""
        return self._files.strange

    def survey(self) -> None:
        """Count what others changed. May run beside any change.

        Raises:
            DataFileError: A file cannot be read.
        """
        self._files.survey()
        self._doubles = sum(map(len, self._in_both().values())) if self._mark.exists() else 0

    def backwards(self, since: float | None = None) -> Generator[DeadLetter]:
        """Yield the letters, the last parked first.

        Raises:
            DataFileError: A file cannot be read.
        """
        doubles = self._in_both() if self._mark.exists() else {}
        with closing(self._files.backwards(since)) as letters:
            for letter in letters:
                if letter not in doubles.get((letter.trace_id, letter.ts), ()):
                    yield letter

    def _in_both(self) -> dict[Identity, list[DeadLetter]]:
        """Return the letters here that the queue has as well."""
        here: defaultdict[Identity, list[DeadLetter]] = defaultdict(list)
        with closing(self._files.backwards()) as letters:
            for letter in letters:
                here[letter.trace_id, letter.ts].append(letter)
        found: dict[Identity, list[DeadLetter]] = {}
        if here:
            with closing(self._queue.backwards(min(ts for _, ts in here))) as letters:
                for letter in letters:
                    identity = (letter.trace_id, letter.ts)
                    if letter in here.get(identity, ()) and letter not in found.get(identity, ()):
                        found.setdefault(identity, []).append(letter)
        return found

    # Changing; the lock is to be held

    def tidy(self) -> None:
        """Put in order what a death has left. The lock is to be held.

        Raises:
            DataFileError: A file cannot be read or written; nothing is lost.
        """
        self._files.tidy()
        self.settle()

    def settle(self) -> None:
        """Have each letter in one place again, if somebody died while moving them. The lock is to be held.

        Raises:
            DataFileError: A file cannot be read or written; they stay in both.
        """
        if not self._mark.exists():
            return
        doubles = self._in_both()
        if doubles:
            gone = self._files.take_out(lambda letter: letter in doubles.get((letter.trace_id, letter.ts), ()))
            log.warning("%d dead letters were being parked or put back when a process ended; they are not parked", gone)
        with self._told():
            self._mark.unlink(missing_ok=True)
        self._doubles = 0

    def park(self, goes: Callable[[DeadLetter], bool]) -> int:
        """Take the letters that fit out of the queue and return how many those were. The lock is to be held.

        Raises:
            DataFileError: A file cannot be read or written, or there is no room for those of one of the queue's files;
                they, and those of later ones, stay in the queue.
        """
        with self._moving():
            return self._queue.take_out(goes, self._keep)

    def unpark(self, goes: Callable[[DeadLetter], bool]) -> int:
        """Put the letters that fit back, their lines as they were, as the queue's last ones. The lock is to be held.

        Raises:
            DataFileError: A file cannot be read or written; each letter is here or there.
        """
        with self._moving():
            return self._files.take_out(goes, self._put_back)

    def remove(self, goes: Callable[[DeadLetter], bool]) -> int:
        """Delete the letters that fit and return how many those were. The lock is to be held.

        Raises:
            DataFileError: The file cannot be rewritten; what is in it stays.
        """
        return self._files.take_out(goes)

    def _keep(self, lines: list[bytes], letters: list[DeadLetter]) -> None:
        size = self.path.stat().st_size if self.path.exists() else 0
        if size + len(joined(lines)) > self._most:
            why = f"has no room for {len(lines)} letters more ({self._most:,} bytes at most); unpark and purge some"
            raise DataFileError(str(self.path), why)
        self._files.append(lines, letters)

    def _put_back(self, lines: list[bytes], letters: list[DeadLetter]) -> None:
        for i in range(0, len(lines), AT_ONCE):
            self._queue.append(lines[i : i + AT_ONCE], letters[i : i + AT_ONCE], sync=True)

    @contextmanager
    def _moving(self) -> Generator[None]:
        """Mark that letters may be in two places, until each is in one again."""
        self.settle()
        with self._told():
            self._mark.touch(mode=0o600)
            sync_folder(self._mark.parent)
        try:
            yield
        except BaseException:
            with suppress(DataFileError):
                self.settle()
            raise
        with self._told():
            self._mark.unlink(missing_ok=True)

    @contextmanager
    def _told(self) -> Generator[None]:
        try:
            yield
        except OSError as exc:
            raise DataFileError(str(self._mark), f"cannot write: {exc.strerror or exc}") from exc

    def close(self) -> None:
        """Close the file."""
        self._files.close()
