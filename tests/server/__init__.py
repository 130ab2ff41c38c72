"""A model of Qdrant's REST interface: what a server 1.19 answered, over the embedded engine."""
