"""Reads and loads checkpoints: their layout, their specification and their weights."""

from colbert_qdrant.encoders.checkpoint.plain import PLAIN
from colbert_qdrant.encoders.checkpoint.pylate import PYLATE
from colbert_qdrant.encoders.checkpoint.registry import CheckpointLayout, register_layout
from colbert_qdrant.encoders.checkpoint.sentence_transformers import SENTENCE_TRANSFORMERS
from colbert_qdrant.encoders.checkpoint.stanford import STANFORD

__all__ = ["CheckpointLayout", "register_layout"]

# layouts are tried in reverse order: some of Stanford's checkpoints also have a modules.json without the projection
for _layout in (PLAIN, PYLATE, SENTENCE_TRANSFORMERS, STANFORD):
    register_layout(_layout)
