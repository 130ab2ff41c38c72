"""Writes and deletes the documents of an open collection."""
