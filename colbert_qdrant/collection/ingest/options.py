"""Defines, documents and checks the options of an ingest."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike, fspath
from typing import Any, Literal, TypedDict, get_args

from colbert_qdrant._support.progress import ProgressReporter, require_progress
from colbert_qdrant._support.signatures import Method, require_options
from colbert_qdrant._support.signatures import shows_options as shows
from colbert_qdrant._support.values import plain
from colbert_qdrant.collection.ingest.conflicts import OnConflict, require_on_conflict
from colbert_qdrant.collection.learn_queries import checked_queries
from colbert_qdrant.config.checks import require_bool, require_file_path, require_one_of
from colbert_qdrant.errors import ConfigurationError
from colbert_qdrant.sources import Column, Columns, RowMapping, Shard
from colbert_qdrant.sources.chunking import Chunker, require_chunker
from colbert_qdrant.sources.paths import is_same_path
from colbert_qdrant.tokens import TokenEmbeddings

OnIngestError = Literal["raise", "skip", "reject"]
"""How `ingest` treats a row that cannot be stored: raise an error, skip and report it, or also keep it in a file."""


class IngestTokensOptions(TypedDict, total=False):
    """Options of `ingest_tokens`.

    Attributes:
        bulk: ``True`` builds no graphs until all documents are written, then builds them and waits. This is faster for
            many documents, but searches are slow in the meantime.
        on_error: ``"raise"`` ends the ingest at a document that cannot be stored. ``"skip"`` omits such documents, and
            reports them in ``rejected`` with id and reason. ``"reject"`` also appends their rows to ``rejects``.
        rejects: The path of a file of JSON lines for rejected rows, which you can mend and ingest.
        progress: ``True`` for a progress bar in a terminal (needs the ``progress`` extra) or a notebook, and log lines
            elsewhere. Or pass your own reporter, which is told about every acknowledged batch.
        fit: ``False`` never fits the encoding, and leaves that to a later `fit`: for processes that write to one
            collection at the same time.
        queries: Real queries for the fit of LEMUR; see `fit`. A warning tells you if this ingest fits nothing.
        resume: The path of a journal, which is created if it does not exist. After an interruption, even by a crash,
            the same call continues where the journal ends. It skips the documents that earlier calls stored, and
            encodes nothing twice beyond the last checkpoint. The source must yield the same documents again; it may
            have more at its end.
        on_conflict: ``"replace"`` replaces a stored document with the same id. ``"skip"`` encodes only documents that
            are not stored, or are stored with another text, payload or vectors. With ``"error"``, a document whose id
            is stored cannot be stored, and none is replaced.
        sync: ``True`` deletes stored documents that the source does not have, after all of the source was ingested.
    """

    bulk: bool
    on_error: OnIngestError
    rejects: str | PathLike[str] | None
    progress: bool | ProgressReporter
    fit: bool
    queries: Iterable[str] | TokenEmbeddings | None
    resume: str | PathLike[str] | None
    on_conflict: OnConflict
    sync: bool


class IngestOptions(IngestTokensOptions, total=False):
    """Options of `ingest`, in addition to those of `IngestTokensOptions`.

    Attributes:
        id: The column with the ids, or a function of the row; by default ``id``, or else ``_id``. In a tuple, its
            position.
        text: The column with the texts, or a function of the row; by default ``text``.
        payload: A column that holds a dict, a list of columns, or a function that returns a dict. By default, all
            columns that are neither id nor text.
        shard: ``(i, n)`` ingests the rows with a number r, from 0, for which r modulo n is i. So n processes share a
            source.
        chunker: Splits each document into passages, which are stored instead of it: `SentenceChunker`, or another
            object with its method. A passage's payload is the document's, with ``parent_id`` and ``passage``. Stored
            passages that a document no longer has are deleted.
    """

    id: Column | None
    text: Column | None
    payload: Columns | None
    shard: tuple[int, int] | None
    chunker: Chunker | None


@dataclass(frozen=True, kw_only=True)
class CheckedIngest:
    """Checked options of an ingest with their defaults; see `IngestOptions`.

    Raises:
        ConfigurationError: If an option is invalid or contradicts another.
        InvalidQueryError: If ``queries`` is empty, or a query is not a text.
    """

    bulk: bool = False
    id: Column | None = None
    text: Column | None = None
    payload: Columns | None = None
    shard: tuple[int, int] | None = None
    chunker: Chunker | None = None
    on_error: OnIngestError = "raise"
    rejects: str | PathLike[str] | None = None
    progress: bool | ProgressReporter = False
    fit: bool = True
    queries: Sequence[str] | TokenEmbeddings | None = None
    resume: str | PathLike[str] | None = None
    on_conflict: OnConflict = "replace"
    sync: bool = False

    def __post_init__(self) -> None:
        require_bool("bulk", self.bulk)
        require_one_of("on_error", self.on_error, get_args(OnIngestError))
        RowMapping(id=self.id, text=self.text, payload=self.payload)
        Shard.of(self.shard)
        if self.on_error == "reject" and self.rejects is None:
            raise ConfigurationError(
                "on_error='reject' needs a file for the rejected rows: pass rejects='rejected.jsonl'"
            )
        if self.on_error != "reject" and self.rejects is not None:
            raise ConfigurationError(f"rejects is a file for on_error='reject', not for {self.on_error!r}: pass both")
        if self.chunker is not None:
            require_chunker(self.chunker)
        require_progress(plain(self.progress))
        require_bool("fit", self.fit)
        if self.queries is not None:
            object.__setattr__(self, "queries", checked_queries(self.queries))
            if not self.fit:
                raise ConfigurationError(
                    "fit=False never fits, so nothing would learn from queries: pass queries to fit() instead"
                )
        if self.resume is not None:
            require_file_path("resume", self.resume)
            if self.rejects is not None and is_same_path(self.resume, self.rejects):
                raise ConfigurationError(f"resume and rejects are both {fspath(self.resume)!r}: pass two files")
        require_on_conflict(self.on_conflict)
        require_bool("sync", self.sync)
        if self.sync and self.shard is not None:
            raise ConfigurationError(
                "sync=True with shard=… would delete the documents of all other shards: ingest the shards first, and "
                "then the whole source with on_conflict='skip' and sync=True"
            )


def check_ingest(options: Mapping[str, Any]) -> CheckedIngest:
    """Check the options that `ingest` was called with.

    Raises:
        ConfigurationError: If an option is invalid or contradicts another.
        TypeError: If there is no such option.
    """
    require_options("ingest", IngestOptions, options)
    return CheckedIngest(**options)


def check_ingest_tokens(options: Mapping[str, Any]) -> CheckedIngest:
    """Check the options that `ingest_tokens` was called with; see `check_ingest`."""
    require_options("ingest_tokens", IngestTokensOptions, options)
    return CheckedIngest(**options)


def shows_options(kind: type) -> Callable[[Method], Method]:
    """List every option of a method, with its default and description, in ``help()`` and the method's signature."""
    return shows(kind, among=(IngestTokensOptions,), checked=CheckedIngest)
