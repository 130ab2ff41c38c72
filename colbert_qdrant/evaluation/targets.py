"""Makes a filled collection of everything that `evaluate` measures: a collection, an encoder, or a model's name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from copy import copy
from functools import cached_property, partial
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any, Final, Protocol
from uuid import UUID, uuid4

from colbert_qdrant._support.progress import ProgressReporter
from colbert_qdrant._support.warned import warn
from colbert_qdrant.collection import AsyncColbertCollection, ColbertCollection
from colbert_qdrant.collection.ingest.content import ContentDigest
from colbert_qdrant.collection.ingest.lookup import find_stored
from colbert_qdrant.collection.ingest.passages import PARENT_KEY, PASSAGE_KEY
from colbert_qdrant.collection.metadata import ID_KEY, read_metadata
from colbert_qdrant.collection.opened import OpenCollection
from colbert_qdrant.config import Bm25Config, CollectionConfig
from colbert_qdrant.documents import Document, DocumentId
from colbert_qdrant.edge import EdgeClient
from colbert_qdrant.encoders import ColbertEncoder, LateInteractionEncoder
from colbert_qdrant.encoders.base import require_encoder
from colbert_qdrant.encoders.ready import ReadyTokens, name_of
from colbert_qdrant.engines.runtime import run_blocking
from colbert_qdrant.errors import ConfigurationError, DatasetError, InvalidDocumentError
from colbert_qdrant.evaluation.datasets.corpus import Corpus
from colbert_qdrant.evaluation.modes import Abilities
from colbert_qdrant.evaluation.state import digest
from colbert_qdrant.points.ids import passage_id, point_id
from colbert_qdrant.shown import counted, has, kind_of, shown

if TYPE_CHECKING:
    from colbert_qdrant.evaluation.datasets import RetrievalDataset
    from colbert_qdrant.evaluation.state import Workspace
    from colbert_qdrant.search.options import SearchMode

_COLLECTION: Final = "documents"
_LOOKED_UP: Final = 500
"""The number of ids that one request looks up."""


class Target(Protocol):
    """A collection, or a model that a collection is made with."""

    @property
    def name(self) -> str:
        """The name in tables."""

    @property
    def key(self) -> str:
        """The kind and the name of the target, which other targets do not have."""

    @property
    def encoder(self) -> LateInteractionEncoder:
        """The encoder of queries."""

    @property
    def abilities(self) -> Abilities:
        """The facts that decide which modes can be measured."""

    @property
    def changes(self) -> bool:
        """Whether the same call can have another result, because others may write to the collection."""

    def content(self, dataset: RetrievalDataset, modes: Sequence[SearchMode]) -> str:
        """Return a digest of the documents and settings; raise `DatasetError` if a judged document is missing."""

    def open(
        self, dataset: RetrievalDataset, workspace: Workspace, stack: ExitStack, *, progress: bool | ProgressReporter
    ) -> ColbertCollection:
        """Open the collection with all documents; ``stack`` closes it."""


class CollectionTarget:
    """A collection that has its documents already, and is measured unchanged.

    Args:
        collection: The collection.

    Raises:
        ClosedError: If it is closed.
    """

    changes = True

    def __init__(self, collection: ColbertCollection) -> None:
        self._collection = collection
        self._opened: OpenCollection = collection._open  # noqa: SLF001

    @property
    def name(self) -> str:
        """See `Target`."""
        return self._collection.name

    @property
    def key(self) -> str:
        """See `Target`."""
        return f"collection {self.name!r} ({self._metadata().get(ID_KEY, '')[:8]})"

    @property
    def encoder(self) -> LateInteractionEncoder:
        """See `Target`."""
        return self._collection.encoder

    @property
    def abilities(self) -> Abilities:
        """See `Target`."""
        opened = self._opened
        return Abilities(
            config=opened.config,
            limits=run_blocking(opened.read_limits()),
            fitted=opened.fde is not None and opened.complete,
            encodes=not isinstance(opened.encoder, ReadyTokens),
            without_encoder=opened.further.names_without_encoder,
        )

    def content(self, dataset: RetrievalDataset, modes: Sequence[SearchMode]) -> str:
        """See `Target`.

        All documents are read only beside exact searches, each of which reads more. Other searches are fast, and begin
        anew after an interruption.
        """
        self._require_judged(dataset)
        return digest([self._metadata(), self._documents if "exact" in modes else uuid4().hex])

    @cached_property
    def _documents(self) -> str:
        documents = ContentDigest()
        for each in self._collection.iterate():
            documents.add(each)
        return str(documents)

    def open(
        self,
        dataset: RetrievalDataset,  # noqa: ARG002
        workspace: Workspace,  # noqa: ARG002
        stack: ExitStack,  # noqa: ARG002
        *,
        progress: bool | ProgressReporter,  # noqa: ARG002
    ) -> ColbertCollection:
        """See `Target`."""
        return self._collection

    def _metadata(self) -> dict[str, Any]:
        return run_blocking(read_metadata(self._opened.engine, self.name))

    def _require_judged(self, dataset: RetrievalDataset) -> None:
        """Raise `DatasetError` if the collection lacks judged documents."""
        judged = sorted({document for each in dataset.qrels.values() for document in each})
        of_passages = stores_passages(self._collection)
        missing: list[str] = []
        for start in range(0, len(judged), _LOOKED_UP):
            some = judged[start : start + _LOOKED_UP]
            points = {document: self._points(document, of_passages=of_passages) for document in some}
            found = run_blocking(find_stored(self._opened, [point for each in points.values() for point in each]))
            missing += [document for document, each in points.items() if found.isdisjoint(each)]
        is_other = len(missing) == len(judged)
        remedy = "ingest them, or pass another collection, or an encoder to build one" if is_other else "ingest them"
        _require_none_missing(dataset, missing, len(judged), f"collection {self.name!r} lacks", remedy)

    def _points(self, document: str, *, of_passages: bool) -> list[str | int]:
        """Return the ids of the points that a judged document may have."""
        scheme, points = self._opened.config.id_scheme, list[str | int]()
        for id in _possible_ids(document):
            try:
                points.append(point_id(passage_id(id, 0, scheme) if of_passages else id, scheme))
            except InvalidDocumentError:
                continue
        return points


class ModelTarget:
    """A model, with which an embedded collection of the data set's documents is built.

    Args:
        encoder: The model.
        name: Its name in tables.
        config: The settings of the collection; by default those of a collection with BM25.
    """

    changes = False

    def __init__(self, encoder: LateInteractionEncoder, name: str, config: CollectionConfig | None) -> None:
        self.encoder = encoder
        self.name = name
        self._config = config or CollectionConfig(bm25=Bm25Config())

    @property
    def key(self) -> str:
        """See `Target`."""
        fingerprint = {name: value for name, value in self.encoder.fingerprint().items() if name != "name"}
        return f"model {self.name!r} ({digest([self.encoder.dim, fingerprint])[:8]})"

    @property
    def abilities(self) -> Abilities:
        """See `Target`."""
        return Abilities(config=self._config, without_encoder=[*self._config.dense, *self._config.sparse])

    def content(self, dataset: RetrievalDataset, modes: Sequence[SearchMode]) -> str:  # noqa: ARG002
        """See `Target`."""
        if dataset.documents is None:
            raise ConfigurationError(
                f"data set {shown(dataset.name)} has no documents to encode: load it with documents, or pass a "
                "collection that has them as the target"
            )
        judged = {document for each in dataset.qrels.values() for document in each}
        corpus = dataset.documents
        if not isinstance(corpus, Corpus):
            corpus = Corpus(partial(_checked, corpus, dataset.name))
        found = corpus.scan(judged)
        if not found.count:
            raise DatasetError(f"data set {shown(dataset.name)} has no documents with a text: add some")
        _require_none_missing(
            dataset,
            sorted(found.missing & judged),
            len(judged),
            "the documents lack",
            "add them, or remove the judgments",
        )
        return digest([self._config.to_dict(), found.digest, identity_of(self.encoder)])

    def open(
        self, dataset: RetrievalDataset, workspace: Workspace, stack: ExitStack, *, progress: bool | ProgressReporter
    ) -> ColbertCollection:
        """See `Target`."""
        client = stack.enter_context(EdgeClient(workspace.store))
        collection = ColbertCollection.open_or_create(
            _COLLECTION, client=client, encoder=self.encoder, config=self._config
        )
        if not workspace.built:
            self._build(collection, dataset, workspace, progress=progress)
        if workspace.unstored:
            warn(workspace.unstored)
        return collection

    def _build(
        self,
        collection: ColbertCollection,
        dataset: RetrievalDataset,
        workspace: Workspace,
        *,
        progress: bool | ProgressReporter,
    ) -> None:
        report = collection.ingest(
            dataset.documents or (), resume=workspace.journal, on_error="skip", bulk=True, progress=progress
        )
        collection.optimize()
        unstored = ""
        if report.rejections:
            first = report.rejected[0]
            unstored = (
                f"data set {shown(dataset.name)}: {counted(report.rejections, 'document')} cannot be stored, so no "
                f"search finds them; the first is {shown(first.id)}: {first.reason}"
            )
            if not collection.count():
                raise DatasetError(unstored)
        workspace.finish_build(unstored)


def make_target(target: object, config: CollectionConfig | None) -> Target:
    """Return the target that a user's value stands for.

    Raises:
        ConfigurationError: If the value is no target, or has settings already.
        CheckpointError: If a model cannot be loaded.
    """
    if isinstance(target, AsyncColbertCollection):
        raise ConfigurationError(
            f"target is the asynchronous collection {target.name!r}: open it with ColbertCollection.open, with a "
            "blocking client"
        )
    if isinstance(target, ColbertCollection):
        if config is not None:
            raise ConfigurationError("config is for models, but a collection has its own settings: leave it out")
        return CollectionTarget(target)
    if isinstance(target, str | PathLike):
        name = fspath(target)
        return ModelTarget(ColbertEncoder.from_pretrained(name), name, config)
    if not all(has(target, each) for each in ("dim", "encode_queries", "encode_documents", "fingerprint")):
        raise ConfigurationError(
            f"target is {kind_of(target)} {shown(target)}: pass a ColbertCollection, an encoder, the name or folder of "
            "a model, or a Run"
        )
    encoder: Any = target
    require_encoder(encoder, name="target")
    return ModelTarget(encoder, name_of(encoder.fingerprint()) or type(encoder).__name__, config)


def identity_of(encoder: LateInteractionEncoder) -> dict[str, Any]:
    """Return an encoder's fingerprint, or a random one for an encoder that no other call can recognize."""
    return dict(encoder.fingerprint()) or {"unknown": uuid4().hex}


def with_encoder(collection: ColbertCollection, encoder: LateInteractionEncoder) -> ColbertCollection:
    """Return the same collection with another encoder of its queries."""
    opened = copy(collection._open)  # noqa: SLF001
    opened.encoder = encoder
    return ColbertCollection(opened)


def stores_passages(collection: ColbertCollection) -> bool:
    """Tell whether the first document of a collection is a passage of another document."""
    first = next(iter(collection.iterate()), None)
    return first is not None and {PARENT_KEY, PASSAGE_KEY} <= first.payload.keys()


def _checked(documents: Iterable[Document], dataset: str) -> Iterator[Document]:
    for each in documents:
        if not isinstance(each, Document):
            raise DatasetError(
                f"the documents of {shown(dataset)} have {kind_of(each)} among them: use Document(id=…, text=…)"
            )
        yield each


def _require_none_missing(
    dataset: RetrievalDataset, missing: Sequence[str], judged: int, lack: str, remedy: str
) -> None:
    if missing and dataset.missing == "error":
        ignore = "" if len(missing) == judged else ", or pass missing='ignore' to the data set"
        raise DatasetError(
            f"data set {shown(dataset.name)}: {lack} {len(missing):,} of {counted(judged, 'judged document')}, such as "
            f"{', '.join(map(repr, missing[:3]))}: {remedy}{ignore}"
        )


def _possible_ids(document: str) -> Iterator[DocumentId]:
    """Yield the ids that are equal to a string when they are compared as strings."""
    yield document
    for kind in (int, UUID):
        with suppress(ValueError):
            if str(made := kind(document)) == document:
                yield made
