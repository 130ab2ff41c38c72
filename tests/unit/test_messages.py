"""Shows the errors that users meet, in full: what is wrong, where, and how to fix it."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pytest
from qdrant_client import QdrantClient, models

import colbert_qdrant
from tests.encoders import WordEncoder
from tests.faults.server import FaultyServer, failing, serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

cq: Any = colbert_qdrant  # `Any`, because mypy would find most of these mistakes

MUVERA: Final = cq.MuveraConfig(k_sim=2, dim_proj=4, r_reps=2)
CONFIG: Final = cq.CollectionConfig(fde=MUVERA, payload_indexes={"year": "integer"})
STORED: Final = [cq.Document(n, text, {"year": 2020 + n}) for n, text in enumerate(("river bridge", "ferry harbor"))]
ROWS: Final = np.full((2, 32), 0.5, np.float32)


class World:
    """Two collections of two documents, one embedded and one in local mode, and servers that fail on request."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self.stack, self.folder, self.encoder = stack, folder, WordEncoder()
        self.empty = folder / "empty"
        self.empty.mkdir()
        self.edge = cq.EdgeClient(folder / "store")
        self.local = QdrantClient(":memory:")
        stack.callback(self.edge.close)
        stack.callback(self.local.close)
        self.docs, self.local_docs = self.create(self.edge), self.create(self.local)
        for each in (self.docs, self.local_docs):
            each.upsert(STORED)
        plain = models.VectorParams(size=4, distance=models.Distance.DOT)
        self.edge.create_collection("plain", {"dense": plain})
        point = models.PointStruct(id=7, vector={"dense": [1.0] * 4}, payload={"body": "river"})
        self.edge.upsert("plain", [point])
        self.attached = cq.attach(self.edge, "plain", encoder=self.encoder)
        self.by = models.QueryRequest(query=[1.0] * 4, using="dense", limit=2)
        self.closed = self.open()
        self.closed.close()

    def create(self, client: Any, config: cq.CollectionConfig = CONFIG, name: str = "docs") -> Any:
        return cq.ColbertCollection.create(name, client=client, encoder=self.encoder, config=config)

    def open(self, name: str = "docs", **options: Any) -> Any:
        return cq.ColbertCollection.open(name, **{"client": self.edge, "encoder": self.encoder} | options)

    def on_server(self, **attributes: Any) -> Any:
        """A collection on a stub of a server, which has these attributes from now on."""
        server = self.stack.enter_context(serving(FaultyServer()))
        client = QdrantClient(host="127.0.0.1", port=server.port, check_compatibility=False, timeout=5)
        self.stack.callback(client.close)
        server.version, server.strict_mode = attributes.pop("version", "1.19.1"), attributes.pop("strict_mode", None)
        docs = cq.ColbertCollection.create(
            "docs",
            client=client,
            encoder=self.encoder,
            config=attributes.pop("config", CONFIG),
            retry=cq.RetryConfig(attempts=1, deadline=5),
        )
        vars(server).update(attributes)
        return docs


@dataclass(frozen=True)
class Case:
    """A call, and the error that it raises.

    Attributes:
        call: Makes the mistake.
        kind: The class of the error.
        text: The whole message; the folder of the store is written ``/folder``.
    """

    call: Callable[[World], Any]
    kind: type[colbert_qdrant.ColbertQdrantError]
    text: str


SETTINGS: Final[list[Case]] = [
    Case(lambda _: cq.MuveraConfig(k_sim=-1), cq.ConfigurationError, "k_sim must be between 0 and 12, got -1"),
    Case(
        lambda _: cq.MuveraConfig(partition="kmeans", fill_empty=True),
        cq.ConfigurationError,
        "fill_empty=True needs the SimHash bits of cells, which partition='kmeans' does not have: leave fill_empty out",
    ),
    Case(
        lambda _: cq.MuveraConfig(k_sim=10, dim_proj=128, r_reps=20),
        cq.ConfigurationError,
        "r_reps * 2**k_sim * dim_proj = 20 * 1024 * 128 = 2,621,440 dimensions, but a Qdrant vector has at "
        "most 65,536: lower one of the three, or set final_projection",
    ),
    Case(
        lambda _: cq.MuveraConfig(variant="fast"),
        cq.ConfigurationError,
        "variant='fast': use one of 'colbert-qdrant', 'fastembed'",
    ),
    Case(
        lambda _: cq.MuveraConfig.preset("large"),
        cq.ConfigurationError,
        "unknown preset 'large': use one of 'small', 'balanced', 'accurate'",
    ),
    Case(
        lambda _: cq.LemurConfig(dim=512, hidden=256),
        cq.ConfigurationError,
        "dim=512 is more than hidden=256, the number of features: raise hidden, or lower dim",
    ),
    Case(
        lambda _: cq.CollectionConfig(storage="ram"),
        cq.ConfigurationError,
        "storage='ram': use one of 'memory', 'balanced', 'disk'",
    ),
    Case(
        lambda _: cq.CollectionConfig(token_datatype="int4"),
        cq.ConfigurationError,
        "token_datatype='int4': use one of 'float32', 'float16', 'turbo8', 'turbo4'",
    ),
    Case(
        lambda _: cq.CollectionConfig(token_vector="fde"),
        cq.ConfigurationError,
        "two vectors have the name 'fde': use different names",
    ),
    Case(
        lambda _: cq.CollectionConfig(replication_factor=2, write_consistency_factor=3),
        cq.ConfigurationError,
        "write_consistency_factor=3 is more than replication_factor=2, so no write could be confirmed: lower "
        "it, or raise replication_factor",
    ),
    Case(
        lambda _: cq.CollectionConfig(sharding="custom", fde=cq.LemurConfig()),
        cq.ConfigurationError,
        "sharding='custom' separates documents, but a fitted encoding is computed from all documents: use "
        "MuveraConfig() with its defaults, or tenant_field",
    ),
    Case(
        lambda _: cq.CollectionConfig(payload_indexes={"year": "number"}),
        cq.ConfigurationError,
        "payload_indexes['year']='number': use one of 'keyword', 'integer', 'float', 'bool', 'datetime', "
        "'uuid', 'text', 'geo'",
    ),
    Case(
        lambda _: cq.CollectionConfig(tenant_field="year", payload_indexes={"year": "integer"}),
        cq.ConfigurationError,
        "tenant_field='year' is in payload_indexes as 'integer': use 'keyword' or 'uuid'",
    ),
    Case(
        lambda _: cq.CollectionConfig.from_dict({"colour": "blue"}),
        cq.ConfigurationError,
        "CollectionConfig does not know ['colour']: remove them, or upgrade colbert-qdrant if a newer version "
        "wrote them",
    ),
    Case(
        lambda _: cq.Bm25Config(language="klingon"),
        cq.ConfigurationError,
        "language='klingon': use one of 'arabic', 'azerbaijani', 'basque', 'bengali', 'catalan', 'chinese', "
        "'danish', 'dutch', 'english', 'finnish', 'french', 'german', 'greek', 'hebrew', 'hinglish', "
        "'hungarian', 'indonesian', 'italian', 'japanese', 'kazakh', 'nepali', 'norwegian', 'portuguese', "
        "'romanian', 'russian', 'slovene', 'spanish', 'swedish', 'tajik', 'turkish', 'thai'; for another "
        "language, provide your own sparse vectors of words instead of bm25: sparse={'words': "
        "SparseConfig(idf=True)}",
    ),
    Case(lambda _: cq.DenseConfig(dim=0), cq.ConfigurationError, "dim must be between 1 and 65536, got 0"),
    Case(
        lambda _: cq.HnswConfig(full_scan_threshold=1),
        cq.ConfigurationError,
        "full_scan_threshold must be at least 10, got 1",
    ),
    Case(lambda _: cq.RetryConfig(attempts=0), cq.ConfigurationError, "attempts must be at least 1, got 0"),
    Case(lambda _: cq.Rrf(k=0), cq.ConfigurationError, "k must be at least 1, got 0"),
]

COLLECTIONS: Final[list[Case]] = [
    Case(
        lambda _: cq.ColbertCollection("docs"),
        cq.ConfigurationError,
        "ColbertCollection(…) cannot be called directly: use ColbertCollection.open(name, client=…, "
        "encoder=…), create or open_or_create",
    ),
    Case(
        lambda world: cq.ColbertCollection.open("docs", client=None, encoder=world.encoder),
        cq.ConfigurationError,
        "client must be a qdrant_client.QdrantClient or AsyncQdrantClient, an EdgeClient or an "
        "AsyncEdgeClient, got NoneType: make one with connect(url), EdgeClient(path) or "
        "QdrantClient(':memory:')",
    ),
    Case(
        lambda world: cq.ColbertCollection.open("docs", client=world.edge, encoder="colbert-ir/colbertv2.0"),
        cq.ConfigurationError,
        "encoder is the name 'colbert-ir/colbertv2.0', not an encoder: load it with "
        "ColbertEncoder.from_pretrained('colbert-ir/colbertv2.0')",
    ),
    Case(
        lambda world: world.open("dcos"),
        cq.CollectionNotFoundError,
        "collection 'dcos' does not exist (existing names: 'docs'): check the name, or create it with "
        "ColbertCollection.create",
    ),
    Case(
        lambda world: world.open("plain"),
        cq.SchemaMismatchError,
        "collection 'plain' is not laid out for late interaction (its dense vectors: 'dense'):\n"
        "  vector 'fde' is missing\n"
        "  vector 'colbert' is missing\n"
        "Rerank its documents with attach, move them to a new collection with Migration.plan, or create a "
        "collection with another name.",
    ),
    Case(
        lambda world: world.create(world.edge),
        cq.CollectionExistsError,
        "collection 'docs' already exists: use ColbertCollection.open, or drop it first",
    ),
    Case(
        lambda world: world.create(world.edge, cq.CollectionConfig(token_vector="a/b"), "new"),
        cq.ConfigurationError,
        "'a/b' cannot be the name of a vector because it contains '/': use letters, digits, - and _",
    ),
    Case(
        lambda world: world.create(world.edge, cq.CollectionConfig(text_key="my text"), "new"),
        cq.ConfigurationError,
        "text_key: 'my text' is not a single payload key: use letters, digits, - and _; only collections with "
        "id_scheme='native' accept paths",
    ),
    Case(
        lambda world: world.create(world.edge, cq.CollectionConfig(payload_indexes={"my key": "keyword"}), "new"),
        cq.ConfigurationError,
        "payload_indexes['my key']: 'my key' is not a valid payload path: write '\"my key\"', or in general "
        "'key', 'key.inner', 'list[0].key' or 'list[].key'. Put keys with other characters in double quotes, "
        "as in '\"a key\"'. Keys that contain double quotes or backslashes cannot be addressed",
    ),
    Case(
        lambda world: world.create(world.local, cq.CollectionConfig(replication_factor=2), "new"),
        cq.CapabilityError,
        "replication_factor=2 needs a Qdrant server, the client's local mode does not support it: leave it out",
    ),
    Case(
        lambda world: world.open(encoder=WordEncoder(salt="other")),
        cq.FingerprintMismatchError,
        "collection 'docs' was built with different settings:\n"
        "  encoder.name: built with 'words', opened with 'words other'\n"
        "  encoder.salt: built with '', opened with 'other'\n"
        "Open it with the encoder that it was built with, or encode its texts into a new collection with "
        "Migration.plan(client, name, encoder=…).",
    ),
    Case(
        lambda world: world.open(config=cq.CollectionConfig(fde=MUVERA, token_datatype="float32")),
        cq.FingerprintMismatchError,
        "collection 'docs' was built with different settings:\n"
        "  layout.token_datatype: built with 'float16', opened with 'float32'\n"
        "Open it without a config, to use the stored one, or move its documents to a new collection with "
        "Migration.plan(client, name, config=…).",
    ),
    Case(
        lambda world: world.open(shard_key="berlin"),
        cq.ConfigurationError,
        "collection 'docs' uses automatic sharding: omit shard_key='berlin', or create a collection with "
        "CollectionConfig(sharding='custom')",
    ),
    Case(
        lambda world: world.open(vector_encoders={"title": world.encoder}),
        cq.ConfigurationError,
        "vector_encoders has encoders for ['title'], but the collection has no such vectors: declare them in "
        "CollectionConfig(dense={…}, sparse={…}), or leave the encoders out",
    ),
    Case(
        lambda world: world.docs.fit(),
        cq.ConfigurationError,
        "the encoding of collection 'docs' needs no fit: create a collection with "
        "CollectionConfig(fde=LemurConfig()) for a learned encoding",
    ),
    Case(
        lambda world: world.local_docs.delete(),
        cq.ConfigurationError,
        "delete got neither ids nor a filter: pass either ids=…, or where=… and filter=…",
    ),
    Case(
        lambda world: world.docs.delete(filter=models.Filter(must=[])),
        cq.ConfigurationError,
        "filter has no condition, so delete would delete every document: add a condition, or recreate the "
        "collection with drop() and create()",
    ),
    Case(
        lambda world: world.docs.get(b"a"),
        cq.InvalidDocumentError,
        "id b'a' has type bytes: use a string, an integer or a uuid.UUID",
    ),
    Case(
        lambda world: world.docs.wait_until_ready(timeout=-1),
        cq.ConfigurationError,
        "timeout must be a number of at least 0, got -1",
    ),
    Case(lambda world: world.closed.search("river"), cq.ClosedError, "collection 'docs' is closed: open it again"),
]

UPSERTS: Final[list[Case]] = [
    Case(
        lambda world: world.docs.upsert(cq.Document("a", "river")),
        cq.ConfigurationError,
        "documents must be a list or another iterable of Documents, got one Document: pass [Document(id=…, text=…)]",
    ),
    Case(
        lambda world: world.docs.upsert(["river"]),
        cq.InvalidDocumentError,
        "expected a colbert_qdrant.Document, got str: use Document(id=…, text=…)",
    ),
    Case(
        lambda world: world.local_docs.upsert([cq.Document("a", "")]),
        cq.InvalidDocumentError,
        "document 'a' has no text: leave it out, or pass tokens=…",
    ),
    Case(
        lambda world: world.docs.upsert([cq.Document("a", "river", None)]),
        cq.InvalidDocumentError,
        "document 'a': payload has type NoneType: pass a dict, or leave it out",
    ),
    Case(
        lambda world: world.docs.upsert([cq.Document(1.5, "river")]),
        cq.InvalidDocumentError,
        "id 1.5 has type float: use a string, an integer or a uuid.UUID",
    ),
    Case(
        lambda world: world.docs.upsert([cq.Document(2**64, "river")]),
        cq.InvalidDocumentError,
        "id 18446744073709551616 does not fit into 64 bits: convert it to a string",
    ),
    Case(
        lambda world: world.docs.upsert([cq.Document("a", "river", {"text": "ferry"})]),
        cq.InvalidDocumentError,
        "document 'a': colbert-qdrant uses the payload keys ['text'] itself: rename them, or choose other "
        "names with CollectionConfig(text_key=…, id_key=…)",
    ),
    Case(
        lambda world: world.docs.upsert([cq.Document("a", "river", {"tags": [{"size": float("inf")}]})]),
        cq.InvalidDocumentError,
        "document 'a': payload key 'tags[0].size' is inf, which JSON cannot represent: use None, a finite "
        "number or a string",
    ),
    Case(
        lambda world: world.docs.upsert([cq.Document("a", "river", {"size": 2**64})]),
        cq.InvalidDocumentError,
        "document 'a': payload key 'size' is 18446744073709551616, which does not fit into 64 bits, so that "
        "engines would round or refuse it: store it as a string",
    ),
    Case(
        lambda world: world.docs.upsert([cq.Document("a", "river", {"year": 2020.5})]),
        cq.InvalidDocumentError,
        "document 'a': payload key 'year' is 2020.5, which its index of type 'integer' would not find, since "
        "it is not a 64-bit integer: use payload_indexes={'year': 'float'}, or an integer",
    ),
    Case(
        lambda world: world.docs.upsert([cq.Document("a", "river", {1: "b"})]),
        cq.InvalidDocumentError,
        "document 'a': payload key 1 has type int: use a string, such as '1'",
    ),
    Case(
        lambda world: world.docs.upsert([cq.Document("a", "river", {"a": {"b": [object]}})]),
        cq.InvalidDocumentError,
        "document 'a': the payload is not valid JSON: under payload key 'a.b[0]', <class 'object'> is a type, "
        "which JSON does not support: use strings, numbers, booleans, None, lists and dicts, dates, times, "
        "UUIDs and enums",
    ),
    Case(
        lambda world: world.docs.upsert([cq.Document("a", "river", {"name": "\ud800"})]),
        cq.InvalidDocumentError,
        "document 'a': text or payload is not valid JSON, since payload key 'name': '\\ud800' is not valid "
        "Unicode (surrogates not allowed): fix it, for example with .encode(errors='replace').decode()",
    ),
    Case(
        lambda world: world.docs.upsert([cq.Document("a", "river", vectors={"image": [1.0]})]),
        cq.InvalidDocumentError,
        "document 'a' brings a vector 'image', but the collection takes no further vectors: remove it",
    ),
    Case(
        lambda world: world.docs.ingest(STORED, on_error="ignore"),
        cq.ConfigurationError,
        "on_error='ignore': use one of 'raise', 'skip', 'reject'",
    ),
    Case(
        lambda world: world.docs.ingest(STORED, progress="yes"),
        cq.ConfigurationError,
        "progress must be True, False or an object with start, advance and stop, got str",
    ),
    Case(
        lambda _: cq.TokenEmbeddings.from_matrices([ROWS[0]]),
        cq.InvalidTokensError,
        "text 0: token embeddings must be a matrix (n_tokens, dim), got shape (32,)",
    ),
    Case(
        lambda _: cq.TokenEmbeddings.from_matrices([]),
        cq.InvalidTokensError,
        "matrices is empty: pass dim=… to make an empty batch",
    ),
    Case(
        lambda _: cq.TokenEmbeddings(ROWS, [3]),
        cq.InvalidTokensError,
        "lengths add up to 3 tokens, but there are 2 rows: pass the number of tokens of each text",
    ),
    Case(
        lambda _: cq.TokenEmbeddings(ROWS * np.nan, [2]),
        cq.InvalidTokensError,
        "text 0 has NaN or infinite values (row 0 of the batch): check the model that made them, and its dtype",
    ),
]

SEARCHES: Final[list[Case]] = [
    Case(
        lambda world: world.local_docs.search(""), cq.InvalidQueryError, "query 0 is '': pass a text that is not empty"
    ),
    Case(
        lambda world: world.docs.search(["river"]),
        cq.InvalidQueryError,
        "query is list ['river']: pass one text, or the TokenEmbeddings of one query, or call search_batch with a list",
    ),
    Case(
        lambda world: world.docs.search(ROWS),
        cq.InvalidQueryError,
        "query is a matrix of type ndarray: pass TokenEmbeddings.from_matrices([matrix])",
    ),
    Case(lambda world: world.docs.search("river", limit=0), cq.ConfigurationError, "limit must be at least 1, got 0"),
    Case(
        lambda world: world.docs.search("river", mode="fast"),
        cq.ConfigurationError,
        "mode='fast': use one of two-stage, hybrid, fde, bm25, exact",
    ),
    Case(
        lambda world: world.docs.search("river", limit=50, candidates=10),
        cq.ConfigurationError,
        "candidates=10 is less than limit=50: raise candidates to at least limit",
    ),
    Case(
        lambda world: world.docs.search("river", limit=10, offset=95),
        cq.ConfigurationError,
        "offset=95 and limit=10 exceed the 100 candidates: raise candidates, to the same number for every page",
    ),
    Case(
        lambda world: world.docs.search("river", mode="hybrid"),
        cq.ConfigurationError,
        "mode='hybrid' needs a second vector besides 'fde', but the collection has no other: create one with "
        "CollectionConfig(bm25=Bm25Config()), dense=… or sparse=…, or use mode='two-stage'",
    ),
    Case(
        lambda world: world.docs.search("river", prefetch=["bm25"]),
        cq.ConfigurationError,
        "prefetch names the vector 'bm25', which the collection does not have: use 'fde'",
    ),
    Case(
        lambda world: world.docs.search("river", prefetch=[]),
        cq.ConfigurationError,
        "prefetch=[]: pass a list of vector names, or a dict of limits by vector name",
    ),
    Case(
        lambda world: world.docs.search("river", fusion="sum"),
        cq.ConfigurationError,
        "fusion='sum': use one of 'maxsim', 'blend', 'rrf', 'dbsf', Blend(…), Rrf(…) or a models.FormulaQuery",
    ),
    Case(
        lambda world: world.docs.search("river", mode="exact", prefetch=["fde"]),
        cq.ConfigurationError,
        "mode='exact' has no candidates to fuse: omit prefetch and fusion, or omit mode",
    ),
    Case(
        lambda world: world.docs.search("river", params={"hnsw_ef": 10}),
        cq.ConfigurationError,
        "params must be a models.SearchParams, got {'hnsw_ef': 10}",
    ),
    Case(
        lambda world: world.docs.search("river", vectors=[1.0]),
        cq.ConfigurationError,
        "vectors=[1.0]: pass a dict of vectors by name",
    ),
    Case(
        lambda world: world.docs.search_groups("river", "my key"),
        cq.ConfigurationError,
        "group_by: 'my key' is not a valid payload path: write '\"my key\"', or in general 'key', "
        "'key.inner', 'list[0].key' or 'list[].key'. Put keys with other characters in double quotes, as in "
        "'\"a key\"'. Keys that contain double quotes or backslashes cannot be addressed",
    ),
    Case(
        lambda world: world.docs.search_batch("river"),
        cq.InvalidQueryError,
        "search_batch takes a list of queries, got one string: call search",
    ),
    Case(
        lambda world: world.local_docs.more_like("missing"),
        cq.InvalidQueryError,
        "collection 'docs' has no document 'missing': pass the id of a stored document",
    ),
]

FILTERS: Final[list[Case]] = [
    Case(
        lambda world: world.docs.search("river", where=2020),
        cq.ConfigurationError,
        'where must be a dict like {"year": {"gte": 2020}}, got 2020: pass a models.Filter as filter=',
    ),
    Case(
        lambda world: world.local_docs.search("river", where={}),
        cq.ConfigurationError,
        "where is empty: omit it to match everything",
    ),
    Case(
        lambda world: world.docs.search("river", where={"year": {"gte": "new"}}),
        cq.ConfigurationError,
        "where: 'year' cannot be compared with 'new': use finite numbers (int, float), or dates and times in "
        "microseconds at most (date, datetime, '2024-06-01', '2024-06-01T12:00:00Z')",
    ),
    Case(
        lambda world: world.docs.search("river", where={"year": {"above": 2020}}),
        cq.ConfigurationError,
        "where: 'year' has the unknown operator 'above': use gt, gte, lt, lte, in, not_in, ne, exists, match, "
        "or pass the value to test for equality; write a key inside an object as 'year.name'",
    ),
    Case(
        lambda world: world.docs.search("river", where={"year": {"in": 2020}}),
        cq.ConfigurationError,
        "where: 'year' needs a non-empty list of values, got 2020",
    ),
    Case(
        lambda world: world.docs.search("river", where={"$xor": [{"year": 2020}]}),
        cq.ConfigurationError,
        "where: '$xor' is unknown (did you mean '$or'?): use one of $and, $or, $not",
    ),
    Case(
        lambda world: world.docs.search("river", where={"$or": []}),
        cq.ConfigurationError,
        "where: '$or' needs a non-empty list of filters, got []",
    ),
    Case(
        lambda world: world.docs.search("river", where={"my key": 1}),
        cq.ConfigurationError,
        "where: 'my key' is not a valid payload path: write '\"my key\"', or in general 'key', 'key.inner', "
        "'list[0].key' or 'list[].key'. Put keys with other characters in double quotes, as in '\"a key\"'. "
        "Keys that contain double quotes or backslashes cannot be addressed",
    ),
    Case(
        lambda world: world.docs.search("river", where={"year": {"gte": date(2024, 1, 1)}}),
        cq.ConfigurationError,
        "where: 'year' is compared with times, but its index is for numbers, and the engine would read a time "
        "as a number of microseconds: compare with numbers, or delete the index with "
        "client.delete_payload_index(name, 'year')",
    ),
    Case(
        lambda world: world.docs.search("river", filter={"year": 2020}),
        cq.ConfigurationError,
        "filter must be a models.Filter, got {'year': 2020}: pass a dict like {\"year\": 2020} as where=",
    ),
]

ENCODERS: Final[list[Case]] = [
    Case(
        lambda world: cq.ColbertEncoder.from_pretrained(world.empty),
        cq.CheckpointError,
        "/folder/empty has no config.json, or an empty one: pass a folder with config.json, weights and tokenizer",
    ),
    Case(
        lambda _: cq.ColbertEncoder("colbert-ir/colbertv2.0"),
        cq.ConfigurationError,
        "ColbertEncoder(…) takes a loaded checkpoint, got str: call "
        "ColbertEncoder.from_pretrained('colbert-ir/colbertv2.0')",
    ),
    Case(
        lambda _: cq.MuveraEncoder(cq.MuveraConfig(variant="fastembed", dim_proj=16), token_dim=8),
        cq.ConfigurationError,
        "dim_proj=16 exceeds the 8 dimensions of the token vectors, which FastEmbed refuses: set dim_proj to 8 or less",
    ),
    Case(
        lambda _: cq.MuveraEncoder(MUVERA, token_dim=32).encode_documents(
            cq.TokenEmbeddings.from_matrices([ROWS[:, :8]])
        ),
        cq.InvalidTokensError,
        "token vectors have 8 dimensions, but this encoding takes 32: pass the tokens of the model that the "
        "encoding was made for",
    ),
    Case(
        lambda _: cq.MuveraEncoder(cq.MuveraConfig(center=True), token_dim=32),
        cq.ConfigurationError,
        "center=True and partition='kmeans' need a fit to token embeddings: use MuveraEncoder.fit(documents, "
        "config=config), or a collection, which fits its encoder automatically",
    ),
    Case(
        lambda _: cq.LemurEncoder.load("missing.lemur"),
        cq.ArtefactError,
        "the fitted encoding cannot be read from 'missing.lemur' ([Errno 2] No such file or directory: "
        "'missing.lemur'): pass the path that was given to save()",
    ),
    Case(
        lambda _: cq.ColbertReranker("colbert-ir/colbertv2.0"),
        cq.ConfigurationError,
        "encoder is the name 'colbert-ir/colbertv2.0', not an encoder: load it with "
        "ColbertEncoder.from_pretrained('colbert-ir/colbertv2.0')",
    ),
    Case(
        lambda _: cq.Reranker(5, 5),
        cq.ConfigurationError,
        "retriever must be an object with search(query, limit=…) or a function, got int 5",
    ),
    Case(
        lambda _: cq.rank.rerank([["a"]], [ROWS, ROWS], [[ROWS]]),
        cq.ConfigurationError,
        "there are 2 queries, 1 lists of ids and 1 lists of documents: pass one list of each per query, even "
        "for a single query",
    ),
    Case(
        lambda _: cq.fde_report(
            "muvera", cq.TokenEmbeddings.from_matrices([ROWS]), cq.TokenEmbeddings.from_matrices([ROWS])
        ),
        cq.ConfigurationError,
        "fde must be a MuveraEncoder or a LemurEncoder, got str 'muvera'",
    ),
]

ATTACH: Final[list[Case]] = [
    Case(
        lambda world: world.attached.search("river", "dense"),
        cq.ConfigurationError,
        "by: got str: pass a models.QueryRequest, or a function that makes one from the query's text",
    ),
    Case(
        lambda world: world.attached.search("river", world.by, limit=5),
        cq.ConfigurationError,
        "the request's limit of 2 candidates is less than limit=5: raise the request's limit",
    ),
    Case(
        lambda world: world.attached.search("river", world.by, limit=2),
        cq.SchemaMismatchError,
        "none of the 1 candidates in collection 'plain' has a text under 'text'; the payload of point 7 has "
        "the keys 'body': pass the right key as text_key=…, or a function that returns the text as text=…",
    ),
    Case(
        lambda world: world.attached.search("river", models.QueryRequest(query=[1.0], using="image", limit=2), limit=2),
        cq.SchemaMismatchError,
        "the search that finds candidates in collection 'plain' uses vector 'image', which does not exist: "
        "pass using=…, one of 'dense'",
    ),
    Case(
        lambda world: cq.attach(world.edge, "plian", encoder=world.encoder).search("river", world.by, limit=2),
        cq.CollectionNotFoundError,
        "collection 'plian' does not exist (existing names: 'plain'): pass the name of an existing collection "
        "whose payloads have texts",
    ),
    Case(
        lambda world: cq.attach(world.edge, "plain", encoder=world.encoder, text=5),
        cq.ConfigurationError,
        "text is 5: pass a function that takes a payload and returns its text or None",
    ),
    Case(
        lambda world: cq.attach(world.edge, "plain", encoder=world.encoder, text_key="a..b"),
        cq.ConfigurationError,
        "text_key: 'a..b' is not a valid payload path: write 'key', 'key.inner', 'list[0].key' or "
        "'list[].key'. Put keys with other characters in double quotes, as in '\"a key\"'. Keys that contain "
        "double quotes or backslashes cannot be addressed",
    ),
]

MIGRATION: Final[list[Case]] = [
    Case(
        lambda world: cq.Migration.plan(world.edge, "plain"),
        cq.ConfigurationError,
        "collection 'plain' has no usable token vectors (its multivectors: []): pass encoder=… to encode its texts",
    ),
    Case(
        lambda world: cq.Migration.plan(world.edge, "missing", encoder=world.encoder),
        cq.CollectionNotFoundError,
        "collection 'missing' does not exist (existing names: 'docs', 'plain'): check its name, and check "
        "that client belongs to the source's engine",
    ),
    Case(
        lambda world: cq.Migration.plan(world.edge, "plain", "plain", encoder=world.encoder, text_key="body"),
        cq.ConfigurationError,
        "source and target are both collection 'plain': name another target, or use strategy='in_place'",
    ),
    Case(
        lambda world: cq.Migration.plan(
            world.edge, "plain", "new", encoder=world.encoder, text_key="body", token_vector="dense"
        ),
        cq.ConfigurationError,
        "token_vector='dense' is not a usable multivector (floats with distance Dot or Cosine) of collection "
        "'plain': leave it out, and pass encoder=… to encode the texts",
    ),
    Case(
        lambda world: cq.Migration.plan(world.edge, "docs", "new", encoder=world.encoder, text_key="body"),
        cq.ConfigurationError,
        "collection 'docs' was created by colbert-qdrant, and its settings name its texts and token vectors: "
        "leave text_key and token_vector out",
    ),
    Case(
        lambda world: cq.Migration.plan(world.edge, "plain", "new", encoder=world.encoder, strategy="fast"),
        cq.ConfigurationError,
        "unknown strategy 'fast': use 'blue_green' or 'in_place'",
    ),
    Case(
        lambda world: cq.Migration.resume(world.edge, "plain"),
        cq.MigrationError,
        "collection 'plain' is not the target of a migration: start one with Migration.plan",
    ),
]

CLIENTS: Final[list[Case]] = [
    Case(
        lambda _: cq.EdgeClient(":memory:"),
        cq.ConfigurationError,
        "path ':memory:' is not a folder, but Qdrant Edge stores its data in a folder: give the path of a "
        "folder, or use QdrantClient(':memory:') or AsyncQdrantClient(':memory:')",
    ),
    Case(
        lambda _: cq.EdgeClient("http://localhost:6333"),
        cq.ConfigurationError,
        "path 'http://...' is a URL, but Qdrant Edge stores its data in a folder: give the path of a folder, "
        "or use connect(url) or connect_async(url) for a server",
    ),
    Case(
        lambda _: cq.EdgeClient("~/store"),
        cq.ConfigurationError,
        "path '~/store' starts with ~, which only shells expand: expand it with Path(…).expanduser()",
    ),
    Case(
        lambda _: cq.EdgeClient("store", durability="never"),
        cq.ConfigurationError,
        "durability='never': use one of 'checkpoint', 'always'",
    ),
    Case(
        lambda _: cq.EdgeClient("a\nb"),
        cq.ConfigurationError,
        "path 'a\\nb' contains the control character '\\n': remove it; .strip() removes line breaks at the "
        "start and end",
    ),
    Case(
        lambda world: world.edge.get_collection("missing"),
        cq.CollectionNotFoundError,
        "collection 'missing' does not exist in /folder/store: compare the name with get_collections()",
    ),
    Case(
        lambda world: world.edge.create_collection("a/b", {}),
        cq.ConfigurationError,
        "'a/b' cannot be the name of a collection because it contains '/': use letters, digits, - and _, "
        "since the name becomes a file or folder",
    ),
    Case(
        lambda world: world.edge.create_collection("docs", {}),
        cq.CollectionExistsError,
        "collection 'docs' exists already in /folder/store: choose another name, or delete the collection first",
    ),
    Case(
        lambda _: cq.connect("localhost:6333"),
        cq.ConfigurationError,
        "url 'localhost:6333' does not start with https:// or http://: add one, or use EdgeClient(path) for a "
        "folder or QdrantClient(':memory:') for memory",
    ),
    Case(
        lambda _: cq.connect("http://user:password@localhost:6333"),
        cq.ConfigurationError,
        "url 'http://***@localhost:6333' contains a user name or password, which would appear in logs: pass "
        "the key as api_key_file, api_key_env or api_key",
    ),
    Case(
        lambda _: cq.connect("http://example.org:6333", api_key="secret"),
        cq.ConfigurationError,
        "http://example.org:6333 is not encrypted, so anyone on the network path could read the key: use "
        "https://, or pass allow_insecure=True if you trust the network",
    ),
    Case(
        lambda _: cq.connect("https://example.org:6333", api_key="a b"),
        cq.ConfigurationError,
        "api_key: the key has spaces, line breaks, control or non-ASCII characters, which cannot be sent in a "
        "header: check that it was copied completely, without quotes or comments",
    ),
    Case(
        lambda _: cq.connect("https://example.org:6333", api_key_env="MISSING_KEY"),
        cq.ConfigurationError,
        "environment variable MISSING_KEY is not set: set it to the key, or leave out api_key_env",
    ),
    Case(
        lambda _: cq.connect("https://example.org:6333", api_key_file="missing.key"),
        cq.ConfigurationError,
        "api_key_file 'missing.key' cannot be read ([Errno 2] No such file or directory: 'missing.key'): give "
        "the path of a readable file",
    ),
    Case(
        lambda _: cq.connect("https://example.org:6333", api_key="secret", api_key_env="KEY"),
        cq.ConfigurationError,
        "api_key and api_key_env are set, but only one key can be used: leave out all but one",
    ),
    Case(
        lambda _: cq.connect("https://example.org:6333", ca_file="missing.pem"),
        cq.ConfigurationError,
        "ca_file 'missing.pem' cannot be used ([Errno 2] No such file or directory): give a PEM file, with a "
        "private key without password",
    ),
]

SERVERS: Final[list[Case]] = [
    Case(
        lambda world: world.on_server(version="1.9.0"),
        cq.CapabilityError,
        "the Qdrant server is version 1.9, but multivectors need 1.10: upgrade the server",
    ),
    Case(
        lambda world: world.on_server(version="1.15.0", config=cq.CollectionConfig(fde=MUVERA, sharding="custom")),
        cq.CapabilityError,
        "sharding='custom' needs Qdrant 1.16 or newer, but this server is 1.15: upgrade the server, or use "
        "tenant_field",
    ),
    Case(
        lambda world: world.on_server(
            version="1.17.0", config=cq.CollectionConfig(fde=MUVERA, fde_quantization="turbo4")
        ),
        cq.CapabilityError,
        "fde_quantization='turbo4' needs Qdrant 1.18 or newer, but this server is 1.17: upgrade the server, "
        "or use 'int8'",
    ),
    Case(
        lambda world: world.on_server(failure=failing(401, "Unauthorized")).search("river"),
        cq.AuthenticationError,
        "search in collection 'docs' failed: the server does not permit the request (401: Unauthorized); give "
        "the client a key that permits it",
    ),
    Case(
        lambda world: world.on_server(script=[failing(403, "Forbidden: only read access")]).upsert(STORED),
        cq.AuthenticationError,
        "upsert in collection 'docs' failed: the server does not permit the request (403: Forbidden: only "
        "read access); give the client a key that permits it",
    ),
    Case(
        lambda world: world.on_server(failure=failing(429, "Rate limiting exceeded", retry_after="60")).search("river"),
        cq.RateLimitedError,
        "search in collection 'docs' failed: the server is overloaded (Rate limiting exceeded); send requests "
        "more slowly, or raise the server's limits",
    ),
    Case(
        lambda world: world.on_server(failure=failing(500, "Service internal error")).search("river"),
        cq.ServerError,
        "search in collection 'docs' failed: the server failed (500: Service internal error); check the server's log",
    ),
    Case(
        lambda world: world.on_server(script=[failing(500, "Service internal error")]).upsert(STORED),
        cq.ServerError,
        "upsert in collection 'docs' failed: the server failed (500: Service internal error); check the "
        "server's log. The server may still apply the write, or apply it on some replicas only: repeat it, "
        "which is safe",
    ),
    Case(
        lambda world: world.on_server(failure=failing(400, "Bad request: wrong vector size")).search("river"),
        cq.RequestRefusedError,
        "search in collection 'docs' failed: the server rejected the request (400: Bad request: wrong vector "
        "size); correct the part that the server's message names",
    ),
    Case(
        lambda world: world.on_server(failure=failing(413, "Payload too large")).search("river"),
        cq.RequestTooLargeError,
        "search in collection 'docs' failed: the request is larger than the server accepts (413: Payload too "
        "large); search with fewer tokens, vectors or conditions, raise the server's "
        "service.max_request_size_mb, or connect with prefer_grpc=True, which has no such limit",
    ),
    Case(
        lambda world: world.on_server(failure=failing(404, "Not found: Collection `docs` doesn't exist!")).search(
            "river"
        ),
        cq.CollectionNotFoundError,
        "search in collection 'docs' failed: it does not exist (404: Not found: Collection `docs` doesn't "
        "exist!); compare its name with client.get_collections()",
    ),
    Case(
        lambda world: world.on_server(strict_mode={"enabled": True, "max_query_limit": 50}).search(
            "river", limit=60, candidates=60
        ),
        cq.ConfigurationError,
        "limit=60 exceeds the limit of the server's strict mode (max_query_limit=50): ask for fewer, or lift "
        "it with client.update_collection(name, strict_mode_config=…)",
    ),
    Case(
        lambda world: world.on_server(strict_mode={"enabled": True, "search_allow_exact": False}).search(
            "river", mode="exact"
        ),
        cq.ConfigurationError,
        "the server's strict mode forbids exact searches (search_allow_exact=False): use mode='two-stage' on "
        "a fitted collection, or lift it with client.update_collection(name, strict_mode_config=…)",
    ),
    Case(
        lambda world: world.on_server(strict_mode={"enabled": True, "unindexed_filtering_retrieve": False}).search(
            "river", where={"lang": "en"}
        ),
        cq.ConfigurationError,
        "the server's strict mode allows filters only on indexed payload keys, and ['lang'] have no index: "
        "create one with client.create_payload_index(name, 'lang', …), or create the collection with "
        "CollectionConfig(payload_indexes={…})",
    ),
    Case(
        lambda world: world.on_server(strict_mode={"enabled": True, "filter_max_conditions": 1}).search(
            "river", where={"a": 1, "b": 2}
        ),
        cq.ConfigurationError,
        "the filter has 2 conditions, but the server's strict mode allows 1 (filter_max_conditions): use "
        "fewer, split the request, or lift it with client.update_collection(name, strict_mode_config=…)",
    ),
    Case(
        lambda world: world.on_server(
            strict_mode={"enabled": True, "multivector_config": {"colbert": {"max_vectors": 1}}}
        ).upsert(STORED),
        cq.InvalidDocumentError,
        "document 0 has 2 token vectors, but the server's strict mode allows 1 (multivector_config): shorten "
        "it, pool its vectors with the encoder's pool_factor, or lift it with client.update_collection(name, "
        "strict_mode_config=…)",
    ),
]

AREAS: Final[dict[str, list[Case]]] = {
    "settings": SETTINGS,
    "collections": COLLECTIONS,
    "upserts": UPSERTS,
    "searches": SEARCHES,
    "filters": FILTERS,
    "encoders": ENCODERS,
    "attach": ATTACH,
    "migration": MIGRATION,
    "clients": CLIENTS,
    "servers": SERVERS,
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with ExitStack() as stack:
        yield World(stack, tmp_path_factory.mktemp("world"))


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MISSING_KEY", raising=False)


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, id=f"{area} {n}") for area, cases in AREAS.items() for n, case in enumerate(cases)],
)
def test_an_error_has_this_text(world: World, case: Case) -> None:
    with pytest.raises(cq.ColbertQdrantError) as caught:
        case.call(world)
    assert str(caught.value).replace(str(world.folder), "/folder") == case.text
    assert type(caught.value) is case.kind
