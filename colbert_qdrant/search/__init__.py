"""Search options, the request they become, and the hits."""
