"""Takes out of the engine's log what cannot be applied, which would end a collection: no shard opens with it.

A log is a folder of files, `closed-<number of its first entry>` and `open-<order>`. Each begins with a header: `wal`, a
version, and a checksum to begin with. An entry is its length, its data, zeros, and a CRC-32C of all that, which goes on
from the checksum before it. The engine reads a file up to the first checksum that is wrong.
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
WHOLE: Final = "wal-before"
"""The folder with the log as it was, while it is looked through."""
DONE: Final = "wal-done"
"""The same, when it is not needed any more."""
SET_ASIDE: Final = "not-applied-"
"""How the names of files begin that have what was taken out."""

_MOST: Final = 16
"""Entries that are taken out; where there are more, it is not about them."""
_HEADER: Final = b"wal\0"
_NOTHING: Final = b"\xbfmdelete_points\xa1cids\x80\xff"
"""An entry that deletes no points: later ones keep their numbers, which are the versions of points."""
_POLYNOMIAL: Final = 0x82F63B78


class Entry(NamedTuple):
    """One entry of a log.

    Attributes:
        number: Its number.
        before: The checksum before it.
        raw: All of it, with its own checksum.
    """

    number: int
    before: bytes
    raw: bytes

    @property
    def data(self) -> bytes:
        """What the engine wrote: an operation as CBOR."""
        return self.raw[8 : 8 + int.from_bytes(self.raw[:8], "little")]


def load_without_what_fails(shard: Path, load: Callable[[], edge.EdgeShard]) -> edge.EdgeShard:
    """Loads a shard, with operations of its log set aside if they cannot be applied.

    They are kept in files beside the shard, and warned of. After a crash meanwhile it begins again, with the log as it
    was. What loading raises is raised if it is not about a few entries of the log, which is as before then.
    """
    whole = shard / WHOLE
    if not whole.exists():
        try:
            return load()
        except BaseException as error:
            if not is_from_engine(error) or "WouldBlock" in str(error):
                raise
        (shard / LOG).rename(whole)
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
    whole.rename(shard / DONE)  # at once: half of a log would be taken for all of it
    sync_folder(shard)
    _remove(shard / DONE)
    for message in messages:
        warnings.warn(message, ColbertQdrantWarning, stacklevel=2)
    return loaded


def _put_back(shard: Path) -> None:
    _remove(shard / LOG)
    (shard / WHOLE).rename(shard / LOG)
    sync_folder(shard)


def _without_what_fails(
    shard: Path, load: Callable[[], edge.EdgeShard]
) -> tuple[edge.EdgeShard, list[tuple[Entry, BaseException]]]:
    """Returns the shard, and what was taken out of its log."""
    entries = list(_read(shard / WHOLE))
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
    """Returns which entry is the first that cannot be applied; None if the log is not at fault."""
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
    """Keeps an operation in a file, and returns a message about it."""
    path = shard.parent / f"{SET_ASIDE}{entry.number}.cbor"
    write_file(path, entry.data)
    return (
        f"an operation of the log of {shard} cannot be applied ({problem}): it is kept in {path}, and all others are "
        "applied"
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
    """Makes a log of entries that follow each other; where checksums do not, another file begins."""
    log = shard / LOG
    _remove(log)
    log.mkdir()
    if (acknowledged := shard / WHOLE / "first-index").exists():
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
    """Returns an entry that does nothing, in the place of another one."""
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
