"""An open collection that can be searched."""
