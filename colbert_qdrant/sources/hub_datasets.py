"""Reads datasets of the Hugging Face library, in memory, on disk or streamed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from colbert_qdrant.errors import ConfigurationError
from colbert_qdrant.shown import has
from colbert_qdrant.sources.item import Origin, SourceRow
from colbert_qdrant.sources.tables import BATCH_ROWS, batch_rows, chosen_columns

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from colbert_qdrant.sources.shard import Shard


def is_dataset(source: object) -> bool:
    """Tell whether a source is an object of the ``datasets`` library."""
    ours = any(kind.__module__.partition(".")[0] == "datasets" for kind in type(source).__mro__)
    return ours and (isinstance(source, dict) or has(source, "column_names"))


def dataset_rows(dataset: Any, shard: Shard, columns: Sequence[str | int] | None) -> Iterator[SourceRow]:
    """Yield the rows of a dataset; without a known length it is streamed.

    Raises:
        ConfigurationError: If the dataset is a dict of splits.
    """
    if isinstance(dataset, dict):
        splits = ", ".join(map(repr, dataset)) or "none"
        first = next(iter(dataset), "train")
        raise ConfigurationError(f"this dataset has splits ({splits}): pass one, such as dataset[{first!r}]")
    chosen = dataset.format if has(dataset, "format") else {}
    if chosen.get("type") == "custom":  # the function of `set_transform`
        return _streamed(dataset, shard)
    if chosen.get("columns") and not chosen.get("output_all_columns"):
        dataset = dataset.select_columns(chosen["columns"])
    names = dataset.column_names  # None for some streams
    only = chosen_columns(names or (), columns)
    if only is not None:
        dataset = dataset.select_columns(only)
    return _mapped(dataset, shard) if has(dataset, "__len__") else _streamed(dataset.with_format(None), shard)


def _mapped(dataset: Any, shard: Shard) -> Iterator[SourceRow]:
    before, origin = 0, Origin()
    for table in dataset.with_format("arrow").iter(BATCH_ROWS):
        yield from batch_rows(table, origin, before, shard.among(table.num_rows))
        before += table.num_rows


def _streamed(dataset: Any, shard: Shard) -> Iterator[SourceRow]:
    origin = Origin()
    for number, value in enumerate(dataset, 1):
        if shard.takes():
            yield SourceRow(value, origin, number)
