"""Converts documents to points and back, and knows their schema, without I/O."""
