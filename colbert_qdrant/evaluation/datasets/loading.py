"""Loads test collections from paths and names."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from typing import Any

from colbert_qdrant._support.values import plain
from colbert_qdrant.config.checks import given_path, require_instance
from colbert_qdrant.errors import ColbertQdrantError, ConfigurationError, DatasetError
from colbert_qdrant.evaluation.datasets.catalog import canonical_name, is_known
from colbert_qdrant.evaluation.datasets.folder import folder_parts, is_beir_folder
from colbert_qdrant.evaluation.datasets.hub import hub_parts
from colbert_qdrant.evaluation.datasets.parts import Contents, Missing, Parts, assemble, check_options, corpus_rows
from colbert_qdrant.evaluation.datasets.qrels import QRELS
from colbert_qdrant.evaluation.datasets.query_texts import QUERIES
from colbert_qdrant.evaluation.datasets.table_files import kind_of_table, table_rows
from colbert_qdrant.shown import has, holds, kind_of, shown
from colbert_qdrant.sources.beir import beir_corpus
from colbert_qdrant.sources.paths import File
from colbert_qdrant.sources.read import documents_from


def load(
    source: str | os.PathLike[str],
    *,
    split: str,
    root: str | os.PathLike[str] | None,
    title_separator: str,
    missing: Missing,
) -> Contents:
    """Load a test collection; see `RetrievalDataset.load`."""
    check_options(title_separator, missing)
    return assemble(find(source, split, root), title_separator=plain(title_separator), missing=plain(missing))


def find(source: str | os.PathLike[str], split: str, root: str | os.PathLike[str] | None) -> Parts:
    """Return the parts of a path or of a name; a data set of the Hub is downloaded, and nothing is read.

    Raises:
        ConfigurationError: If an argument is wrong.
        DatasetError: If there is no such data set.
    """
    path = given_path("source", source, "the path of a BEIR folder or ZIP archive, or the name of a data set")
    require_instance("split", split, str, "the name of a split, such as 'test'")
    folder = None if root is None else given_path("root", root, "the path of a folder")
    name = plain(source) if isinstance(source, str) else None
    if holds(lambda: is_beir_folder(path)):
        return folder_parts(path, plain(split))
    if name is None or (not is_known(name) and holds(path.exists)):
        problem = "has no corpus.jsonl and no queries.jsonl" if holds(path.exists) else "does not exist"
        remedy = "pass a BEIR folder, or a ZIP archive of one"
        if holds((path / "corpus").is_dir):
            remedy = "for a copy of a repository of the Hugging Face Hub, pass the name of the data set and root="
        raise DatasetError(f"{shown(str(path))} {problem}: {remedy}")
    return hub_parts(canonical_name(name), plain(split), folder)


def from_files(
    *,
    qrels: str | os.PathLike[str],
    queries: str | os.PathLike[str] | None,
    corpus: Any,
    name: str | None,
    title_separator: str,
    missing: Missing,
    excludes_query_id: bool,
) -> Contents:
    """Load a test collection of separate files; see `RetrievalDataset.from_files`."""
    check_options(title_separator, missing)
    require_instance("name", "" if name is None else name, str, "the name of the data set")
    qrels_file, query_file = _table("qrels", qrels), None if queries is None else _table("queries", queries)
    parts = Parts(
        name=qrels_file.path.parent.resolve().name if name is None else plain(name),
        corpus=None if corpus is None else partial(_items, _rereadable(corpus)),
        queries=None if query_file is None else partial(table_rows, query_file, QUERIES),
        qrels=partial(table_rows, qrels_file, QRELS),
        places=("" if query_file is None else str(query_file.path), str(qrels_file.path)),
        excludes_query_id=excludes_query_id,
    )
    return assemble(parts, title_separator=plain(title_separator), missing=plain(missing))


def _table(argument: str, path: str | os.PathLike[str]) -> File:
    found = given_path(argument, path)
    if not holds(found.is_file):
        raise DatasetError(f"there is no file {str(found)!r} of {argument}: pass the path of a file")
    return File(found, kind_of_table(found), found.name)


def _rereadable(corpus: Any) -> Any:
    if any(has(type(corpus), member) for member in ("__next__", "__anext__", "__aiter__")):
        raise ConfigurationError(
            f"corpus is {kind_of(corpus)}, which can be read only once: pass a path, a list, a table or a dataset"
        )
    return plain(corpus) if isinstance(corpus, str) else corpus


def _items(corpus: Any) -> Iterator[Any]:
    file = beir_corpus(corpus)
    if file is not None:
        yield from corpus_rows(file)
        return
    items = documents_from(corpus).items
    assert isinstance(items, Iterator)  # noqa: S101 - the type checker does not know that `_rereadable` refused others
    try:
        yield from items
    except ColbertQdrantError:
        raise
    except Exception as error:
        raise DatasetError(
            f"the corpus cannot be read further ({type(error).__name__}: {error}): correct it"
        ) from error
