"""Describes a checkpoint, measures whether MUVERA suits its token vectors, and chooses an encoding."""

from colbert_qdrant.inspection.checkpoint import Inspection, inspect
from colbert_qdrant.inspection.choice import FdeChoice, choose_fde
from colbert_qdrant.inspection.fitness import MuveraFitness, muvera_fitness

__all__ = ["FdeChoice", "Inspection", "MuveraFitness", "choose_fde", "inspect", "muvera_fitness"]
