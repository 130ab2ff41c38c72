"""Opens a collection in any process, from functions that can be pickled."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Literal, TypeAlias, cast, get_args
from uuid import uuid4

from colbert_qdrant.collection.sync import ColbertCollection
from colbert_qdrant.config import CollectionConfig, RetryConfig
from colbert_qdrant.config.checks import require_one_of
from colbert_qdrant.config.names import require_stored_name
from colbert_qdrant.encoders import LateInteractionEncoder, VectorEncoder
from colbert_qdrant.engines import Client, blocking_engine
from colbert_qdrant.engines.runtime import run_blocking
from colbert_qdrant.errors import ConfigurationError
from colbert_qdrant.shown import has

Mode: TypeAlias = Literal["create", "open", "open_or_create"]
"""The method of `ColbertCollection` that the driver calls."""

_KEYS: Final = ("api_key", "token")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Opening:
    """The arguments of `ColbertCollection.create` and `open`, with functions instead of clients and encoders.

    Attributes:
        key: Identifies these settings in all processes.

    Raises:
        ConfigurationError: If a value is of a wrong type, or has a key that would travel with the tasks.
    """

    name: str
    make_client: Callable[[], Client]
    make_encoder: Callable[[], LateInteractionEncoder]
    make_vector_encoders: Callable[[], Mapping[str, VectorEncoder]]
    mode: Mode
    config: CollectionConfig | None
    retry: RetryConfig | None
    shard_key: str | int | None
    key: str = field(default_factory=lambda: uuid4().hex)

    def __post_init__(self) -> None:
        require_stored_name(self.name)
        require_one_of("mode", self.mode, get_args(Mode))
        for name in ("make_client", "make_encoder", "make_vector_encoders"):
            require_function(name, getattr(self, name))

    def load(self, *, encoder: bool = True) -> Models:
        """Load the models; only those of further vectors if ``encoder`` is False."""
        return Models(encoder=self.make_encoder() if encoder else None, vector_encoders=self.make_vector_encoders())

    def open(self, models: Models, *, mode: Mode, config: CollectionConfig | None = None) -> Opened:
        """Create or open the collection.

        Raises:
            CapabilityError: If the client is not that of a server.
            ColbertQdrantError: If the collection cannot be created or opened; see `ColbertCollection.open`.
        """
        makers: Mapping[str, Callable[..., ColbertCollection]] = {
            "create": ColbertCollection.create,
            "open": ColbertCollection.open,
            "open_or_create": ColbertCollection.open_or_create,
        }
        client = self.make_client()
        try:
            # a feature that all servers have, and no other engine
            run_blocking(blocking_engine(client).capabilities()).require(
                "sharding",
                what="a dataset of Ray, which several processes write,",
                remedy="use ingest, or let make_client return connect(url)",
            )
            collection = makers[mode](
                self.name,
                client=client,
                encoder=cast("LateInteractionEncoder", models.encoder),  # only `open` gets none
                config=config,
                retry=self.retry,
                shard_key=self.shard_key,
                vector_encoders=models.vector_encoders,
            )
        except BaseException:
            client.close()
            raise
        return Opened(models=models, client=client, collection=collection)


@dataclass(frozen=True, kw_only=True, eq=False)
class Models:
    """The encoders of one process."""

    encoder: LateInteractionEncoder | None
    vector_encoders: Mapping[str, VectorEncoder]


@dataclass(frozen=True, kw_only=True, eq=False)
class Opened:
    """A collection that is open in this process, with its own client."""

    models: Models
    client: Client
    collection: ColbertCollection

    def close(self) -> None:
        """Close the collection and its client."""
        self.collection.close()
        self.client.close()


@dataclass(eq=False)
class _Worker:
    """This process, which runs one task at a time, and may have no memory for a second model.

    Attributes:
        key: The settings that the models were loaded for.
        run: The write that the collection was opened for; in another one, the name may refer to another collection.
    """

    key: str = ""
    models: Models | None = None
    run: str = ""
    opened: Opened | None = None

    def open(self, opening: Opening, run: str, *, encoder: bool) -> ColbertCollection:
        if self.models is None or self.key != opening.key:
            self.close()
            self.models = None  # before the next ones are loaded
            self.key, self.models = opening.key, opening.load(encoder=encoder)
        if self.opened is None or self.run != run:
            self.close()
            self.run, self.opened = run, opening.open(self.models, mode="open")
        return self.opened.collection

    def close(self) -> None:
        opened, self.opened = self.opened, None
        if opened is not None:
            opened.close()


_worker: Final = _Worker()


def open_in_worker(opening: Opening, run: str, *, encoder: bool) -> ColbertCollection:
    """Return the collection, which is opened once in each process and write; models are loaded once in each process."""
    return _worker.open(opening, run, encoder=encoder)


def require_function(name: str, value: object) -> None:
    """Check that a value is a function without arguments, and no client or encoder, and that it holds no key.

    Raises:
        ConfigurationError: If the value is something else, or has a key.
    """
    if not callable(value) or (has(value, "encode_documents") and not isinstance(value, type)):
        example = "lambda: connect(url)" if name == "make_client" else "lambda: ColbertEncoder.from_pretrained(path)"
        raise ConfigurationError(
            f"{name} must be a function without arguments, which every process calls, got {type(value).__name__}: pass "
            f"{example}"
        )
    for key in _keys_in(value):
        raise ConfigurationError(
            f"{name} has {key}=…, which would travel with every task: pass api_key_env or api_key_file, or read the "
            "key in a function of your own"
        )


def _keys_in(function: object) -> Iterator[str]:
    if isinstance(function, partial):
        yield from (key for key in _KEYS if isinstance(function.keywords.get(key), str))
        yield from _keys_in(function.func)
