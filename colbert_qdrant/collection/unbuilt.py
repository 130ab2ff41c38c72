"""Logs that a search of an embedded store reads every encoding, because the graph is not built."""

from __future__ import annotations

import logging
import time
from math import inf
from typing import TYPE_CHECKING, Final

from qdrant_client import models

if TYPE_CHECKING:
    from colbert_qdrant.engines import Engine

_LOG: Final = logging.getLogger(__name__)

_SECONDS: Final = 2.0
"""The interval at which searches look at the status. Writes change it, also those of other processes."""


class UnbuiltGraph:
    """Looks at the status of an embedded store's collection, until a log record says that the graph is missing.

    Args:
        name: The collection's name.
        engine: Its engine.
    """

    def __init__(self, name: str, engine: Engine) -> None:
        self._name = name
        self._engine = engine
        self._asked = -inf
        self._done = False

    async def tell(self) -> None:
        """Write the log record if the collection is large enough for a graph that is not built."""
        now = time.monotonic()
        if self._done or now - self._asked < _SECONDS:
            return
        self._asked = now
        if (await self._engine.capabilities()).engine != "edge":
            self._done = True
            return
        info = await self._engine.get_collection(self._name)
        if info.status == models.CollectionStatus.GREY:
            self._done = True
            _LOG.warning(
                "collection %r: the graph of %s documents is not built, so searches read every encoding: call "
                "optimize(). This record appears once.",
                self._name,
                f"{info.points_count or 0:,}",
            )
