"""What the process has imported that others are forked from: each of them would do so itself, for seconds."""

from __future__ import annotations

import tests.environment  # before the libraries that it is for

# isort: split
import gc

import qdrant_edge
import transformers.models.bert.modeling_bert

import colbert_qdrant.edge
import colbert_qdrant.encoders.checkpoint.load
import tests.contract.conftest
import tests.faults.life
import tests.faults.migrating

gc.freeze()  # and it stays in memory that they share
gc.enable()

__all__ = ["colbert_qdrant", "qdrant_edge", "tests", "transformers"]
