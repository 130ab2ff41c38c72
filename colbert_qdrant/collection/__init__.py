"""A collection for late interaction: created, filled, fitted and searched."""
