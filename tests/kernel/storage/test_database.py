"""A database in use: what becomes of it when the file is deleted, replaced, damaged, or finds no room."""

import errno
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from aetherra.kernel.storage import sqlite_file
from aetherra.kernel.storage.clean_stop import mark_clean_stop
from aetherra.kernel.storage.database import Database, DatabaseUnusableError
from aetherra.kernel.storage.sqlite_file import Schema

SCHEMA = Schema("catalogue", 1, {"things": "CREATE TABLE things (id INTEGER PRIMARY KEY, body BLOB)"})


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "state" / "catalogue.sqlite3"


class Catalogue:
    """A database of numbers, and what it was told to say."""

    def __init__(self, path: Path | str) -> None:
        self.said: list[str] = []
        self.database = Database(path, SCHEMA, self.said.append)

    def add(self, *ids: int, body: bytes = b"") -> None:
        with self.database.writing() as db:
            db.executemany("INSERT INTO things VALUES (?, ?)", [(each, body) for each in ids])

    def clear(self) -> None:
        with self.database.writing() as db:
            db.execute("DELETE FROM things")

    def all(self) -> list[int]:
        with self.database.reading() as db:
            return [each for (each,) in db.execute("SELECT id FROM things ORDER BY id")]


@pytest.fixture
def catalogue(file: Path) -> Iterator[Catalogue]:
    catalogue = Catalogue(file)
    yield catalogue
    catalogue.database.close()


class TestUse:
    @pytest.mark.parametrize("place", [":memory:", "", "disk"])
    def test_an_error_takes_back_the_whole_transaction(self, place: str, file: Path) -> None:
        """What a transaction did before an error of any kind is not there afterwards."""
        catalogue = Catalogue(file if place == "disk" else place)
        catalogue.add(1)
        with pytest.raises(ZeroDivisionError), catalogue.database.writing() as db:
            1 / db.execute("INSERT INTO things VALUES (2, NULL) RETURNING 0").fetchone()[0]
        with pytest.raises(DatabaseUnusableError, match="could not be written: UNIQUE constraint"):
            catalogue.add(3, 1)
        assert catalogue.all() == [1]
        catalogue.database.close()

    def test_readers_wait_for_no_writer(self, catalogue: Catalogue) -> None:
        """While a transaction is under way, another thread reads what was before."""
        catalogue.add(1)
        read: list[list[int]] = []
        with catalogue.database.writing() as db:
            db.execute("INSERT INTO things VALUES (2, NULL)")
            reader = threading.Thread(target=lambda: read.append(catalogue.all()))
            reader.start()
            reader.join(20.0)
            assert read == [[1]]
        assert catalogue.all() == [1, 2]

    @pytest.mark.parametrize("place", [":memory:", "", "disk"])
    def test_any_number_of_threads_may_use_it(self, place: str, file: Path) -> None:
        """Writers take turns, and no transaction is lost or torn."""
        catalogue = Catalogue(file if place == "disk" else place)
        torn: list[list[int]] = []

        def use(first: int) -> None:
            for each in range(first, first + 40, 2):
                catalogue.add(each, each + 1)
                seen = catalogue.all()
                if len(seen) % 2:
                    torn.append(seen)

        threads = [threading.Thread(target=use, args=(number * 100,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert torn == []
        assert len(catalogue.all()) == 240
        catalogue.database.close()

    @pytest.mark.parametrize("place", [":memory:", "", "disk"])
    def test_a_closed_one_says_so(self, place: str, file: Path) -> None:
        """Closing twice is fine, and nothing opens it again."""
        catalogue = Catalogue(file if place == "disk" else place)
        catalogue.database.close()
        catalogue.database.close()
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            catalogue.add(1)
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            catalogue.all()


class TestAFileThatIsTakenAway:
    def test_deleted_is_written_anew(self, catalogue: Catalogue, file: Path) -> None:
        """All that it held is there, on disk too, and it is said; what is added afterwards goes there."""
        catalogue.add(1, 2)
        for path in file.parent.iterdir():
            path.unlink()
        assert catalogue.all() == [1, 2]
        catalogue.add(3)
        assert catalogue.said == [
            f"the catalogue at {file} was deleted while in use; it was written anew with all that it held"
        ]
        assert seen_by_another(file) == [1, 2, 3]
        assert catalogue.all() == [1, 2, 3]

    def test_deleted_without_its_log(self, catalogue: Catalogue, file: Path) -> None:
        """The log that stays behind is not taken for one of the new file."""
        for first in range(0, 4_000, 100):
            catalogue.add(*range(first, first + 100), body=bytes(1_000))
        with catalogue.database.writing() as db:
            db.execute("DELETE FROM things WHERE id < 3000")
        catalogue.add(3)
        file.unlink()
        catalogue.add(4)
        assert seen_by_another(file) == [3, 4, *range(3_000, 4_000)]
        assert catalogue.database.set_aside is None

    def test_deleted_with_its_folder(self, catalogue: Catalogue, file: Path) -> None:
        """The folder is made again."""
        catalogue.add(1, 2)
        shutil.rmtree(file.parent)
        catalogue.add(3)
        assert seen_by_another(file) == [1, 2, 3]

    def test_only_the_log_is_deleted(self, catalogue: Catalogue, file: Path) -> None:
        """What was in it alone goes into the file."""
        catalogue.add(1, 2)
        file.with_name(f"{file.name}-wal").unlink()
        catalogue.add(3)
        assert catalogue.said == [
            f"the catalogue at {file} lost its log while in use; what that held was put into the file"
        ]
        assert seen_by_another(file) == [1, 2, 3]

    def test_another_one_is_put_in_its_place(self, catalogue: Catalogue, file: Path, tmp_path: Path) -> None:
        """A copy that somebody brought back is used from the next transaction on, and not written over."""
        catalogue.add(1, 2)
        other = Catalogue(tmp_path / "other.sqlite3")
        other.add(7)
        other.database.close()
        for path in file.parent.iterdir():
            path.unlink()
        (tmp_path / "other.sqlite3").rename(file)
        catalogue.add(8)
        assert catalogue.all() == [7, 8]
        assert "was replaced while in use" in catalogue.said[0]

    def test_a_folder_stands_in_its_place(self, catalogue: Catalogue, file: Path) -> None:
        """It is an error until the folder is gone; then whoever comes first, to read or to write, has a new one."""
        catalogue.add(1, 2)
        for path in file.parent.iterdir():
            path.unlink()
        file.mkdir()
        for _ in range(2):
            with pytest.raises(DatabaseUnusableError, match=str(file)):
                catalogue.add(3)
        file.rmdir()
        assert catalogue.all() == []
        catalogue.add(4)
        assert catalogue.all() == [4]


class TestDamageWhileInUse:
    @pytest.mark.parametrize("use", [Catalogue.clear, Catalogue.all], ids=["writing", "reading"])
    def test_it_is_moved_aside_and_a_new_one_begun(
        self, catalogue: Catalogue, file: Path, use: Callable[[Catalogue], object]
    ) -> None:
        """The call that meets it says what was done; it is told; the next call has a database."""
        catalogue.database.close()
        fill(file)
        catalogue.database = Database(file, SCHEMA, catalogue.said.append)
        size = file.stat().st_size
        damage(file)
        with pytest.raises(DatabaseUnusableError, match=r"malformed; it was moved to .*corrupt-1 and a new one begun"):
            use(catalogue)
        aside = catalogue.database.set_aside
        assert aside == file.with_name(f"{file.name}.corrupt-1")
        assert aside.stat().st_size == size
        assert "was damaged while in use" in catalogue.said[0]
        catalogue.add(5)
        assert catalogue.all() == [5]

    @pytest.mark.parametrize("use", [Catalogue.clear, Catalogue.all], ids=["writing", "reading"])
    def test_no_room_for_a_new_one_is_for_good(
        self,
        catalogue: Catalogue,
        file: Path,
        use: Callable[[Catalogue], object],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Where no new one can be begun, the damaged one stays where it is and each call says so; then all goes on."""
        catalogue.database.close()
        fill(file)
        catalogue.database = Database(file, SCHEMA, catalogue.said.append)
        damage(file)
        really = sqlite_file.connected

        def connected(path: Path | str) -> sqlite3.Connection:
            if not file.exists():
                file.touch()
                raise OSError(errno.ENOSPC, "No space left on device")
            return really(path)

        with monkeypatch.context() as full:
            full.setattr(sqlite_file, "connected", connected)
            for _ in range(2):
                with pytest.raises(DatabaseUnusableError, match="No space left on device"):
                    use(catalogue)
            assert [path.name for path in file.parent.iterdir() if "corrupt" in path.name] == []
            assert catalogue.said == []

        assert catalogue.all() == []
        assert catalogue.database.set_aside == file.with_name(f"{file.name}.corrupt-1")
        assert len(catalogue.said) == 1 and "was damaged while in use" in catalogue.said[0]
        catalogue.add(5)
        assert catalogue.all() == [5]

    def test_text_that_is_none_stays(self, file: Path) -> None:
        """Bytes that are no UTF-8 are damage also where they are met later, by whoever reads that row first."""
        schema = Schema("catalogue", 1, {"names": "CREATE TABLE names (name TEXT)"}, text=("SELECT name FROM names",))
        database = Database(file, schema)
        with database.writing() as db:
            db.execute("INSERT INTO names VALUES (CAST(x'6eff' AS TEXT))")
        with (
            pytest.raises(DatabaseUnusableError, match=r"utf-8.*; it was moved to .*corrupt-1 and a new one begun"),
            database.reading() as db,
        ):
            db.execute("SELECT name FROM names").fetchall()
        with database.reading() as db:
            assert db.execute("SELECT name FROM names").fetchall() == []
        database.close()


class TestCleanStop:
    """What was left by a clean stop is believed, and nothing else."""

    def test_each_start_checks_the_whole_file(self, file: Path) -> None:
        """Damage that a disk did without a word is found when it is met, and then as at opening."""
        fill(file)
        damage(file)
        assert mark_clean_stop(file)
        catalogue = Catalogue(file)
        assert catalogue.database.set_aside is None
        with pytest.raises(DatabaseUnusableError, match=r"malformed; it was moved to .*corrupt-1 and a new one begun"):
            catalogue.all()
        catalogue.add(5)
        catalogue.database.close()
        catalogue = Catalogue(file)
        assert (catalogue.all(), catalogue.database.set_aside) == ([5], None)
        catalogue.database.close()

    @pytest.mark.parametrize("restored", [False, True])
    def test_damage_after_a_clean_stop_is_believed(self, file: Path, restored: bool) -> None:
        """Whatever others do to a closed file is found at opening, also where they set its time back."""
        fill(file)
        times = file.stat()
        damage(file)
        if restored:
            os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
        catalogue = Catalogue(file)
        assert catalogue.database.set_aside == file.with_name(f"{file.name}.corrupt-1")
        catalogue.database.close()

    def test_what_a_crash_left_is_believed(self, file: Path) -> None:
        """A process that dies leaves no mark, whenever it dies after opening: the whole file is checked."""
        fill(file)
        run = subprocess.run([sys.executable, "-c", KILLED, str(file)], capture_output=True, text=True, check=False)
        assert run.returncode == -signal.SIGKILL, run.stderr
        damage(file)
        times = file.stat()
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
        catalogue = Catalogue(file)
        assert catalogue.database.set_aside is not None
        catalogue.database.close()

    def test_a_file_that_others_have_open_is_marked(self, catalogue: Catalogue, file: Path) -> None:
        """Only the last who closes it marks it, and who opens it takes the mark away."""
        mark = file.with_name(f"{file.name}-clean")
        other = Catalogue(file)
        other.add(1)
        catalogue.database.close()
        assert not mark.exists()
        other.database.close()
        assert mark.exists()
        catalogue.database = Database(file, SCHEMA)
        assert not mark.exists()

    @pytest.mark.parametrize("put", [False, True], ids=["gone", "another"])
    def test_a_file_that_is_not_ours_is_marked(self, catalogue: Catalogue, file: Path, put: bool) -> None:
        """Nobody vouches at the end for what somebody has put in the place of the file meanwhile."""
        catalogue.add(1)
        for path in file.parent.iterdir():
            path.unlink()
        if put:
            file.write_bytes(b"anything")
        catalogue.database.close()
        assert [path.name for path in file.parent.iterdir()] == [file.name] * put


class TestNoRoom:
    def test_a_full_disk_stores_nothing_and_harms_nothing(self, file: Path) -> None:
        """What does not fit is refused with the reason, what was stored stays, and with room again it goes on."""
        run = subprocess.run([sys.executable, "-c", FULL, str(file)], capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stderr
        told = run.stdout.splitlines()
        assert told[0].startswith(f"DatabaseUnusableError: the catalogue at {file} could not be written: ")
        assert told[1] == "10 things while full, 11 with room again"
        assert len(seen_by_another(file)) == 11

    def test_a_full_file_system_of_its_own(self, tmp_path: Path) -> None:
        """The same where a file system that is full to the last byte can be mounted."""
        folder = tmp_path / "mounted"
        folder.mkdir()
        mount = f"mount -t tmpfs -o size=256k none {folder} && "
        inside = ["unshare", "--map-root-user", "--mount", "sh", "-c"]
        if (
            shutil.which("unshare") is None
            or subprocess.run([*inside, f"{mount}true"], capture_output=True, check=False).returncode
        ):
            pytest.skip("no file system can be mounted here")
        file = folder / "catalogue.sqlite3"
        command = [*inside, mount + 'exec "$@"', "inside", sys.executable, "-c", MOUNTED, str(file)]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stderr
        told = run.stdout.splitlines()
        assert told[0].startswith(f"DatabaseUnusableError: the catalogue at {file} could not be written: ")
        assert told[1] == "10 things while full, 11 with room again"


class TestRights:
    def test_a_folder_that_may_only_be_read(self, tmp_path: Path) -> None:
        """It is no damage: the error says which file, and nothing is moved."""
        folder = tmp_path / "readonly"
        folder.mkdir()
        Catalogue(folder / "catalogue.sqlite3").database.close()
        before = (folder / "catalogue.sqlite3").read_bytes()
        inside = ["unshare", "--map-root-user", "--mount", "sh", "-c"]
        mount = f"mount --bind {folder} {folder} && mount -o remount,bind,ro {folder} && "
        if os.geteuid() != 0:
            folder.chmod(0o500)
            command = [sys.executable, "-c", READ_ONLY, str(folder)]
        elif (
            shutil.which("unshare") is None
            or subprocess.run([*inside, f"{mount}true"], capture_output=True, check=False).returncode
        ):
            pytest.skip("nothing can be mounted here, and root may write everywhere")
        else:
            command = [*inside, mount + 'exec "$@"', "inside", sys.executable, "-c", READ_ONLY, str(folder)]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stderr
        existing, new = run.stdout.splitlines()
        assert existing.startswith(f"the catalogue at {folder / 'catalogue.sqlite3'} could not be opened: ")
        assert new.startswith(f"the catalogue at {folder / 'new.sqlite3'} could not be opened: ")
        assert sorted(path.name for path in folder.iterdir()) == ["catalogue.sqlite3", "catalogue.sqlite3-clean"]
        assert (folder / "catalogue.sqlite3").read_bytes() == before


def fill(file: Path) -> None:
    """Leave a closed file of some megabytes."""
    catalogue = Catalogue(file)
    for first in range(0, 4_000, 1_000):
        catalogue.add(*range(first, first + 1_000), body=bytes(1_000))
    catalogue.database.close()


def damage(file: Path) -> None:
    """Write over all but the first page: of the same size, and with a schema that can be read."""
    with file.open("r+b") as raw:
        raw.seek(4_096)
        raw.write(os.urandom(file.stat().st_size - 4_096))


def seen_by_another(file: Path) -> list[int]:
    db = sqlite3.connect(file)
    try:
        return [each for (each,) in db.execute("SELECT id FROM things ORDER BY id")]
    finally:
        db.close()


BEGIN = """
import os, resource, sys
from pathlib import Path
from aetherra.kernel.storage.database import Database, DatabaseUnusableError
from aetherra.kernel.storage.sqlite_file import Schema
SCHEMA = Schema("catalogue", 1, {"things": "CREATE TABLE things (id INTEGER PRIMARY KEY, body BLOB)"})
"""

USE = """
def add(number, size):
    with database.writing() as db:
        db.execute("INSERT INTO things VALUES (?, ?)", (number, bytes(size)))
def count():
    with database.reading() as db:
        return db.execute("SELECT COUNT(*) FROM things").fetchone()[0]
file = Path(sys.argv[1])
database = Database(file, SCHEMA)
for number in range(10):
    add(number, 10)
fill()
try:
    add(10, 500_000)
except DatabaseUnusableError as error:
    print(f"{type(error).__name__}: {error}")
full = count()
clear()
add(11, 10)
print(f"{full} things while full, {count()} with room again")
database.close()
"""

FULL = (
    BEGIN
    + """
def fill():
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
def clear():
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
"""
    + USE
)

KILLED = (
    BEGIN
    + """
import signal
database = Database(Path(sys.argv[1]), SCHEMA)
os.kill(os.getpid(), signal.SIGKILL)
"""
)

MOUNTED = (
    BEGIN
    + """
def fill():
    with open(file.with_name("ballast"), "wb", buffering=0) as ballast:
        try:
            while ballast.write(bytes(512)):
                pass
        except OSError:
            pass
def clear():
    file.with_name("ballast").unlink()
"""
    + USE
)

READ_ONLY = (
    BEGIN
    + """
for name in ("catalogue.sqlite3", "new.sqlite3"):
    try:
        Database(Path(sys.argv[1]) / name, SCHEMA)
    except DatabaseUnusableError as error:
        print(error)
"""
)
