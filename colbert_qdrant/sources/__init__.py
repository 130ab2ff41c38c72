"""Reads files, tables, datasets and other iterables as documents."""

from colbert_qdrant.sources.item import Item
from colbert_qdrant.sources.mapping import Column, Columns, RowMapping
from colbert_qdrant.sources.read import Source, documents_from
from colbert_qdrant.sources.rejects import RejectFile
from colbert_qdrant.sources.shard import Shard

__all__ = ["Column", "Columns", "Item", "RejectFile", "RowMapping", "Shard", "Source", "documents_from"]
