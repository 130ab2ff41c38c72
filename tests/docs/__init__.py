"""The documentation: its snippets run, and its site builds and looks as it should."""
