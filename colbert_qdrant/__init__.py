"""The late-interaction layer for Qdrant.

text → token embeddings → fixed dimensional encoding → a point with both; a query goes the same way and comes back as
hits ranked by MaxSim. Importing this package loads neither torch nor transformers.
"""

import logging

from colbert_qdrant import rank
from colbert_qdrant.collection import ColbertCollection
from colbert_qdrant.config import CollectionConfig, HnswConfig, MuveraConfig
from colbert_qdrant.documents import Document, DocumentId, IngestReport, SearchHit
from colbert_qdrant.encoders import (
    ColbertEncoder,
    LateInteractionEncoder,
    PylateEncoder,
    SentenceTransformersEncoder,
)
from colbert_qdrant.errors import (
    CapabilityError,
    CheckpointError,
    ClosedError,
    ColbertQdrantError,
    CollectionExistsError,
    CollectionNotFoundError,
    ConfigurationError,
    EngineError,
    FingerprintMismatchError,
    ForkedProcessError,
    InvalidDocumentError,
    InvalidQueryError,
    InvalidTokensError,
    MissingExtraError,
    SchemaMismatchError,
    StoreLockedError,
)
from colbert_qdrant.fde import FixedDimensionalEncoder, MuveraEncoder
from colbert_qdrant.ingest import ProgressReporter
from colbert_qdrant.inspection import Inspection, MuveraFitness, inspect, muvera_fitness
from colbert_qdrant.qdrant import EdgeClient, SearchMode
from colbert_qdrant.rerank import ColbertReranker, Reranker
from colbert_qdrant.scoring import maxsim
from colbert_qdrant.tokens import TokenEmbeddings

__version__ = "0.1.0"

__all__ = [
    "CapabilityError",
    "CheckpointError",
    "ClosedError",
    "ColbertCollection",
    "ColbertEncoder",
    "ColbertQdrantError",
    "ColbertReranker",
    "CollectionConfig",
    "CollectionExistsError",
    "CollectionNotFoundError",
    "ConfigurationError",
    "Document",
    "DocumentId",
    "EdgeClient",
    "EngineError",
    "FingerprintMismatchError",
    "FixedDimensionalEncoder",
    "ForkedProcessError",
    "HnswConfig",
    "IngestReport",
    "Inspection",
    "InvalidDocumentError",
    "InvalidQueryError",
    "InvalidTokensError",
    "LateInteractionEncoder",
    "MissingExtraError",
    "MuveraConfig",
    "MuveraEncoder",
    "MuveraFitness",
    "ProgressReporter",
    "PylateEncoder",
    "Reranker",
    "SchemaMismatchError",
    "SearchHit",
    "SearchMode",
    "SentenceTransformersEncoder",
    "StoreLockedError",
    "TokenEmbeddings",
    "inspect",
    "maxsim",
    "muvera_fitness",
    "rank",
]

logging.getLogger(__name__).addHandler(logging.NullHandler())
