"""Reads files, tables, datasets and other iterables as documents, and splits long ones into passages."""

from colbert_qdrant.sources.chunking import Chunker, Passage, SentenceChunker
from colbert_qdrant.sources.item import BadRow, Item, RowDocument, row_of, where
from colbert_qdrant.sources.mapping import Column, Columns, RowMapping
from colbert_qdrant.sources.read import DocumentSource, Source, documents_from
from colbert_qdrant.sources.rejects import RejectFile
from colbert_qdrant.sources.shard import Shard

__all__ = [
    "BadRow",
    "Chunker",
    "Column",
    "Columns",
    "DocumentSource",
    "Item",
    "Passage",
    "RejectFile",
    "RowDocument",
    "RowMapping",
    "SentenceChunker",
    "Shard",
    "Source",
    "documents_from",
    "row_of",
    "where",
]
