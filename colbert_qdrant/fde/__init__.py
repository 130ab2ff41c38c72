"""Token embeddings → one vector per text whose inner product ranks like MaxSim. Numpy; knows no Qdrant, no models."""

from colbert_qdrant.fde.base import FixedDimensionalEncoder
from colbert_qdrant.fde.muvera import MuveraEncoder

__all__ = ["FixedDimensionalEncoder", "MuveraEncoder"]
