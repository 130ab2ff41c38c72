"""Scores by exact MaxSim, and reranks by it without a database."""
