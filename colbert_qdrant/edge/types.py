"""Names the types of arguments that several methods of clients take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from qdrant_client import models
from qdrant_client.conversions.common_types import PointId

Selector: TypeAlias = Sequence[PointId] | models.Filter | models.FilterSelector | models.PointIdsList
WithVectors: TypeAlias = bool | Sequence[str]
AnyQuery: TypeAlias = models.QueryInterface | np.ndarray[Any, Any]
