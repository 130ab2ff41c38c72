"""Encodes by LEMUR, a learned fixed dimensional encoding (arXiv 2601.21853) that is fitted once."""

from colbert_qdrant.fde.lemur.encoder import LemurEncoder

__all__ = ["LemurEncoder"]
