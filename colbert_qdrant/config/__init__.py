"""Defines frozen, validated settings; a collection stores its settings as JSON."""

from colbert_qdrant.config.collection import (
    CollectionConfig,
    FdeQuantization,
    HnswConfig,
    PayloadIndex,
    Storage,
    TokenDatatype,
    VectorDatatype,
)
from colbert_qdrant.config.fde import (
    MAX_DENSE_DIM,
    FdeConfig,
    LemurConfig,
    MuveraConfig,
    MuveraPartition,
    MuveraVariant,
    Preset,
    Refinement,
)
from colbert_qdrant.config.retry import RetryConfig
from colbert_qdrant.config.vectors import Bm25Config, DenseConfig, SparseConfig

__all__ = [
    "MAX_DENSE_DIM",
    "Bm25Config",
    "CollectionConfig",
    "DenseConfig",
    "FdeConfig",
    "FdeQuantization",
    "HnswConfig",
    "LemurConfig",
    "MuveraConfig",
    "MuveraPartition",
    "MuveraVariant",
    "PayloadIndex",
    "Preset",
    "Refinement",
    "RetryConfig",
    "SparseConfig",
    "Storage",
    "TokenDatatype",
    "VectorDatatype",
]
