"""Reads the stored documents of an open collection."""
