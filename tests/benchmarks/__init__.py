"""Measurements that anyone can repeat; run a file, or ask it for --help."""
