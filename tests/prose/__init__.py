"""Checks that the project's English is plain."""
