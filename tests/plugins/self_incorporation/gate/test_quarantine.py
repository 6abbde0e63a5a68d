"""What is set aside cannot be loaded, is kept over anything, and comes back as it was."""

import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from aetherra.plugins import DataFileError
from aetherra.plugins.self_incorporation.gate.quarantine import QuarantineManager
from aetherra.plugins.self_incorporation.gate.quarantined import Quarantined, QuarantineError
from aetherra.plugins.self_incorporation.index.paths import written
from aetherra.plugins.storage import StateFile

NOW = 1_700_000_000.0
# Imports once, and forks for each line it reads: ``act step where``. Says how the fork ended.
KILLED = """\
import os, signal, sys
from pathlib import Path
from aetherra.plugins.self_incorporation.gate.quarantine import QuarantineManager

vault, root = Path(sys.argv[1]), sys.argv[2]

def apart(source, target):
    if (Path(source).parent == vault) != (Path(target).parent == vault):
        raise OSError(18, "Invalid cross-device link")

def act(name, step, where):
    left = [step]
    def die(_):
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        left[0] -= 1
    rename, link = Path.rename, os.link
    if where == "other":
        Path.rename = lambda self, target: apart(self, target) or rename(self, target)
        os.link = lambda source, target, **names: apart(source, target) or link(source, target, **names)
    manager = QuarantineManager(vault, clock=lambda: 1.0, step=die)
    if name == "take":
        manager.quarantine(root, "item", digest="d", reason="r", by="b")
    else:
        getattr(manager, name)(manager.all(kept=True)[0].id, by="b")

for line in sys.stdin:
    name, step, where = line.split()
    child = os.fork()
    if not child:
        act(name, int(step), where)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def manager(folder: Path, **kwargs: Callable[[str], None]) -> QuarantineManager:
    return QuarantineManager(folder / "vault", clock=lambda: NOW, **kwargs)


def taken(vault: QuarantineManager, root: Path, path: str) -> Quarantined:
    return vault.quarantine(str(root), path, digest="digest", reason="it holds a threat", by="gate")


def seen(place: Path) -> dict[str, tuple[int, int, bytes]]:
    """All that matters of a file or tree: modes, times, bytes."""
    below = [place, *sorted(place.rglob("*"))]
    return {
        str(path.relative_to(place.parent)): (
            stat.S_IMODE(path.lstat().st_mode),
            path.lstat().st_mtime_ns,
            b"" if path.is_dir() else os.fsencode(path.readlink()) if path.is_symlink() else path.read_bytes(),
        )
        for path in below
    }


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    root.mkdir()
    return root


def file_at(root: Path) -> Path:
    place = root / "item"
    place.write_bytes(b"x = 1\r\n\xff")
    place.chmod(0o754)
    os.utime(place, ns=(5, 1_234_567_890_123_456_789))
    return place


def tree_at(root: Path) -> Path:
    place = root / "item"
    (place / "sub").mkdir(parents=True)
    (place / "__init__.py").write_bytes(b"")
    (place / "sub" / "tool").write_bytes(b"#!")
    (place / "sub" / "tool").chmod(0o711)
    (place / "link").symlink_to("nowhere")
    (place / "sub").chmod(0o750)
    for path in (place / "sub" / "tool", place / "sub", place / "__init__.py", place / "link", place):
        os.utime(path, ns=(7, 1_111_111_111_111_111_111), follow_symlinks=False)
    place.chmod(0o555)
    return place


@pytest.fixture(params=[file_at, tree_at], ids=["file", "folder"])
def place(request: pytest.FixtureRequest, root: Path) -> Path:
    made: Path = request.param(root)
    return made


class TestQuarantine:
    def test_something_is_left_to_be_loaded(self, tmp_path: Path, root: Path, place: Path) -> None:
        """Its place is empty, and what is kept has no name and no mode that anything is loaded by."""
        vault = manager(tmp_path)
        record = taken(vault, root, "item")

        assert list(root.iterdir()) == []
        (kept,) = (path for path in vault.folder.iterdir() if path.suffix != ".json")
        assert kept.suffix == ".quarantined"
        assert stat.S_IMODE(kept.lstat().st_mode) == 0
        assert [record.state, record.by, record.at] == ["kept", "gate", NOW]

    def test_a_module_that_was_set_aside_is_imported(self, tmp_path: Path, root: Path) -> None:
        """Another interpreter cannot import it, and can again once it is released."""
        (root / "evil.py").write_text("print('loaded')\n", encoding="utf-8")
        code = [sys.executable, "-B", "-c", f"import sys; sys.path.insert(0, {str(root)!r}); import evil"]
        vault = manager(tmp_path)
        record = taken(vault, root, "evil.py")
        refused = subprocess.run(code, capture_output=True, text=True, check=False)
        vault.release(record.id, by="Ada")

        assert "No module named 'evil'" in refused.stderr
        assert subprocess.run(code, capture_output=True, text=True, check=True).stdout == "loaded\n"

    def test_it_comes_back_other_than_it_was(self, tmp_path: Path, root: Path, place: Path) -> None:
        """Bytes, modes and times are as they were, also after a restart."""
        before = seen(place)
        taken(manager(tmp_path), root, "item")
        vault = manager(tmp_path)
        record = vault.release(vault.all(kept=True)[0].id, by="Ada")

        assert seen(place) == before
        assert (record.state, record.ended_by) == ("released", "Ada")
        assert [path.suffix for path in vault.folder.iterdir()] == [".json"]

    def test_a_name_of_any_bytes_is_lost(self, tmp_path: Path, root: Path) -> None:
        """A file is found by its written form, whatever its name is made of."""
        name = os.fsdecode(b"a\n\xff.py")
        (root / name).write_bytes(b"1")
        vault = manager(tmp_path)
        record = taken(vault, root, written(name))
        assert not (root / name).exists()
        vault.release(record.id, by="Ada")

        assert (root / name).read_bytes() == b"1"

    def test_other_names_of_a_file_are_locked_with_it(self, tmp_path: Path, root: Path) -> None:
        """A hard link elsewhere, in a package cache say, stays readable with the mode it had."""
        place = file_at(root)
        (tmp_path / "cache").hardlink_to(place)
        before = seen(place)
        vault = manager(tmp_path)
        record = taken(vault, root, "item")

        assert stat.S_IMODE((tmp_path / "cache").stat().st_mode) == 0o754
        vault.release(record.id, by="Ada")
        assert seen(place) == before

    @pytest.mark.parametrize("path", ["link", "pipe", "gone"])
    def test_what_is_no_file_is_set_aside(self, tmp_path: Path, root: Path, path: str) -> None:
        """A link, a pipe and nothing at all are refused, and stay as they are."""
        (root / "link").symlink_to("/etc/hostname")
        os.mkfifo(root / "pipe")
        vault = manager(tmp_path)

        with pytest.raises(QuarantineError, match="cannot be set aside"):
            taken(vault, root, path)
        assert sorted(entry.name for entry in root.iterdir()) == ["link", "pipe"]
        assert vault.all() == []

    def test_a_file_that_is_not_what_was_judged_is_set_aside(self, tmp_path: Path, root: Path) -> None:
        """What changed since is somebody's new work, and stays."""
        file_at(root)
        vault = manager(tmp_path)

        with pytest.raises(QuarantineError, match="changed since it was judged"):
            vault.quarantine(str(root), "item", digest="d", reason="r", by="b", unchanged=lambda _: False)
        assert (root / "item").exists()

    def test_the_vault_swallows_itself(self, root: Path) -> None:
        """A folder that the vault lies in cannot go into it."""
        (root / "item").mkdir()
        vault = QuarantineManager(root / "item" / "vault", clock=lambda: NOW)

        with pytest.raises(QuarantineError, match="the vault itself"):
            taken(vault, root, "item")

    def test_a_file_that_changes_on_its_way_is_kept_as_what_it_was(self, tmp_path: Path, root: Path) -> None:
        """What is written while it is moved goes back to its place, whole."""
        place = file_at(root)

        def write(step: str) -> None:
            if step == "rename":
                place.write_bytes(b"new work")

        vault = manager(tmp_path, step=write)
        with pytest.raises(QuarantineError, match="changed while it was set aside"):
            taken(vault, root, "item")
        assert place.read_bytes() == b"new work"

    @pytest.mark.parametrize("step", ["rename", "taken", "locked"])
    def test_a_quarantine_that_failed_is_a_release(self, tmp_path: Path, root: Path, place: Path, step: str) -> None:
        """What could not be set aside is in its place as it was, and nobody has said that it may come in."""
        before = seen(place)
        full = [OSError(28, "No space left on device")]

        def fail(now: str) -> None:
            if now == step and full:
                raise full.pop()

        vault = manager(tmp_path, step=fail)
        with pytest.raises(OSError, match="No space left"):
            taken(vault, root, "item")
        assert seen(place) == before
        for each in (vault, manager(tmp_path)):
            assert (each.gave_back("digest"), each.holds("digest"), each.all(), each.problems) == (False, False, [], ())
        assert taken(vault, root, "item").state == "kept"

    def test_a_record_that_cannot_be_written_takes_the_file_away(
        self, tmp_path: Path, root: Path, place: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Also at the very end: whoever hears an error finds it in its place."""
        before = seen(place)
        vault = manager(tmp_path)
        save = StateFile.save

        def full(file: StateFile[Quarantined], value: Quarantined) -> None:
            if value.state == "kept":
                raise DataFileError("record", "no space left")
            save(file, value)

        monkeypatch.setattr(StateFile, "save", full)
        with pytest.raises(DataFileError, match="no space left"):
            taken(vault, root, "item")
        assert seen(place) == before
        assert list(vault.folder.iterdir()) == []

    def test_what_was_put_in_its_place_meanwhile_is_lost(self, tmp_path: Path, root: Path) -> None:
        """Neither that nor what was taken away: it waits for a person, and the next start keeps it."""
        place = file_at(root)

        def retake(step: str) -> None:
            if step == "locked":
                place.write_bytes(b"new work")
                raise OSError(5, "Input/output error")

        vault = manager(tmp_path, step=retake)
        with pytest.raises(OSError, match="Input/output error"):
            taken(vault, root, "item")
        assert place.read_bytes() == b"new work"
        assert "something else stands" in vault.problems[0]
        assert vault.holds("digest")

        again = manager(tmp_path)
        assert [record.state for record in again.recover()] == ["kept"]
        assert again.problems == ()
        place.unlink()
        again.release(again.all()[0].id, by="Ada")
        assert place.read_bytes() == b"x = 1\r\n\xff"


class TestRelease:
    def test_somebody_elses_file_is_overwritten(self, tmp_path: Path, root: Path, place: Path) -> None:
        """A place that is taken is left alone, and what is kept stays kept."""
        vault = manager(tmp_path)
        record = taken(vault, root, "item")
        place.write_bytes(b"new")

        with pytest.raises(QuarantineError, match="something else stands"):
            vault.release(record.id, by="Ada")
        assert place.read_bytes() == b"new"
        assert vault.get(record.id).state == "kept"

    def test_somebody_elses_file_of_the_last_moment_is_overwritten(
        self, tmp_path: Path, root: Path, place: Path
    ) -> None:
        """Also one that comes into being between the look and the move; what is kept is not lost."""

        def write(step: str) -> None:
            if step == "give":
                place.write_bytes(b"new")

        vault = manager(tmp_path, step=write)
        record = taken(vault, root, "item")
        with pytest.raises(QuarantineError, match="cannot be released"):
            vault.release(record.id, by="Ada")

        assert place.read_bytes() == b"new"
        place.unlink()
        assert manager(tmp_path).release(record.id, by="Ada").state == "released"

    def test_what_was_changed_in_the_vault_is_given_back(self, tmp_path: Path, root: Path) -> None:
        """Whoever changes what is kept does not get it released."""
        file_at(root)
        vault = manager(tmp_path)
        record = taken(vault, root, "item")
        kept = vault.folder / f"{record.id}.quarantined"
        kept.chmod(0o600)
        kept.write_bytes(b"worse")

        with pytest.raises(QuarantineError, match="no more what was set aside"):
            vault.release(record.id, by="Ada")
        assert list(root.iterdir()) == []

    def test_a_folder_that_is_gone_keeps_it_from_its_place(self, tmp_path: Path, root: Path) -> None:
        """The folders above are made again."""
        (root / "a" / "b").mkdir(parents=True)
        (root / "a" / "b" / "c.py").write_bytes(b"1")
        vault = manager(tmp_path)
        record = taken(vault, root, "a/b/c.py")
        (root / "a" / "b").rmdir()
        (root / "a").rmdir()
        vault.release(record.id, by="Ada")

        assert (root / "a" / "b" / "c.py").read_bytes() == b"1"

    def test_it_is_released_twice(self, tmp_path: Path, root: Path) -> None:
        """What is not kept cannot be released, deleted or shown."""
        file_at(root)
        vault = manager(tmp_path)
        record = taken(vault, root, "item")
        vault.release(record.id, by="Ada")

        for act in (vault.release, vault.delete):
            with pytest.raises(QuarantineError, match="was released"):
                act(record.id, by="Ada")
        with pytest.raises(QuarantineError, match="nothing of that name"):
            vault.get("nothing")


class TestDelete:
    def test_it_is_not_gone_or_the_record_is(self, tmp_path: Path, root: Path, place: Path) -> None:
        """Nothing of it is left, and who deleted it stays known."""
        vault = manager(tmp_path)
        record = vault.delete(taken(vault, root, "item").id, by="Ada")

        assert (record.state, record.ended_by) == ("deleted", "Ada")
        assert [path.name for path in vault.folder.iterdir()] == [f"{record.id}.json"]
        assert vault.holds("digest")


class TestReview:
    def test_what_a_person_said_is_lost(self, tmp_path: Path, root: Path, place: Path) -> None:
        """The word of who has looked at what is kept stays with it, and lets nothing out."""
        vault = manager(tmp_path)
        record = taken(vault, root, "item")
        vault.review(record.id, by="Ada", says="it is harmless")
        again = manager(tmp_path)

        assert again.get(record.id).review == "it is harmless"
        assert stat.S_IMODE((vault.folder / f"{record.id}.quarantined").lstat().st_mode) == 0
        assert (again.statistics().kept, again.statistics().reviewed) == (1, 1)


class TestKilled:
    @pytest.mark.parametrize("where", ["same", "other"])
    def test_a_kill_leaves_half_of_it(self, tmp_path: Path, root: Path, place: Path, where: str) -> None:
        """At whatever step it ends: it is in its place as it was, or kept as it was; never both, never neither."""
        before = seen(place)
        argv = [sys.executable, "-c", KILLED, str(tmp_path / "vault"), str(root)]
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as driver:
            assert driver.stdin is not None
            assert driver.stdout is not None
            for act in ("take", "release", "delete"):
                for step in range(20):
                    if act != "take":
                        taken(manager(tmp_path), root, "item")
                    print(act, step, where, file=driver.stdin, flush=True)
                    ended = int(driver.stdout.readline())
                    assert ended in (0, -signal.SIGKILL)
                    place = self._checked(tmp_path, root, place, deletes=act == "delete")
                    assert seen(place) == before
                    if not ended:
                        break
                assert ended == 0
                assert step > 0
            driver.stdin.close()

    def _checked(self, tmp_path: Path, root: Path, place: Path, *, deletes: bool) -> Path:
        """Recover, see that it is whole in one place, and put it back into its own."""
        vault = manager(tmp_path)
        vault.recover()
        kept, there = vault.all(kept=True), list(root.iterdir())
        if deletes and not kept:
            assert there == []
            place = tree_at(root) if vault.all()[0].folder else file_at(root)
        else:
            assert (len(kept), len(there)) in ((0, 1), (1, 0))
        for record in kept:
            vault.release(record.id, by="Ada")
        assert {path.suffix for path in vault.folder.iterdir()} <= {".json"}
        return place

    def test_one_record_keeps_the_others_from_being_ended(self, tmp_path: Path, root: Path) -> None:
        """Each by itself: what can be neither ended nor undone is said, and may be deleted."""
        for name in "ab":
            (root / name).write_bytes(name.encode())
        vault = manager(tmp_path)
        first, second = (taken(vault, root, name) for name in "ab")
        for record in (first, second):
            begun = msgspec.structs.replace(record, state="releasing", ended_by="Ada")
            (vault.folder / f"{record.id}.json").write_bytes(msgspec.json.encode(begun))
        (vault.folder / f"{first.id}.quarantined").unlink()

        again = manager(tmp_path)
        assert [(record.path, record.state) for record in again.recover()] == [("b", "kept")]
        (problem,) = again.problems
        assert problem.startswith("'a' was releasing, and that can be neither ended nor undone")
        assert again.holds("digest")
        assert again.delete(first.id, by="Ada").state == "deleted"
        assert again.problems == ()

    def test_a_file_that_was_worked_on_after_its_release_is_stuck(self, tmp_path: Path, root: Path) -> None:
        """It was given back, and to whom is known, though the record was written too late."""
        place = file_at(root)
        vault = manager(tmp_path)
        record = taken(vault, root, "item")
        begun = msgspec.structs.replace(record, state="releasing", ended_by="Ada")
        (vault.folder / f"{record.id}.json").write_bytes(msgspec.json.encode(begun))
        (vault.folder / f"{record.id}.quarantined").unlink()
        place.write_bytes(b"mended")

        again = manager(tmp_path)
        (ended,) = again.recover()
        assert (ended.state, ended.ended_by, again.problems) == ("released", "Ada", ())
        assert place.read_bytes() == b"mended"
        assert again.gave_back("digest")

    def test_what_is_gone_from_the_vault_goes_unsaid(self, tmp_path: Path, root: Path) -> None:
        """A person hears of it at the next start, and ends it."""
        file_at(root)
        record = taken(manager(tmp_path), root, "item")
        (tmp_path / "vault" / f"{record.id}.quarantined").unlink()
        vault = manager(tmp_path)

        assert vault.recover() == []
        assert "is gone from there" in vault.problems[0]
        vault.delete(record.id, by="Ada")
        assert vault.problems == ()


class TestRecords:
    def test_a_record_that_cannot_be_read_is_forgotten(self, tmp_path: Path, root: Path) -> None:
        """It is said at each start, what is kept stays where it is, and exactly this item is held back."""
        file_at(root)
        vault = manager(tmp_path)
        record = taken(vault, root, "item")
        (vault.folder / f"{record.id}.json").write_bytes(b"{")

        for _ in range(3):
            again = manager(tmp_path)
            assert again.statistics().unreadable == 1
            assert record.id in again.problems[0]
            assert again.holds("digest")
            assert not again.holds("other")
        assert (vault.folder / f"{record.id}.quarantined").exists()
        assert (vault.folder / f"{record.id}.json").read_bytes() == b"{"

    @pytest.mark.parametrize("left", ["", ".json.corrupt-1"])
    def test_what_is_kept_without_a_record_comes_in_again(self, tmp_path: Path, root: Path, left: str) -> None:
        """The name of what is kept says which item it is of."""
        file_at(root)
        vault = manager(tmp_path)
        record = taken(vault, root, "item")
        file = vault.folder / f"{record.id}.json"
        if left:
            file.rename(vault.folder / f"{record.id}{left}")
        else:
            file.unlink()
        again = manager(tmp_path)

        assert again.holds("digest")
        assert again.statistics().unreadable == 1

    def test_who_asks_while_another_sets_aside_falls_over(self, tmp_path: Path, root: Path) -> None:
        """A list that is being read is not changed under its reader, and waits for nobody."""
        for number in range(3):
            (root / f"{number}.py").write_bytes(b"")
        reached, go_on = threading.Event(), threading.Event()

        def wait(step: str) -> None:
            if step == "locked":
                reached.set()
                go_on.wait(60)

        vault = manager(tmp_path, step=wait)
        go_on.set()
        taken(vault, root, "0.py")
        go_on.clear()
        reached.clear()
        other = threading.Thread(target=taken, args=(vault, root, "1.py"), daemon=True)
        reading = iter(vault._records._known.by_id.values())
        other.start()
        assert reached.wait(60)
        assert (len(vault.all(kept=True)), vault.holds("digest"), vault.statistics().kept) == (1, True, 1)
        go_on.set()
        other.join(60)

        assert len(list(reading)) == 1
        assert len(vault.all(kept=True)) == 2
