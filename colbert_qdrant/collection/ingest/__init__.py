"""Streams documents into an open collection."""
