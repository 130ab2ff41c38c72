"""Finds the files of a BEIR folder, on disk or in a ZIP archive."""

from __future__ import annotations

import re
import zipfile
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

from colbert_qdrant.errors import DatasetError
from colbert_qdrant.evaluation.datasets.catalog import excludes_query_id
from colbert_qdrant.evaluation.datasets.parts import Parts, corpus_rows
from colbert_qdrant.evaluation.datasets.qrels import QRELS
from colbert_qdrant.evaluation.datasets.query_texts import QUERIES
from colbert_qdrant.evaluation.datasets.table_files import table_rows
from colbert_qdrant.shown import shown
from colbert_qdrant.sources.paths import File, archive_of

if TYPE_CHECKING:
    from collections.abc import Iterable

_SUFFIXES: Final = ("", ".gz", ".zst")
_VISIBLE_TSV: Final = re.compile(r"(?:[^./][^/]*/)*([^./][^/]*?)\.tsv(?:\.gz|\.zst)?")


def is_beir_folder(path: Path) -> bool:
    """Tell whether a path is a folder with a corpus or with queries, a folder of such folders, or a ZIP archive."""
    patterns = ("corpus.jsonl*", "queries.jsonl*", "*/corpus.jsonl*")
    return archive_of(path) is not None or any(any(path.glob(pattern)) for pattern in patterns)


def folder_parts(path: Path, split: str) -> Parts:
    """Return the parts of a BEIR folder or archive.

    Raises:
        DatasetError: If a file is missing, or the archive cannot be read.
    """
    names = _names(path)
    top = _top(path, names)
    files = {PurePosixPath(name).relative_to(top).as_posix(): path / name for name in names if _is_in(name, top)}
    corpus, queries = (_file(path, files, f"{name}.jsonl") for name in ("corpus", "queries"))
    qrels = _qrels(path, files, split)
    name = top.name or path.resolve().stem
    return Parts(
        name=name,
        corpus=partial(corpus_rows, corpus),
        queries=partial(table_rows, queries, QUERIES),
        qrels=partial(table_rows, qrels, QRELS),
        places=(str(queries.path), str(qrels.path)),
        excludes_query_id=excludes_query_id(name),
    )


def splits_of(names: Iterable[str]) -> dict[str, str]:
    """Return the TSV files among names, by the split that each has, without hidden files such as those of macOS."""
    return {found[1]: name for name in names if (found := _VISIBLE_TSV.fullmatch(name))}


def _names(path: Path) -> list[str]:
    """Return the paths of the files in a folder, to the depth of BEIR's folders, or in an archive."""
    archive = archive_of(path)
    if archive is None:
        patterns = ("*.jsonl*", "qrels/*", "*/*.jsonl*", "*/qrels/*")
        return sorted({each.relative_to(path).as_posix() for one in patterns for each in path.glob(one)})
    try:
        with zipfile.ZipFile(archive) as opened:
            names = [PurePosixPath(each.filename) for each in opened.infolist() if not each.is_dir()]
    except (OSError, zipfile.BadZipFile) as error:
        raise DatasetError(f"{path} cannot be read ({error}): download or copy it again") from error
    within = path.relative_to(archive)
    return [
        name.relative_to(within).as_posix()
        for name in names
        if name.is_relative_to(within) and ".." not in name.parts and name.parts[0] != "__MACOSX"
    ]


def _top(path: Path, names: list[str]) -> PurePosixPath:
    """Return the folder that has the corpus."""
    tops = {PurePosixPath(name).parent for name in names if PurePosixPath(name).name.startswith("corpus.jsonl")}
    if PurePosixPath() in tops:
        return PurePosixPath()
    if len(tops) > 1:
        inside = ", ".join(shown(str(path / each)) for each in sorted(tops))
        raise DatasetError(f"{path} has several test collections: pass one of {inside}")
    return next(iter(tops), PurePosixPath())


def _is_in(name: str, top: PurePosixPath) -> bool:
    return PurePosixPath(name).is_relative_to(top)


def _file(path: Path, files: dict[str, Path], name: str) -> File:
    found = next((files[name + suffix] for suffix in _SUFFIXES if name + suffix in files), None)
    if found is None:
        raise DatasetError(
            f"{path} has no {name}: pass a folder with corpus.jsonl, queries.jsonl and qrels/test.tsv, or pass other "
            "files to RetrievalDataset.from_files"
        )
    return File(found, "jsonl", name)


def _qrels(path: Path, files: dict[str, Path], split: str) -> File:
    splits = splits_of(name for name in files if name.startswith("qrels/"))
    if split not in splits:
        there = f"pass split= one of {', '.join(map(repr, sorted(splits)))}" if splits else "add it"
        raise DatasetError(f"{path} has no judgments of split {shown(split)} (qrels/{split}.tsv): {there}")
    return File(files[splits[split]], "tsv", split)
