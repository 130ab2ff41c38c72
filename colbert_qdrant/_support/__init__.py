"""Holds small helpers that know nothing of ColBERT or Qdrant."""
