"""LEMUR, the learned fixed dimensional encoding (arXiv 2601.21853): fitted once, then one matmul per document."""

from colbert_qdrant.fde.lemur.encoder import LemurEncoder

__all__ = ["LemurEncoder"]
