"""Defines the sink of Ray Data that encodes documents in Ray's workers, and writes them to one collection."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from types import NoneType
from typing import Any, Final, Literal
from uuid import uuid4

from ray.data import Datasink
from ray.data.datasource import WriteResult

from colbert_qdrant.collection.rows import require_documents
from colbert_qdrant.config import CollectionConfig, RetryConfig
from colbert_qdrant.config.checks import require_instance, require_one_of
from colbert_qdrant.documents import Document, IngestReport, RejectedDocument
from colbert_qdrant.encoders import LateInteractionEncoder, VectorEncoder
from colbert_qdrant.engines import Client
from colbert_qdrant.errors import ColbertQdrantError, InvalidDocumentError
from colbert_qdrant.ray.batches import block_rows
from colbert_qdrant.ray.opening import Mode, Opened, Opening, open_in_worker
from colbert_qdrant.ray.totals import total
from colbert_qdrant.shown import counted
from colbert_qdrant.sources import Column, Columns, RowMapping

_LOG: Final = logging.getLogger(__name__)


class ColbertDatasink(Datasink[IngestReport]):
    """Writes the rows of a Ray dataset as documents: ``dataset.write_datasink(ColbertDatasink("docs", …))``.

    The driver creates or opens the collection, and checks it, before any row is encoded. Each worker process of Ray
    loads the model once, and keeps it for its next tasks. Ray runs a task again if its process or machine is lost:
    its documents then replace themselves. A task that raises an error ends the write, and all documents that were
    acknowledged stay; write the dataset again to complete them.

    Args:
        name: The collection's name.
        make_client: A function that makes the client of a server, such as
            ``lambda: connect(url, api_key_env="QDRANT_API_KEY")``. Every process calls it, so the key does not travel.
        make_encoder: A function that loads the encoder, such as
            ``lambda: ColbertEncoder.from_pretrained("answerdotai/answerai-colbert-small-v1")``.
        make_vector_encoders: A function that returns the encoders of further vectors, by name.
        mode: ``"create"``, ``"open"`` or ``"open_or_create"``: the method of `ColbertCollection` that the driver calls.
        config: The settings of a new collection, or those that the stored one must have.
        retry: The retry policy for failing requests.
        shard_key: The shard key of all requests; see `ColbertCollection.create`.
        id: The column of ids, or a function of the row; see `IngestOptions`.
        text: The column of texts, or a function of the row.
        payload: The columns of payloads, or a function of the row.
        tokens: The column of ready token embeddings, which `ColbertBatchEncoder` adds: matrices of shape
            ``(n_tokens, dim)``. The workers then need no encoder, and only the driver loads it.
        on_error: ``"raise"`` ends the write at a document that cannot be stored; ``"skip"`` omits such documents, and
            reports them in ``report.rejected``.
        fit_sample: Rows or documents to which the driver fits an encoding that needs a fit, such as
            ``dataset.take(10_000)``. The driver stores them, and fits before the workers start. Without a sample, it
            fits at the end, and adds the encodings to all documents.

    Attributes:
        report: The sum of the reports of all tasks, after a write; ``None`` before it. ``documents`` counts an id once
            within a task. If the collection was empty before, it counts every id once.

    Raises:
        ConfigurationError: If an argument is invalid.
    """

    def __init__(
        self,
        name: str,
        *,
        make_client: Callable[[], Client],
        make_encoder: Callable[[], LateInteractionEncoder],
        make_vector_encoders: Callable[[], Mapping[str, VectorEncoder]] = dict,
        mode: Mode = "open_or_create",
        config: CollectionConfig | None = None,
        retry: RetryConfig | None = None,
        shard_key: str | int | None = None,
        id: Column | None = None,
        text: Column | None = None,
        payload: Columns | None = None,
        tokens: str | None = None,
        on_error: Literal["raise", "skip"] = "raise",
        fit_sample: Iterable[Mapping[str, Any] | Document] = (),
    ) -> None:
        self._opening = Opening(
            name=name,
            make_client=make_client,
            make_encoder=make_encoder,
            make_vector_encoders=make_vector_encoders,
            mode=mode,
            config=config,
            retry=retry,
            shard_key=shard_key,
        )
        self._mapping = RowMapping(id=id, text=text, payload=payload)
        require_instance("tokens", tokens, (str, NoneType), "the name of a column")
        self._tokens = tokens
        require_one_of("on_error", on_error, ("raise", "skip"))
        self._on_error = on_error
        require_documents(fit_sample)
        self._fit_sample = fit_sample
        self._run = ""
        self._driver: Opened | None = None
        self._before = 0
        self._started = 0.0
        self.report: IngestReport | None = None

    def __repr__(self) -> str:
        return f"ColbertDatasink({self._opening.name!r})"

    def __getstate__(self) -> dict[str, Any]:
        """Return the state that travels to the workers, without the sample."""
        return {**self.__dict__, "_fit_sample": (), "_driver": None, "report": None}

    def on_write_start(self, schema: Any = None) -> None:  # noqa: ARG002 - newer versions of Ray pass it
        """Create or open the collection on the driver, check it, and fit its encoding if a sample is given.

        Raises:
            ColbertQdrantError: If the collection cannot be created or opened, or the sample cannot be stored; no task
                has started.
        """
        self._start()

    def write(self, blocks: Iterable[Any], ctx: Any) -> IngestReport:  # noqa: ARG002
        """Encode and write the rows of one task, in a worker process.

        Raises:
            InvalidDocumentError: If a row cannot be stored, and ``on_error`` is ``"raise"``.
            RequestError: If requests fail despite retries, or the server refuses every document.
        """
        collection = open_in_worker(self._opening, self._run, encoder=self._tokens is None)
        rows = (row for block in blocks for row in block_rows(block, self._tokens))
        unread: list[RejectedDocument] = []
        report = collection.ingest(self._documents(rows, unread), fit=False, on_error=self._on_error)
        return replace(report, rejected=(*unread, *report.rejected))

    def on_write_complete(self, write_result: WriteResult[IngestReport]) -> None:
        """Fit the encoding if a fit is due, and make the report, on the driver.

        Raises:
            ColbertQdrantError: If the fit fails; all documents are stored.
        """
        started = self._driver or self._start()  # newer versions of Ray do not start the write of an empty dataset
        self._close()
        # opened again, it reads whether all documents of all workers have their encoding
        self._driver = self._opening.open(started.models, mode="open")
        collection = self._driver.collection
        collection.ingest(())  # fits if a fit is due
        now = collection.count()
        seconds = time.perf_counter() - self._started
        self.report = total(write_result.write_returns, stored=None if self._before else now, seconds=seconds)
        written = counted(self.report.documents, "document", "were")
        _LOG.info("collection %r: %s written, and the collection has %d", collection.name, written, now)
        self._close()

    def on_write_failed(self, error: Exception) -> None:  # noqa: ARG002 - Ray raises it
        """Log how many documents are stored, and close the driver's client."""
        if self._driver is None:
            return  # no task has started, or all have ended
        collection = self._driver.collection
        try:
            _LOG.error(
                "collection %r: the write failed, and %s stored: write the dataset again, and each document replaces "
                "itself",
                collection.name,
                counted(collection.count(), "document", "are"),
            )
        except ColbertQdrantError as failure:
            _LOG.error("collection %r: the write failed, and cannot be counted: %s", collection.name, failure)
        finally:
            self._close()

    def _start(self) -> Opened:
        self._close()
        opening = self._opening
        self._run, self._started, self.report = uuid4().hex, time.perf_counter(), None
        self._driver = opened = opening.open(opening.load(), mode=opening.mode, config=opening.config)
        self._before = opened.collection.count()
        if opened.collection.config.encoding.needs_fit and opened.collection.fde is None:
            rows = ((row, None) for row in self._fit_sample)
            opened.collection.ingest(self._documents(rows, []), on_error=self._on_error)
        return opened

    def _documents(self, rows: Iterable[tuple[Any, Any]], unread: list[RejectedDocument]) -> Iterator[Document]:
        """Yield the documents of rows and their token embeddings; rows without one are skipped or raise."""
        for number, (row, tokens) in enumerate(rows, start=1):
            try:
                document = self._mapping.document(row)
            except InvalidDocumentError as error:
                reason = f"row {number}: {error}"
                if self._on_error == "raise":
                    raise InvalidDocumentError(reason) from error
                unread.append(RejectedDocument(id=None, reason=reason))
            else:
                yield document if tokens is None else replace(document, tokens=tokens)

    def _close(self) -> None:
        opened, self._driver = self._driver, None
        if opened is not None:
            opened.close()
