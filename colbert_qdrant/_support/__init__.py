"""Provides small helpers that do not depend on ColBERT or Qdrant."""
