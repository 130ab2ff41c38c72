"""Computes exact MaxSim, and reranks with it without a database."""
