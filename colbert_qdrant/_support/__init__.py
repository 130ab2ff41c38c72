"""Small helpers that know nothing of ColBERT or Qdrant."""
