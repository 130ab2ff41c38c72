"""Loads several test collections, one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from os import PathLike
from typing import TypeAlias

from colbert_qdrant.errors import ConfigurationError, DatasetError
from colbert_qdrant.evaluation.datasets.catalog import GROUPS, canonical_name, is_known
from colbert_qdrant.evaluation.datasets.dataset import RetrievalDataset
from colbert_qdrant.evaluation.datasets.loading import find
from colbert_qdrant.evaluation.datasets.parts import Parts, assemble, check_options
from colbert_qdrant.shown import holds, shown

DatasetSource: TypeAlias = RetrievalDataset | str | PathLike[str]
"""A test collection, the path of one, or the name of one or of a group."""


def load_datasets(
    sources: DatasetSource | Sequence[DatasetSource],
    *,
    split: str = "test",
    root: str | PathLike[str] | None = None,
    title_separator: str = " ",
) -> Iterator[RetrievalDataset]:
    """Return an iterator that loads each test collection when its turn comes.

    Paths are found and names are downloaded before the first collection is read. See `RetrievalDataset.load`.

    Raises:
        ConfigurationError: If an argument is wrong.
        DatasetError: If a test collection is missing, or two have the same name.
    """
    check_options(title_separator)
    found = [each for source in _listed(sources) for each in _found(source, split, root)]
    names = [each.name for each in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DatasetError(
            f"two data sets have the name {twice!r}: leave out one, or rename it with dataclasses.replace(dataset, "
            "name=…)"
        )
    return (_loaded(each, title_separator) for each in found)


def _listed(sources: object) -> list[DatasetSource]:
    several = sources if isinstance(sources, list | tuple) else [sources]
    if not several or not all(isinstance(each, RetrievalDataset | str | PathLike) for each in several):
        raise ConfigurationError(
            f"dataset must be a RetrievalDataset, a path, a name such as 'scifact' or 'NanoBEIR', or a list of these, "
            f"got {shown(sources)}"
        )
    return [*several]


def _found(source: DatasetSource, split: str, root: str | PathLike[str] | None) -> list[RetrievalDataset | Parts]:
    if isinstance(source, RetrievalDataset):
        return [source]
    name = canonical_name(source) if isinstance(source, str) and holds(lambda: is_known(source)) else None
    return [find(each, split, root) for each in GROUPS.get(name or "", (source,))]


def _loaded(found: RetrievalDataset | Parts, title_separator: str) -> RetrievalDataset:
    if isinstance(found, RetrievalDataset):
        return found
    return RetrievalDataset(**assemble(found, title_separator=title_separator))
