"""The journal of an ingest: any crash leaves it usable, and any damage is noticed."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from colbert_qdrant import JournalError
from colbert_qdrant.collection.ingest.journal import Checkpoint, Journal
from tests.processes import Script

if TYPE_CHECKING:
    from pathlib import Path

HEADER = {"collection": "docs", "collection_id": "a1", "encoder": "e", "id_scheme": "uuid5", "source": "a list"}
REUSED = settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def made(path: Path, checkpoints: int = 4) -> list[tuple[int, Checkpoint]]:
    """Write a journal; gives the size of the file after each checkpoint, and the checkpoint."""
    journal, states = Journal(path), [(0, Checkpoint())]
    journal.start(HEADER)
    for number in range(1, checkpoints + 1):
        checkpoint = Checkpoint(items=number * 10, digest=f"d{number}", documents=number * 9, sample=("x", number))
        journal.begin(number * 10)
        journal.checkpoint(checkpoint, [(number, f"reason {number}")])
        states.append((path.stat().st_size, checkpoint))
    journal.close()
    return states


def read(path: Path) -> Journal:
    journal = Journal(path)
    journal.close()
    return journal


def test_progress_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "docs.journal"
    ((_, last),) = made(path)[-1:]
    journal = read(path)
    assert (journal.last, journal.begun) == (last, 40)
    assert journal.rejected == [(number, f"reason {number}") for number in range(1, 5)]
    assert {**(journal.header or {}), "kind": None} == {**HEADER, "kind": None}


@given(data=st.data())
@REUSED
def test_a_file_that_is_cut_anywhere_resumes_at_its_last_whole_checkpoint(tmp_path: Path, data: Any) -> None:
    path = tmp_path / "docs.journal"
    path.unlink(missing_ok=True)
    states = made(path)
    cut = data.draw(st.integers(0, path.stat().st_size))
    os.truncate(path, cut)
    journal = Journal(path)
    expected = [state for size, state in states if size <= cut][-1]
    assert journal.last == expected
    journal.start(HEADER)
    after = Checkpoint(items=expected.items + 5, digest="later")
    journal.checkpoint(after, [])
    journal.close()
    assert read(path).last == after


@given(data=st.data())
@REUSED
def test_no_changed_byte_goes_unnoticed(tmp_path: Path, data: Any) -> None:
    """Either the file is refused, or what is read of it is what was written: at most the last record is lost."""
    path = tmp_path / "docs.journal"
    path.unlink(missing_ok=True)
    states = [state for _, state in made(path)]
    content = bytearray(path.read_bytes())
    place, other = data.draw(st.integers(0, len(content) - 1)), data.draw(st.integers(1, 255))
    content[place] ^= other
    path.write_bytes(content)
    try:
        found = read(path).last
    except JournalError:
        return
    assert found == states[-2]


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    path = tmp_path / "docs.journal"
    made(path)
    lines = path.read_bytes().splitlines(keepends=True)
    lines[3] = lines[3].replace(b'"items":10', b'"items":11')
    path.write_bytes(b"".join(lines))
    with pytest.raises(JournalError, match=r"is damaged in line 4: delete it, and ingest again"):
        Journal(path)


@pytest.mark.parametrize("content", [b'{"id": 1}\n', b"colbert", b"\0" * 30, b"x" * 1000])
def test_another_file_is_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "docs.jsonl"
    path.write_bytes(content)
    if not b"colbert-qdrant journal 1\n".startswith(content):
        with pytest.raises(JournalError, match="is not a journal of an ingest: choose another path"):
            Journal(path)
        assert path.read_bytes() == content


def test_a_journal_of_another_version_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "docs.journal"
    made(path)
    content = path.read_bytes().replace(b"journal 1\n", b"journal 2\n", 1)
    path.write_bytes(content)
    with pytest.raises(JournalError, match="has another format, since another version of colbert-qdrant wrote it"):
        Journal(path)
    assert path.read_bytes() == content


def test_a_folder_or_a_device_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, "/dev/null", tmp_path / "missing" / "docs.journal", "a\0b"):
        with pytest.raises(JournalError, match=r"is not a file|cannot be opened"):
            Journal(path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(JournalError, match="is not a file"):
        Journal(tmp_path / "pipe")


def test_one_journal_is_of_one_ingest(tmp_path: Path) -> None:
    path = tmp_path / "docs.journal"
    made(path)
    held = Journal(path)
    with pytest.raises(JournalError, match="is used by another ingest that is running"):
        Journal(path)
    held.close()
    read(path)
    script = f"""
from colbert_qdrant.collection.ingest.journal import Journal
journal = Journal({str(path)!r})
print("open", flush=True)
input()
"""
    with Script(script) as running:
        assert running.stdout.readline() == "open\n"
        with pytest.raises(JournalError, match="is used by another ingest that is running"):
            Journal(path)
        running.kill()
        running.wait()
        read(path)


def test_a_full_disk_leaves_the_journal_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "docs.journal"
    states = made(path)
    journal = Journal(path)
    monkeypatch.setattr(os, "write", _Full(os.write))
    with pytest.raises(JournalError, match="cannot be written, because its disk is full: free some space"):
        journal.checkpoint(Checkpoint(items=99), [])
    monkeypatch.undo()
    assert path.stat().st_size == states[-1][0]
    journal.checkpoint(Checkpoint(items=50), [])
    journal.close()
    assert read(path).last == Checkpoint(items=50)


class _Full:
    """A disk that has room for 20 bytes."""

    def __init__(self, write: Any) -> None:
        self._write, self._left = write, 20

    def __call__(self, descriptor: int, data: bytes) -> int:
        if not self._left:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written: int = self._write(descriptor, data[: self._left])
        self._left -= written
        return written


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        with pytest.raises(JournalError, match="cannot be opened or written"):
            Journal(tmp_path / "docs.journal")
    finally:
        tmp_path.chmod(stat.S_IRWXU)
