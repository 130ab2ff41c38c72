"""Reads test collections of the Hugging Face Hub, or local copies of their repositories."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from colbert_qdrant.errors import DatasetError, MissingExtraError
from colbert_qdrant.evaluation.datasets.catalog import HubTable, KnownDataset, excludes_query_id, tables_of
from colbert_qdrant.evaluation.datasets.folder import folder_parts, splits_of
from colbert_qdrant.evaluation.datasets.parts import Parts, corpus_rows
from colbert_qdrant.evaluation.datasets.qrels import QRELS
from colbert_qdrant.evaluation.datasets.query_texts import QUERIES
from colbert_qdrant.evaluation.datasets.table_files import renamed, table_rows
from colbert_qdrant.shown import shown
from colbert_qdrant.sources.item import Origin, SourceRow
from colbert_qdrant.sources.mapping import RowMapping
from colbert_qdrant.sources.paths import File
from colbert_qdrant.sources.tables import BATCH_ROWS, batch_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence


_PATTERNS: Final = ("README.md", "*.parquet", "*.tsv", "*.tsv.gz", "corpus.jsonl.gz", "queries.jsonl.gz")
_OTHER_NAMES: Final = {"dev": "validation", "validation": "dev"}
"""Names of the same split in files and in the ``datasets`` library."""


def hub_parts(name: str, split: str, root: Path | None) -> Parts:
    """Return the parts of a data set, by its canonical name.

    Raises:
        DatasetError: If the data set is neither in the root, nor in the cache, nor on the Hub.
        MissingExtraError: If ``datasets`` is not installed.
    """
    places = tables_of(name, split)
    if root is None:
        return _parts(places[0], Path(_download(places[0].corpus)), Path(_download(places[0].qrels)))
    for place in places:
        folder, qrels = (_copy(root, table.repository) for table in (place.corpus, place.qrels))
        if folder is not None and (folder / "qrels").is_dir() and any(folder.glob("corpus.jsonl*")):
            return folder_parts(folder, split)
        if folder is not None and qrels is not None:
            return _parts(place, folder, qrels)
    wanted = " and ".join(dict.fromkeys((places[0].corpus.repository, places[0].qrels.repository)))
    raise DatasetError(
        f"{root} has no copy of {wanted}, which {name!r} consists of: copy the data sets of the Hugging Face Hub to "
        "folders with these names, or leave out root= to download them"
    )


def _copy(root: Path, repository: str) -> Path | None:
    """Return the folder with a copy of a repository, with or without its owner's name."""
    folders = (root / repository, root / repository.rpartition("/")[2])
    return next((folder for folder in folders if folder.is_dir()), None)


def _download(table: HubTable) -> str:
    from huggingface_hub import snapshot_download  # noqa: PLC0415 - it loads slowly
    from huggingface_hub.errors import GatedRepoError  # noqa: PLC0415

    prefix = f"{table.config}/*" if table.repository.startswith("BeIR/cqadupstack") else ""
    patterns = [_PATTERNS[0], *(prefix + pattern if prefix else pattern for pattern in _PATTERNS[1:])]
    try:
        return str(snapshot_download(table.repository, repo_type="dataset", allow_patterns=patterns))
    except GatedRepoError as error:
        raise DatasetError(
            f"data set {table.repository} is gated: accept its conditions on https://huggingface.co/datasets/"
            f"{table.repository}, and log in with hf auth login"
        ) from error
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise DatasetError(
            f"data set {table.repository} cannot be downloaded from the Hugging Face Hub ({reason}): check the "
            f"network, or pass root= the folder that has a copy as {table.repository}"
        ) from error


def _parts(place: KnownDataset, folder: Path, qrels: Path) -> Parts:
    return Parts(
        name=place.name,
        corpus=_rows_of(folder, place.corpus, "corpus.jsonl.gz", corpus_rows, _documents),
        queries=_rows_of(folder, place.queries, "queries.jsonl.gz", partial(table_rows, table=QUERIES), _queries),
        qrels=partial(_judgments, qrels, place.qrels),
        places=(place.queries.repository, place.qrels.repository),
        excludes_query_id=excludes_query_id(place.name),
    )


def _rows_of(
    folder: Path,
    table: HubTable,
    file: str,
    of_file: Callable[[File], Iterable[Any]],
    of_table: Callable[[Path, HubTable], Iterable[Any]],
) -> Callable[[], Iterable[Any]]:
    """Return a function that opens a table; older revisions of BEIR's repositories have files of JSON lines."""
    path = folder / file
    return partial(of_file, File(path, "jsonl", file)) if path.is_file() else partial(of_table, folder, table)


def _documents(folder: Path, table: HubTable) -> Iterator[Any]:
    return map(RowMapping().item, _rows(folder, table))


def _queries(folder: Path, table: HubTable) -> Iterator[SourceRow]:
    return renamed(_rows(folder, table), QUERIES)


def _judgments(folder: Path, table: HubTable) -> Iterator[SourceRow]:
    """Yield the judgments of a table; BEIR's have a TSV file for each split."""
    inner = folder / (table.config or "")
    top = inner if inner.is_dir() else folder
    files = splits_of(sorted(path.relative_to(top).as_posix() for path in top.rglob("*.tsv*")))
    if not files:
        return renamed(_rows(folder, table), QRELS)
    split = _split_of(table, files)
    return table_rows(File(top / files[split], "tsv", split), QRELS)


def _rows(folder: Path, table: HubTable) -> Iterator[SourceRow]:
    """Yield the rows of a table, which is streamed."""
    place = ", ".join(filter(None, (table.repository, table.config, table.split)))
    origin, before = Origin(place), 0
    dataset = _opened(folder, table)
    try:
        for batch in dataset.with_format("arrow").iter(BATCH_ROWS):
            yield from batch_rows(batch, origin, before, range(batch.num_rows))
            before += batch.num_rows
    except Exception as error:
        raise DatasetError(
            f"{place}: {folder} cannot be read after row {before} ({type(error).__name__}: {error}): download it again"
        ) from error


def _opened(folder: Path, table: HubTable) -> Any:
    """Open a table as a stream of the ``datasets`` library.

    Raises:
        DatasetError: If the folder cannot be read, or has no such split.
        MissingExtraError: If ``datasets`` is not installed.
    """
    try:
        import datasets  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise MissingExtraError(
            "data sets of the Hugging Face Hub are read by datasets: pip install 'colbert-qdrant[evaluate]'"
        ) from error
    try:
        where = _where(folder, table, datasets.get_dataset_config_names(str(folder)))
        splits = datasets.load_dataset(str(folder), streaming=True, **where)
    except Exception as error:
        raise DatasetError(
            f"{table.repository}: {folder} cannot be read ({type(error).__name__}: {error}): download it again"
        ) from error
    if table.config is not None and "name" not in where and len(splits) == 1:
        return next(iter(splits.values()))
    return splits[_split_of(table, splits)]


def _split_of(table: HubTable, splits: Iterable[str]) -> str:
    """Return the name that a table's split has among others.

    Raises:
        DatasetError: If there is no such split.
    """
    names = [*splits]
    wanted = (table.split, _OTHER_NAMES.get(table.split))
    found = next((name for name in names if name in wanted), None)
    if found is None:
        there = ", ".join("'dev'" if name == "validation" else repr(name) for name in names)
        raise DatasetError(f"{table.repository} has no split {shown(table.split)}: pass split= one of {there}")
    return found


def _where(folder: Path, table: HubTable, configs: Sequence[str]) -> dict[str, str]:
    """Return the arguments that choose a table; a copy without README.md has only folders."""
    if table.config is None:
        return {}
    folders = (f"{table.config}/{table.split}", table.config)
    inner = next((each for each in folders if (folder / each).is_dir()), None)
    return {"name": table.config} if table.config in configs or inner is None else {"data_dir": inner}
