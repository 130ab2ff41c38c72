"""Defines the files that `export` writes, and reads them as documents.

A file is JSON lines or Parquet. Both have the same fields for each document:

- ``id``: a string, an integer, or ``{"uuid": …}``.
- ``text``: the text, or an empty string.
- ``payload``: an object, without this library's own keys.
- ``tokens``: the token matrix, or null.
- ``vectors``: an object with the further vectors by name. A sparse vector has ``indices`` and ``values``.

In JSON lines, the first line is a header, and a matrix is ``{"shape", "dtype", "data"}`` with its little-endian
numbers in base64. In Parquet, the header is in the schema's metadata, ``tokens`` is a list of lists, and all other
fields except ``text`` are JSON.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from colbert_qdrant.config import CollectionConfig
from colbert_qdrant.encoders.ready import ReadyTokens
from colbert_qdrant.errors import ConfigurationError, FingerprintMismatchError, SchemaMismatchError
from colbert_qdrant.points.fingerprint import Fingerprint
from colbert_qdrant.shown import holds, shown
from colbert_qdrant.sources.export_records import DATATYPES, from_columns, from_line
from colbert_qdrant.sources.item import Origin, SourceRow
from colbert_qdrant.sources.paths import DAMAGE, find_files, open_file, pyarrow, unreadable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from colbert_qdrant.documents import Document
    from colbert_qdrant.sources.paths import File
    from colbert_qdrant.sources.shard import Shard

KEY: Final = "colbert_qdrant_export"
"""The only key of the header line, and the key of the header in the metadata of a Parquet schema."""

FORMAT: Final = 1
_HEADER_BYTES: Final = 2**20
_BATCH_ROWS: Final = 64


@dataclass(frozen=True, kw_only=True)
class Header:
    """The description of the collection that an export came from.

    Attributes:
        fingerprint: The collection's fingerprint.
        with_tokens: Whether the documents have their token vectors.
        token_datatype: The type of the numbers in them.
    """

    fingerprint: Fingerprint
    with_tokens: bool
    token_datatype: str

    def to_json(self) -> str:
        """Return the header as JSON."""
        return json.dumps(
            {
                "format": FORMAT,
                "fingerprint": self.fingerprint.to_dict(),
                "with_tokens": self.with_tokens,
                "token_datatype": self.token_datatype,
            }
        )

    @classmethod
    def from_json(cls, data: Any, path: Path) -> Header:
        """Read the output of `to_json`.

        Raises:
            SchemaMismatchError: If another version wrote it, or it is damaged.
        """
        if not isinstance(data, dict) or data.get("format") != FORMAT:
            raise SchemaMismatchError(
                f"{str(path)!r} is an export of another version of colbert-qdrant: upgrade it, or export again"
            )
        try:
            datatype = data["token_datatype"]
            if datatype not in DATATYPES or not isinstance(data["with_tokens"], bool):
                raise ValueError(datatype)  # noqa: TRY301
            return cls(
                fingerprint=Fingerprint.from_dict(data["fingerprint"]),
                with_tokens=data["with_tokens"],
                token_datatype=datatype,
            )
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise SchemaMismatchError(f"the header of the export {str(path)!r} is damaged: export again") from error


@dataclass(frozen=True, kw_only=True)
class ExportInfo:
    """The collection that an export came from.

    Attributes:
        config: Its settings.
        encoder: A description of the model that made its token vectors: pass it to `create` in place of the model.
        with_tokens: Whether the documents have their token vectors.
    """

    config: CollectionConfig
    encoder: ReadyTokens
    with_tokens: bool


def export_info(path: str | PathLike[str]) -> ExportInfo:
    """Read the settings of the collection that a file was exported from; see `ColbertCollection.export`.

    Args:
        path: The exported file.

    Raises:
        ConfigurationError: If there is no such file, or it is no export.
        SchemaMismatchError: If another version wrote the export.
        MissingExtraError: If pyarrow is needed and not installed.
    """
    if not holds(lambda: Path(path).exists()):
        raise ConfigurationError(f"there is no file {shown(path)}: pass the path of a file that export() wrote")
    file, *others = find_files(path)
    if file.kind == "parquet":
        pyarrow(f"{file.path.name} is a Parquet file, which pyarrow reads")
    header = None if others else read_header(file)
    if header is None:
        raise ConfigurationError(f"{shown(str(path))} is no export: pass a file that export() wrote")
    fingerprint = header.fingerprint
    return ExportInfo(
        config=fingerprint.config,
        encoder=ReadyTokens(dim=fingerprint.token_dim, model=fingerprint.encoder or None),
        with_tokens=header.with_tokens,
    )


def read_header(file: File) -> Header | None:
    """Return the header of an export; ``None`` for any other file, also for one that cannot be read.

    Raises:
        SchemaMismatchError: If another version wrote the export.
    """
    found = None
    try:
        if file.kind == "parquet":
            found = (_open_parquet(file).schema_arrow.metadata or {}).get(KEY.encode())
            found = None if found is None else json.loads(found)
        elif file.kind == "jsonl":
            with open_file(file.path) as stream:
                line = stream.readline(_HEADER_BYTES)
            found = json.loads(line).get(KEY) if KEY.encode() in line else None
    except Exception:  # noqa: BLE001 - the reader of the rows reports the damage
        return None
    return None if found is None else Header.from_json(found, file.path)


def exported_rows(file: File, shard: Shard) -> Iterator[SourceRow]:
    """Yield a row with a `Document` for each document of an export; a damaged document becomes a row with a problem."""
    return _parquet_rows(file, shard) if file.kind == "parquet" else _json_rows(file, shard)


def _json_rows(file: File, shard: Shard) -> Iterator[SourceRow]:
    origin, number = Origin(str(file.path), "line"), 0
    try:
        with open_file(file.path) as stream:
            header = stream.readline()
            for number, line in enumerate(stream, 2):
                if line != header and not line.isspace() and shard.takes():  # joined files repeat it
                    yield _row(partial(from_line, line), origin, number)
    except DAMAGE as error:
        yield SourceRow(None, origin, 0, unreadable(error, f"after line {number}"))


def _parquet_rows(file: File, shard: Shard) -> Iterator[SourceRow]:
    damage = (*DAMAGE, pyarrow(f"{file.path.name} is a Parquet file, which pyarrow reads").ArrowException)
    origin, read = Origin(str(file.path)), 0
    try:
        with _open_parquet(file) as parquet:
            for batch in parquet.iter_batches(_BATCH_ROWS):
                columns = {name: batch.column(name) for name in batch.schema.names}
                for position in shard.among(batch.num_rows):
                    yield _row(partial(from_columns, columns, position), origin, read + position + 1)
                read += batch.num_rows
    except damage as error:
        yield SourceRow(None, origin, 0, unreadable(error, f"after row {read}"))


def _row(make: Callable[[], Document], origin: Origin, number: int) -> SourceRow:
    try:
        return SourceRow(make(), origin, number)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        problem = f"the exported document is damaged ({type(error).__name__}: {error}): export again, or delete it"
        return SourceRow(None, origin, number, problem)


def _open_parquet(file: File) -> Any:
    import pyarrow.parquet as pq  # noqa: PLC0415 - an extra

    return pq.ParquetFile(str(file.path), memory_map=False, pre_buffer=False)


@dataclass(frozen=True, kw_only=True)
class Export:
    """A file that `export` wrote, and its header."""

    path: Path
    header: Header

    def require_same_tokens(self, stored: Fingerprint, *, collection: str) -> None:
        """Check that the token vectors fit into a collection.

        Raises:
            FingerprintMismatchError: If another encoder made them.
        """
        own = self.header.fingerprint
        if not self.header.with_tokens:
            return
        found = own.differences(stored) if own.encoder and stored.encoder else {}
        different = {name: pair for name, pair in found.items() if name.startswith("encoder")}
        if own.token_dim != stored.token_dim:
            different["token_dim"] = (own.token_dim, stored.token_dim)
        if different:
            lines = [f"\n  {name}: {one!r} in the export, {here!r} here" for name, (one, here) in different.items()]
            raise FingerprintMismatchError(
                f"the export {str(self.path)!r} has token vectors of another encoder than collection {collection!r}: "
                "ingest it into a collection with the same encoder, or export it with with_tokens=False:"
                + "".join(lines),
                different,
            )


def exports_among(files: Sequence[File]) -> tuple[Export, ...]:
    """Return the exports among files; see `read_header`."""
    found = [(file, read_header(file)) for file in files if file.kind in ("jsonl", "parquet")]
    return tuple(Export(path=file.path, header=header) for file, header in found if header is not None)
