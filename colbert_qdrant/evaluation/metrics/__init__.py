"""Defines the values of metrics for each query, their means and intervals."""
