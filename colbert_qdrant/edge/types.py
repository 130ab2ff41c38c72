"""Defines the argument types that several methods of clients share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from qdrant_client import models
from qdrant_client.conversions.common_types import PointId

Selector: TypeAlias = Sequence[PointId] | models.Filter | models.FilterSelector | models.PointIdsList
"""The points that an operation applies to: their ids, or a filter."""

WithVectors: TypeAlias = bool | Sequence[str]
"""Whether to return all vectors, or the names of the vectors to return."""

AnyQuery: TypeAlias = models.QueryInterface | np.ndarray[Any, Any]
"""Every query of `QdrantClient.query_points`: a vector, a point's id, a fusion, a formula and others."""
