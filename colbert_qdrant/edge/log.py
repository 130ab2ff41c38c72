"""Removes operations from the engine's log that cannot be applied: a shard with such an operation does not open.

A log is a folder of files, `closed-<number of its first entry>` and `open-<order>`. Each file starts with a header:
`wal`, a version, and an initial checksum. An entry consists of its length, its data, zeros, and a CRC-32C of these
bytes, which continues the previous checksum. The engine reads a file up to the first wrong checksum.
"""

from __future__ import annotations

import shutil
import struct
import warnings
from typing import TYPE_CHECKING, Final, NamedTuple

from colbert_qdrant.edge.failures import is_from_engine
from colbert_qdrant.edge.files import sync_folder, sync_tree, write_file
from colbert_qdrant.errors import ColbertQdrantWarning

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    import qdrant_edge as edge

LOG: Final = "wal"
ORIGINAL: Final = "wal-before"
"""The folder with the original log during the search for bad entries."""
DONE: Final = "wal-done"
"""The folder with the original log after the search, before it is deleted."""
SET_ASIDE: Final = "not-applied-"
"""The prefix of the files that keep removed operations."""

_MOST: Final = 16
"""The maximum number of entries to remove; if more entries fail, the entries are not the cause."""
_HEADER: Final = b"wal\0"
_NOTHING: Final = b"\xbfmdelete_points\xa1cids\x80\xff"
"""An operation that deletes no points: a placeholder, so that later entries keep their numbers (point versions)."""
_POLYNOMIAL: Final = 0x82F63B78


class Entry(NamedTuple):
    """One entry of a log.

    Attributes:
        number: The number of the entry.
        before: The checksum of the previous entry.
        raw: All bytes of the entry, including its own checksum.
    """

    number: int
    before: bytes
    raw: bytes

    @property
    def data(self) -> bytes:
        """The operation, as CBOR."""
        return self.raw[8 : 8 + int.from_bytes(self.raw[:8], "little")]


def load_without_what_fails(shard: Path, load: Callable[[], edge.EdgeShard]) -> edge.EdgeShard:
    """Load a shard, and set operations of its log aside if they cannot be applied.

    These operations are kept in files beside the shard, with a warning. After a crash during the search, the next call
    restarts with the original log. If removing a few entries does not help, the log is restored, and the error of
    loading is raised.
    """
    original = shard / ORIGINAL
    if not original.exists():
        try:
            return load()
        except BaseException as error:
            if not is_from_engine(error) or "WouldBlock" in str(error):
                raise
        (shard / LOG).rename(original)
        sync_folder(shard)
    try:
        loaded, taken = _without_what_fails(shard, load)
    except BaseException:
        _put_back(shard)
        raise
    messages = [_set_aside(shard, entry, problem) for entry, problem in taken]
    loaded.flush()
    sync_tree(shard / LOG, files=True)
    _remove(shard / DONE)
    original.rename(shard / DONE)  # atomic, because a partly deleted log would be taken for the whole log
    sync_folder(shard)
    _remove(shard / DONE)
    for message in messages:
        warnings.warn(message, ColbertQdrantWarning, stacklevel=2)
    return loaded


def _put_back(shard: Path) -> None:
    _remove(shard / LOG)
    (shard / ORIGINAL).rename(shard / LOG)
    sync_folder(shard)


def _without_what_fails(
    shard: Path, load: Callable[[], edge.EdgeShard]
) -> tuple[edge.EdgeShard, list[tuple[Entry, BaseException]]]:
    """Return the shard, and the entries that were removed from its log."""
    entries = list(_read(shard / ORIGINAL))
    problems: list[BaseException] = []
    taken: list[tuple[Entry, BaseException]] = []

    def works(count: int) -> edge.EdgeShard | None:
        _write(shard, entries[:count], entries[0].number if entries else 0)
        try:
            return load()
        except BaseException as error:
            if not is_from_engine(error):
                raise
            problems.append(error)
            return None

    good = 0
    for _ in range(_MOST + 1):
        if (loaded := works(len(entries))) is not None:
            return loaded, taken
        bad = _first_bad(good, len(entries), works)
        if bad is None:
            break
        taken.append((entries[bad], problems[-1]))
        entries[bad] = _nothing(entries[bad])
        good = bad + 1
    raise problems[0]


def _first_bad(good: int, count: int, works: Callable[[int], edge.EdgeShard | None]) -> int | None:
    """Return the index of the first entry that cannot be applied; None if the log is not the cause."""
    low, high = good, count
    if not _opens(works, low):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _opens(works, middle) else (low, middle)
    return low


def _opens(works: Callable[[int], edge.EdgeShard | None], count: int) -> bool:
    shard = works(count)
    if shard is not None:
        shard.close()
    return shard is not None


def _set_aside(shard: Path, entry: Entry, problem: BaseException) -> str:
    """Save an operation to a file, and return the warning about it."""
    path = shard.parent / f"{SET_ASIDE}{entry.number}.cbor"
    write_file(path, entry.data)
    return (
        f"an operation in the log of {shard} cannot be applied ({problem}). It is saved in {path}; all other "
        "operations are applied. Write its points again"
    )


def _read(log: Path) -> Iterator[Entry]:
    closed = sorted(log.glob("closed-*"), key=_number)
    number = _number(closed[0]) if closed else 0
    for path in [*closed, *sorted(log.glob("open-*"), key=_number)]:
        data = path.read_bytes()
        start, checksum = 8, data[4:8]
        while length := int.from_bytes(data[start : start + 8], "little"):
            end = start + 8 + length + -(length + 12) % 8 + 4
            if end > len(data):
                break
            yield Entry(number, checksum, data[start:end])
            number, start, checksum = number + 1, end, data[end - 4 : end]


def _write(shard: Path, entries: Sequence[Entry], first: int) -> None:
    """Write a log of consecutive entries; a gap in the chain of checksums starts another file."""
    log = shard / LOG
    _remove(log)
    log.mkdir()
    if (acknowledged := shard / ORIGINAL / "first-index").exists():
        shutil.copyfile(acknowledged, log / acknowledged.name)
    files: dict[int, list[bytes]] = {} if entries else {first: [_HEADER + bytes(4)]}
    number, checksum = first, b""
    for entry in entries:
        if entry.before != checksum:
            number = entry.number
            files[number] = [_HEADER + entry.before]
        files[number].append(entry.raw)
        checksum = entry.raw[-4:]
    for number, parts in files.items():
        (log / f"closed-{number}").write_bytes(b"".join(parts))


def _nothing(entry: Entry) -> Entry:
    """Return an entry that does nothing and replaces another entry."""
    length = len(_NOTHING)
    body = struct.pack("<Q", length) + _NOTHING + bytes(-(length + 12) % 8)
    return Entry(entry.number, entry.before, body + _checksum(entry.before, body))


def _checksum(before: bytes, body: bytes) -> bytes:
    state = int(f"{int.from_bytes(before, 'little'):032b}"[::-1], 2)
    for byte in body:
        state ^= byte
        for _ in range(8):
            state = (state >> 1) ^ (_POLYNOMIAL if state & 1 else 0)
    return (state ^ 0xFFFFFFFF).to_bytes(4, "little")


def _number(path: Path) -> int:
    return int(path.name.partition("-")[2])


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
