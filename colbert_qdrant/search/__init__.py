"""Turns search options into a request, sends it, and returns the hits."""
