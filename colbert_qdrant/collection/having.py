"""Builds filters for the points that have, or lack, one of a collection's two vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdrant_client import models

if TYPE_CHECKING:
    from colbert_qdrant.config import CollectionConfig


def has_tokens(config: CollectionConfig) -> models.Filter:
    """Return a filter for the points that have token vectors."""
    return models.Filter(must=[models.HasVectorCondition(has_vector=config.token_vector)])


def has_encoding(config: CollectionConfig) -> models.Filter:
    """Return a filter for the points that have an encoding."""
    return models.Filter(must=[models.HasVectorCondition(has_vector=config.fde_vector)])


def lacks_encoding(config: CollectionConfig) -> models.Filter:
    """Return a filter for the points that have token vectors but no encoding."""
    return models.Filter(must=has_tokens(config).must, must_not=has_encoding(config).must)
