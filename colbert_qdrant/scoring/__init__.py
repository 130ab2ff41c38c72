"""Exact MaxSim, and reranking by it without a database."""
