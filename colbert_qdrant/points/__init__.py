"""Converts documents to points and back, and defines the schema of collections, without I/O."""
