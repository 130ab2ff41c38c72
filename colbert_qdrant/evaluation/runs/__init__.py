"""Reads and writes runs: the documents that a search found for each query."""
