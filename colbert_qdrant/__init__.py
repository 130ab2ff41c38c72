"""The late-interaction layer for Qdrant.

It encodes a text as token embeddings, encodes those as a fixed dimensional encoding (FDE), and stores both in one
point. A query is encoded in the same way, and MaxSim ranks the hits. Importing this package loads neither torch nor
transformers.
"""

import logging

from colbert_qdrant._support.progress import ProgressReporter
from colbert_qdrant._support.secret import Secret
from colbert_qdrant.attach import AsyncAttachedCollection, AttachedCollection, attach, attach_async
from colbert_qdrant.collection import (
    AsyncColbertCollection,
    ColbertCollection,
    CollectionState,
    CollectionSummary,
    ExportReport,
    IngestOptions,
    IngestTokensOptions,
    VectorState,
    list_collections,
    list_collections_async,
)
from colbert_qdrant.config import (
    Bm25Config,
    CollectionConfig,
    DenseConfig,
    HnswConfig,
    LemurConfig,
    MuveraConfig,
    RetryConfig,
    SparseConfig,
)
from colbert_qdrant.documents import (
    Document,
    DocumentId,
    IngestReport,
    RejectedDocument,
    SearchGroup,
    SearchHit,
    SearchHits,
    SearchTimings,
)
from colbert_qdrant.edge import AsyncEdgeClient, EdgeClient
from colbert_qdrant.encoders import (
    ColbertEncoder,
    LateInteractionEncoder,
    PylateEncoder,
    ReadyTokens,
    SentenceTransformersEncoder,
    TokenCounter,
    VectorEncoder,
)
from colbert_qdrant.engines.connect import connect, connect_async
from colbert_qdrant.errors import (
    ArtefactError,
    AuthenticationError,
    BackupError,
    CapabilityError,
    CheckpointError,
    ClosedError,
    ColbertQdrantError,
    ColbertQdrantWarning,
    CollectionExistsError,
    CollectionNotFoundError,
    ConfigurationError,
    DatasetError,
    DiskFullError,
    EngineError,
    FingerprintMismatchError,
    ForkedProcessError,
    InvalidDocumentError,
    InvalidQueryError,
    InvalidTokensError,
    JournalError,
    MigrationError,
    MissingExtraError,
    NotReadyError,
    RateLimitedError,
    RequestError,
    RequestRefusedError,
    RequestTimeoutError,
    RequestTooLargeError,
    SchemaMismatchError,
    ServerError,
    StoreLockedError,
    UnreachableError,
)
from colbert_qdrant.evaluation import (
    EvaluatedRun,
    Evaluation,
    FdeReport,
    RetrievalDataset,
    Run,
    SearchQuality,
    evaluate,
    fde_report,
    plot_recall,
)
from colbert_qdrant.fde import FixedDimensionalEncoder, LemurEncoder, MuveraEncoder
from colbert_qdrant.inspection import Inspection, MuveraFitness, muvera_fitness
from colbert_qdrant.inspection import inspect as inspect  # not in __all__: a star import keeps Python's `inspect`
from colbert_qdrant.migrate import AsyncMigration, Migration, MigrationPlan, MigrationReport, Verdict
from colbert_qdrant.scoring import rank
from colbert_qdrant.scoring.maxsim import maxsim
from colbert_qdrant.scoring.rerank import ColbertReranker, Reranker
from colbert_qdrant.search.filters import Where
from colbert_qdrant.search.fusion import Rrf
from colbert_qdrant.search.options import AttachOptions, GroupOptions, SearchMode, SearchOptions, SimilarOptions
from colbert_qdrant.sources import Chunker, Passage, SentenceChunker
from colbert_qdrant.sources.exported import ExportInfo, export_info
from colbert_qdrant.tokens import TokenEmbeddings

__version__ = "0.1.0"

__all__ = [
    "ArtefactError",
    "AsyncAttachedCollection",
    "AsyncColbertCollection",
    "AsyncEdgeClient",
    "AsyncMigration",
    "AttachOptions",
    "AttachedCollection",
    "AuthenticationError",
    "BackupError",
    "Bm25Config",
    "CapabilityError",
    "CheckpointError",
    "Chunker",
    "ClosedError",
    "ColbertCollection",
    "ColbertEncoder",
    "ColbertQdrantError",
    "ColbertQdrantWarning",
    "ColbertReranker",
    "CollectionConfig",
    "CollectionExistsError",
    "CollectionNotFoundError",
    "CollectionState",
    "CollectionSummary",
    "ConfigurationError",
    "DatasetError",
    "DenseConfig",
    "DiskFullError",
    "Document",
    "DocumentId",
    "EdgeClient",
    "EngineError",
    "EvaluatedRun",
    "Evaluation",
    "ExportInfo",
    "ExportReport",
    "FdeReport",
    "FingerprintMismatchError",
    "FixedDimensionalEncoder",
    "ForkedProcessError",
    "GroupOptions",
    "HnswConfig",
    "IngestOptions",
    "IngestReport",
    "IngestTokensOptions",
    "Inspection",
    "InvalidDocumentError",
    "InvalidQueryError",
    "InvalidTokensError",
    "JournalError",
    "LateInteractionEncoder",
    "LemurConfig",
    "LemurEncoder",
    "Migration",
    "MigrationError",
    "MigrationPlan",
    "MigrationReport",
    "MissingExtraError",
    "MuveraConfig",
    "MuveraEncoder",
    "MuveraFitness",
    "NotReadyError",
    "Passage",
    "ProgressReporter",
    "PylateEncoder",
    "RateLimitedError",
    "ReadyTokens",
    "RejectedDocument",
    "RequestError",
    "RequestRefusedError",
    "RequestTimeoutError",
    "RequestTooLargeError",
    "Reranker",
    "RetrievalDataset",
    "RetryConfig",
    "Rrf",
    "Run",
    "SchemaMismatchError",
    "SearchGroup",
    "SearchHit",
    "SearchHits",
    "SearchMode",
    "SearchOptions",
    "SearchQuality",
    "SearchTimings",
    "Secret",
    "SentenceChunker",
    "SentenceTransformersEncoder",
    "ServerError",
    "SimilarOptions",
    "SparseConfig",
    "StoreLockedError",
    "TokenCounter",
    "TokenEmbeddings",
    "UnreachableError",
    "VectorEncoder",
    "VectorState",
    "Verdict",
    "Where",
    "attach",
    "attach_async",
    "connect",
    "connect_async",
    "evaluate",
    "export_info",
    "fde_report",
    "list_collections",
    "list_collections_async",
    "maxsim",
    "muvera_fitness",
    "plot_recall",
    "rank",
]

logging.getLogger(__name__).addHandler(logging.NullHandler())
