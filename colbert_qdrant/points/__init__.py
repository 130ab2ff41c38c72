"""Documents as points and back, without I/O."""
