"""Reads test collections: BEIR folders, data sets of the Hugging Face Hub, and your own files."""

from colbert_qdrant.evaluation.datasets.dataset import RetrievalDataset

__all__ = ["RetrievalDataset"]
