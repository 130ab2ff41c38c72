"""Reads tables of pandas, Polars and Arrow in batches."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from colbert_qdrant.errors import ConfigurationError
from colbert_qdrant.shown import has, shown
from colbert_qdrant.sources.cells import converted
from colbert_qdrant.sources.item import Origin, SourceRow
from colbert_qdrant.sources.paths import pyarrow

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from colbert_qdrant.sources.shard import Shard

BATCH_ROWS: Final = 1024
"""Rows converted to Python objects together: enough for speed, few enough to hold in memory."""

_HERE: Final = Origin()


def is_table(source: object) -> bool:
    """Tell whether a source is a table that `table_rows` reads."""
    return _is_pandas(source) or _is_polars(source) or _is_arrow(source)


def table_rows(table: Any, shard: Shard, columns: Sequence[str | int] | None) -> Iterator[SourceRow]:
    """Yield the rows of a table.

    Raises:
        ConfigurationError: If two columns have the same name.
        MissingExtraError: If pyarrow is needed and not installed.
    """
    if _is_pandas(table):
        return _pandas_rows(_only(table, [*table.columns], columns), shard)
    if _is_polars(table):
        return _polars_rows(table, shard, columns)
    return _arrow_rows(table, shard, columns)


def require_ids(table: Any, id: object) -> None:
    """Raise `ConfigurationError` if a table of pandas has its ids in its index."""
    if not _is_pandas(table) or callable(id) or {*(("id", "_id") if id is None else (id,))} & {*table.columns}:
        return
    index, name = table.index, "id" if id is None else id
    named = name in index.names
    if named or (index.name is None and index.nlevels == 1 and index.inferred_type not in ("integer", "empty")):
        remedy = "reset_index()" if named else f"reset_index(names={name!r})"
        raise ConfigurationError(
            f"the table has no column {name!r}, but an index such as {shown(next(iter(index), None), 60)}: pass "
            f"table.{remedy}"
        )


def table_length(table: Any) -> int | None:
    """Return the number of rows, if the table knows it."""
    if has(table, "num_rows"):
        return int(table.num_rows)
    return len(table) if has(table, "__len__") else None


def repeated(names: Sequence[Any]) -> str | None:
    """Describe the first column name that is there twice."""
    if len({*names}) == len(names):
        return None
    twice = next(name for name in names if list(names).count(name) > 1)
    return f"column {shown(twice)} is there twice: rename one"


def chosen_columns(names: Sequence[Any], columns: Sequence[str | int] | None) -> list[Any] | None:
    """Return the columns to read; ``None`` for all, also if one is missing, so that errors can name the others."""
    if columns is None:
        return None
    there, ids = {*names} & {*columns}, {"id", "_id"} & {*columns}
    complete = {*columns} - there <= ids and (not ids or ids & there)
    return [name for name in names if name in there] if complete else None


def batch_rows(batch: Any, origin: Origin, before: int, chosen: range) -> Iterator[SourceRow]:
    """Yield chosen rows of an Arrow batch, which has ``before`` rows before it."""
    if not chosen:
        return
    if len(chosen) < batch.num_rows:
        batch = batch.take(pyarrow("this table needs pyarrow").array(chosen))
    numbers = [before + position + 1 for position in chosen]
    yield from converted(
        batch.to_pylist, batch.schema.names, lambda row, column: batch.column(column)[row].as_py(), numbers, origin
    )


def _pandas_rows(table: Any, shard: Shard) -> Iterator[SourceRow]:
    for before in range(0, len(table), BATCH_ROWS):
        chosen = shard.among(min(BATCH_ROWS, len(table) - before))
        part = table.iloc[before + chosen.start : before + chosen.stop : chosen.step]
        values = part.astype(object).where(part.notna(), None).to_dict("records") if chosen else ()
        for position, value in zip(chosen, values, strict=True):
            yield SourceRow(value, _HERE, before + position + 1)


def _polars_rows(table: Any, shard: Shard, columns: Sequence[str | int] | None) -> Iterator[SourceRow]:
    before = 0
    for part in _polars_parts(table, columns):
        chosen = shard.among(len(part))
        if chosen:
            numbers = [before + position + 1 for position in chosen]
            mine = part[chosen.start :: chosen.step]
            yield from converted(partial(mine.rows, named=True), mine.columns, mine.item, numbers, _HERE)
        before += len(part)


def _polars_parts(table: Any, columns: Sequence[str | int] | None) -> Iterator[Any]:
    """Return the table's parts; a lazy one is computed in a stream."""
    if has(table, "iter_slices"):
        return _only(table, table.columns, columns).iter_slices(BATCH_ROWS)  # type: ignore[no-any-return]
    if not has(table, "collect_batches"):
        raise ConfigurationError("this version of Polars cannot stream a LazyFrame: upgrade it, or pass .collect()")
    names = table.collect_schema().names()
    only = chosen_columns(names, columns)
    return iter((table if only is None else table.select(only)).collect_batches(chunk_size=BATCH_ROWS, lazy=True))


def _arrow_rows(table: Any, shard: Shard, columns: Sequence[str | int] | None) -> Iterator[SourceRow]:
    pa = pyarrow(f"a {type(table).__name__} is read through pyarrow")
    if has(table, "to_batches"):
        reader = table
    elif isinstance(table, pa.RecordBatch):
        reader = pa.Table.from_batches([table])
    else:
        reader = table if isinstance(table, pa.RecordBatchReader) else _stream(pa, table)
    names = reader.schema.names
    twice = repeated(names)
    if twice is not None:
        raise ConfigurationError(twice)
    only = chosen_columns(names, columns)
    batches = reader.to_batches(max_chunksize=BATCH_ROWS) if has(reader, "to_batches") else _sliced(reader)
    return _batches(batches, shard, only)


def _stream(pa: Any, table: Any) -> Any:
    try:
        return pa.RecordBatchReader.from_stream(table)
    except Exception as error:
        raise ConfigurationError(
            f"a {type(table).__name__} cannot be read as a table ({error}): pass a table with columns for id and text"
        ) from error


def _batches(batches: Any, shard: Shard, only: Sequence[str] | None) -> Iterator[SourceRow]:
    before = 0
    for batch in batches:
        chosen = shard.among(batch.num_rows)
        yield from batch_rows(batch if only is None else batch.select(only), _HERE, before, chosen)
        before += batch.num_rows


def _sliced(reader: Any) -> Iterator[Any]:
    """Yield small parts of large batches."""
    for batch in reader:
        for start in range(0, batch.num_rows, BATCH_ROWS):
            yield batch.slice(start, BATCH_ROWS)


def _only(table: Any, names: Sequence[Any], columns: Sequence[str | int] | None) -> Any:
    twice = repeated(names)
    if twice is not None:
        raise ConfigurationError(twice)
    only = chosen_columns(names, columns)
    return table if only is None else table[only]


def _is_pandas(source: object) -> bool:
    return _of("pandas", source) and has(source, "iloc") and has(source, "columns")


def _is_polars(source: object) -> bool:
    return _of("polars", source) and (has(source, "iter_slices") or has(source, "collect_schema"))


def _is_arrow(source: object) -> bool:
    return has(type(source), "__arrow_c_stream__") or (_of("pyarrow", source) and has(source, "to_pylist"))


def _of(library: str, source: object) -> bool:
    return any(kind.__module__.partition(".")[0] == library for kind in type(source).__mro__)
