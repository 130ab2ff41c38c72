"""Reads test collections: BEIR folders, data sets of the Hugging Face Hub, and your own files."""

from colbert_qdrant.evaluation.datasets.dataset import RetrievalDataset
from colbert_qdrant.evaluation.datasets.several import DatasetSource, load_datasets

__all__ = ["DatasetSource", "RetrievalDataset", "load_datasets"]
