"""The engines that are to find the same."""

from __future__ import annotations

import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from hypothesis import HealthCheck, Phase, settings
from qdrant_client import models

from colbert_qdrant import ColbertCollection, CollectionConfig, EdgeClient, MuveraConfig
from tests.congruence.dressed import dressed
from tests.encoders import WordEncoder
from tests.servers import ServerKind, is_server

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from colbert_qdrant import Document, LateInteractionEncoder
    from colbert_qdrant.engines import Client

Kind = Literal["edge", "edge with graphs", "memory"] | ServerKind

CONFIG: Final = CollectionConfig(fde=MuveraConfig(k_sim=3, dim_proj=4, r_reps=8))
"""Small collections are scanned, graph or not: what a graph finds with a filter is approximate by design."""
ENCODER: Final = WordEncoder(dim=4)
LARGE: Final = 1_000
"""A limit that no collection of these tests reaches."""


def examples(number: int) -> settings:
    """The same examples in every run, and for every engine. A failing one is not made smaller: that takes minutes."""
    return settings(
        max_examples=number,
        derandomize=True,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=[HealthCheck.too_slow],
    )


class GraphEdge(EdgeClient):
    """Builds a graph over the first kilobyte of vectors already, which `EdgeClient` does over ten thousand."""

    def create_collection(self, collection_name: str, *arguments: Any, **settings: Any) -> bool:
        settings["optimizers_config"] = models.OptimizersConfigDiff(default_segment_number=1, indexing_threshold=1)
        return super().create_collection(collection_name, *arguments, **settings)


@dataclass(frozen=True)
class Engine:
    """One kind of engine, and a client of it."""

    kind: Kind
    client: Client

    @property
    def null_in_lists(self) -> bool:
        """Whether a list with a null in it is null: `null_in_a_list`."""
        return not is_server(self.kind)

    @contextmanager
    def collection(
        self,
        documents: Iterable[Document] = (),
        *,
        encoder: LateInteractionEncoder = ENCODER,
        config: CollectionConfig = CONFIG,
    ) -> Iterator[ColbertCollection]:
        """A collection of these documents, `dressed`, with a graph if the engine is one with graphs.

        It is dropped at the end.
        """
        name = f"congruence-{uuid.uuid4().hex[:12]}"
        docs = ColbertCollection.create(name, client=self.client, encoder=encoder, config=config)
        try:
            docs.upsert(dressed(documents))
            if self.kind == "edge with graphs":
                docs.optimize()
            yield docs
        finally:
            docs.drop()
