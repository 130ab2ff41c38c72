"""Reads Parquet files by row groups."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from colbert_qdrant.sources.item import Origin, SourceRow
from colbert_qdrant.sources.paths import DAMAGE, pyarrow, unreadable
from colbert_qdrant.sources.tables import BATCH_ROWS, batch_rows, chosen_columns, repeated

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from colbert_qdrant.sources.paths import File
    from colbert_qdrant.sources.shard import Shard


def parquet_rows(file: File, shard: Shard, columns: Sequence[str | int] | None) -> Iterator[SourceRow]:
    """Yield the rows of a file; row groups without a row of the shard are not read."""
    damage = (*DAMAGE, pyarrow(f"{file.path.name} is a Parquet file, which pyarrow reads").ArrowException)
    origin, before = Origin(str(file.path)), 0
    try:
        parquet = _open(file)
        names = parquet.schema_arrow.names
    except damage as error:
        yield SourceRow(None, origin, 0, unreadable(error, "at its metadata"))
        return
    with parquet:
        twice = repeated(names)
        if twice is not None:
            yield SourceRow(None, origin, 0, twice)
            return
        only = chosen_columns(names, columns)
        for group in range(parquet.num_row_groups):
            rows = parquet.metadata.row_group(group).num_rows
            mine = shard.among(rows)
            read = 0
            try:
                for batch in parquet.iter_batches(BATCH_ROWS, row_groups=[group], columns=only) if mine else ():
                    chosen = range((mine.start - read) % mine.step, batch.num_rows, mine.step)
                    yield from batch_rows(batch, origin, before + read, chosen)
                    read += batch.num_rows
            except damage as error:
                yield SourceRow(None, origin, 0, unreadable(error, f"after row {before + read} of {before + rows}"))
            before += rows


def count_rows(file: File) -> int | None:
    """Return the number of rows in a file's metadata; ``None`` if it cannot be read."""
    try:
        with _open(file) as parquet:
            return int(parquet.metadata.num_rows)
    except Exception:  # noqa: BLE001 - the error is reported when the file is read
        return None


def _open(file: File) -> Any:
    import pyarrow.parquet as pq  # noqa: PLC0415 - an extra

    return pq.ParquetFile(os.fspath(file.path), memory_map=False, pre_buffer=False)
