"""Writes the documents of a collection to a file, from which it can be rebuilt without a model."""

from __future__ import annotations

import contextlib
import errno
import gzip
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol
from uuid import uuid4

import numpy as np

from colbert_qdrant._support import telemetry
from colbert_qdrant._support.progress import reporting, require_progress
from colbert_qdrant._support.values import plain
from colbert_qdrant.collection.iterating import document_pages
from colbert_qdrant.collection.metadata import count_documents, read_current
from colbert_qdrant.config.checks import require_bool
from colbert_qdrant.edge.files import sync_folder
from colbert_qdrant.errors import ConfigurationError, DiskFullError, SchemaMismatchError
from colbert_qdrant.points.ids import id_to_json
from colbert_qdrant.search.filters import combine_filters
from colbert_qdrant.shown import shown
from colbert_qdrant.sources.export_records import to_line, vector_to_json
from colbert_qdrant.sources.exported import KEY, Header
from colbert_qdrant.sources.paths import pyarrow

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import IO

    from qdrant_client import models

    from colbert_qdrant._support.progress import ProgressReporter
    from colbert_qdrant.collection.opened import OpenCollection
    from colbert_qdrant.documents import Document
    from colbert_qdrant.search.filters import Where

_SUFFIXES: Final = (".jsonl", ".jsonl.gz", ".parquet")


@dataclass(frozen=True, kw_only=True)
class ExportReport:
    """The outcome of an export.

    Attributes:
        documents: Number of documents in the file.
        tokens: Number of token vectors in the file.
        bytes: Size of the file.
        seconds: Wall time.
    """

    documents: int
    tokens: int
    bytes: int
    seconds: float


async def export(
    collection: OpenCollection,
    path: str | os.PathLike[str],
    *,
    where: Where | None,
    filter: models.Filter | None,
    with_tokens: bool,
    progress: bool | ProgressReporter,
) -> ExportReport:
    """Write documents to a file; see `ColbertCollection.export`."""
    started, compute = time.perf_counter(), collection.engine.runtime.compute
    target, chosen = _target(path), combine_filters(filter, where)
    require_bool("with_tokens", with_tokens)
    progress = plain(progress)
    require_progress(progress)
    await collection.notice()
    fingerprint = (await read_current(collection.engine, collection.name)).fingerprint
    if fingerprint is None:
        raise SchemaMismatchError(f"collection {collection.name!r} has no fingerprint: check it with check()")
    config = collection.config
    rounds = (await collection.engine.capabilities()).engine != "local"  # local mode stores float32
    datatype = "float16" if rounds and config.token_datatype == "float16" else "float32"
    header = Header(fingerprint=fingerprint, with_tokens=with_tokens, token_datatype=datatype)
    documents = tokens = 0
    total = await count_documents(collection.engine, collection.name, chosen) if progress is not False else None
    names = [*config.dense, *config.sparse]
    with (
        telemetry.operation("export"),
        reporting(progress, label="export", total=total) as report,
        _new_file(target) as stream,
        contextlib.closing(file_writer(target, stream, header)) as writer,
    ):
        async with contextlib.aclosing(
            document_pages(collection, where, chosen, vectors=names, with_tokens=with_tokens)
        ) as pages:
            async for page in pages:
                await compute(writer.write, page)
                documents += len(page)
                tokens += sum(0 if each.tokens is None else len(each.tokens) for each in page)
                report.advance(len(page))
    return ExportReport(
        documents=documents,
        tokens=tokens,
        bytes=target.stat().st_size,
        seconds=time.perf_counter() - started,
    )


def _target(path: object) -> Path:
    """Return the path of a new file.

    Raises:
        ConfigurationError: If it is not a path, has an unknown suffix, exists, or is in no folder.
    """
    try:
        target = Path(path)  # type: ignore[arg-type]
        known = target.name.lower().endswith(_SUFFIXES) and "\0" not in str(target)
    except Exception as error:
        raise ConfigurationError(f"path is {shown(path, 60)}: pass a string or a pathlib.Path") from error
    if not known:
        *others, last = _SUFFIXES
        raise ConfigurationError(
            f"path is {shown(str(target), 60)}: use a name that ends with {', '.join(others)} or {last}"
        )
    if target.name.lower().endswith(".parquet"):
        pyarrow("export writes Parquet files with pyarrow")
    if os.path.lexists(target):
        raise ConfigurationError(f"{str(target)!r} exists, and export replaces no file: choose another path")
    if not target.parent.is_dir():
        raise ConfigurationError(f"there is no folder {str(target.parent)!r}: create it, or choose another path")
    return target


@contextlib.contextmanager
def _new_file(target: Path) -> Iterator[IO[bytes]]:
    """Open a file that appears under its name when it is complete and on disk, and never otherwise.

    Raises:
        ConfigurationError: If the folder cannot be written, or another program created the file in the meantime.
        DiskFullError: If the disk is full.
    """
    part = target.with_name(f".{target.name}.{uuid4().hex}.part")
    try:
        with part.open("xb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        _publish(part, target)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise DiskFullError(f"the disk is full, so {str(target)!r} cannot be written: free some space") from error
        raise ConfigurationError(f"{str(target)!r} cannot be written ({error}): choose another path") from error
    finally:
        part.unlink(missing_ok=True)


def _publish(part: Path, target: Path) -> None:
    """Give a complete file its name, unless the name is taken."""
    try:
        os.link(part, target)
    except OSError as error:
        if os.path.lexists(target):
            raise ConfigurationError(
                f"{str(target)!r} was created in the meantime, and export replaces no file: choose another path"
            ) from error
        part.rename(target)  # a file system without links
    with contextlib.suppress(OSError):  # not every file system syncs folders
        sync_folder(target.parent)


class _Writer(Protocol):
    """Writes documents in one of the formats."""

    def write(self, documents: Sequence[Document]) -> None:
        """Append documents."""

    def close(self) -> None:
        """Write the end, but leave the file open."""


def file_writer(target: Path, stream: IO[bytes], header: Header) -> _Writer:
    """Return the writer for the format of a file's name."""
    if target.name.lower().endswith(".parquet"):
        return _ParquetWriter(stream, header)
    return _LineWriter(stream, header, compressed=target.name.lower().endswith(".gz"))


class _LineWriter:
    def __init__(self, stream: IO[bytes], header: Header, *, compressed: bool) -> None:
        self._datatype = header.token_datatype
        self._compressed = gzip.GzipFile(filename="", mode="wb", fileobj=stream, mtime=0) if compressed else None
        self._stream: Any = self._compressed or stream
        self._stream.write(f'{{"{KEY}":{header.to_json()}}}\n'.encode())

    def write(self, documents: Sequence[Document]) -> None:
        for document in documents:
            self._stream.write(to_line(document, self._datatype))

    def close(self) -> None:
        if self._compressed is not None:
            self._compressed.close()


class _ParquetWriter:
    def __init__(self, stream: IO[bytes], header: Header) -> None:
        import pyarrow as pa  # noqa: PLC0415 - an extra
        import pyarrow.parquet as pq  # noqa: PLC0415 - an extra

        self._pa, self._header = pa, header
        number = pa.float16() if header.token_datatype == "float16" else pa.float32()
        fields = [(name, pa.string()) for name in ("id", "text", "payload", "vectors")]
        if header.with_tokens:
            self._rows = pa.list_(number, header.fingerprint.token_dim)
            fields.append(("tokens", pa.list_(self._rows)))
        self._schema = pa.schema(fields, metadata={KEY: header.to_json()})
        self._writer = pq.ParquetWriter(pa.PythonFile(stream, mode="w"), self._schema, compression="zstd")

    def write(self, documents: Sequence[Document]) -> None:
        if not documents:
            return
        columns: list[Any] = [
            [_dump(id_to_json(each.id)) for each in documents],
            [each.text for each in documents],
            [_dump(each.payload) for each in documents],
            [_dump({name: vector_to_json(value) for name, value in each.vectors.items()}) for each in documents],
        ]
        arrays = [self._pa.array(column, self._pa.string()) for column in columns]
        if self._header.with_tokens:
            arrays.append(self._tokens(documents))
        self._writer.write_batch(self._pa.record_batch(arrays, schema=self._schema))

    def close(self) -> None:
        self._writer.close()

    def _tokens(self, documents: Sequence[Document]) -> Any:
        """Return the token matrices of documents as one column, with null for a document without tokens."""
        dim, datatype = self._header.fingerprint.token_dim, self._header.token_datatype
        matrices = [np.empty((0, dim)) if each.tokens is None else each.tokens for each in documents]
        numbers = np.concatenate(matrices).astype(datatype).ravel()
        rows = self._pa.FixedSizeListArray.from_arrays(self._pa.array(numbers), type=self._rows)
        ends = np.cumsum([0, *map(len, matrices)]).astype(np.int32)
        lacking = self._pa.array([each.tokens is None for each in documents])
        return self._pa.ListArray.from_arrays(self._pa.array(ends), rows, mask=lacking)


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
