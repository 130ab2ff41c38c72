"""Describes a checkpoint, and measures whether MUVERA suits its token vectors."""

from colbert_qdrant.inspection.checkpoint import Inspection, inspect
from colbert_qdrant.inspection.fitness import MuveraFitness, muvera_fitness

__all__ = ["Inspection", "MuveraFitness", "inspect", "muvera_fitness"]
