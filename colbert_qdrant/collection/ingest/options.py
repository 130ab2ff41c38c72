"""Defines, documents and checks the options of an ingest."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from os import PathLike
from typing import Any, TypedDict

from colbert_qdrant._support.progress import ProgressReporter
from colbert_qdrant._support.signatures import Method, require_options
from colbert_qdrant._support.signatures import shows_options as shows
from colbert_qdrant.collection.ingest.conflicts import OnConflict, require_on_conflict
from colbert_qdrant.collection.rows import OnError, require_on_error
from colbert_qdrant.config.checks import require_bool, require_file_path
from colbert_qdrant.sources.chunking import Chunker, require_chunker


class IngestOptions(TypedDict, total=False):
    """Options of `ingest`.

    Attributes:
        bulk: ``True`` builds no graphs until all documents are written, then builds them and waits. This is faster for
            many documents, but searches are slow in the meantime.
        chunker: Splits each document into passages, which are stored instead of it: `SentenceChunker`, or another
            object with its method. A passage's payload is the document's, with ``parent_id`` and ``passage``. Stored
            passages that a document no longer has are deleted.
        on_error: ``"raise"`` ends the ingest at a document that cannot be stored; ``"skip"`` omits such documents, and
            reports them in ``rejected`` with id and reason.
        progress: ``True`` for a progress bar in a terminal (needs the ``progress`` extra) or a notebook, and log lines
            elsewhere. Or pass your own reporter, which is told about every acknowledged batch.
        fit: ``False`` never fits the encoding, and leaves that to a later `fit`: for processes that write to one
            collection at the same time.
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
    chunker: Chunker | None
    on_error: OnError
    progress: bool | ProgressReporter
    fit: bool
    resume: str | PathLike[str] | None
    on_conflict: OnConflict
    sync: bool


@dataclass(frozen=True, kw_only=True)
class CheckedIngest:
    """Checked options of an ingest with their defaults; see `IngestOptions`.

    Raises:
        ConfigurationError: If an option is invalid or contradicts another.
    """

    bulk: bool = False
    chunker: Chunker | None = None
    on_error: OnError = "raise"
    progress: bool | ProgressReporter = False
    fit: bool = True
    resume: str | PathLike[str] | None = None
    on_conflict: OnConflict = "replace"
    sync: bool = False

    def __post_init__(self) -> None:
        require_bool("bulk", self.bulk)
        if self.chunker is not None:
            require_chunker(self.chunker)
        require_on_error(self.on_error)
        require_bool("fit", self.fit)
        if self.resume is not None:
            require_file_path("resume", self.resume)
        require_on_conflict(self.on_conflict)
        require_bool("sync", self.sync)


def check_ingest(options: Mapping[str, Any]) -> CheckedIngest:
    """Check the options that `ingest` was called with.

    Raises:
        ConfigurationError: If an option is invalid or contradicts another.
        TypeError: If there is no such option.
    """
    require_options("ingest", IngestOptions, options)
    return CheckedIngest(**options)


def shows_options(method: Method) -> Method:
    """List every option of `ingest`, with its default and description, in ``help()`` and the method's signature."""
    show: Callable[[Method], Method] = shows(IngestOptions, among=(), checked=CheckedIngest)
    return show(method)
