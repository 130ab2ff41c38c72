"""Records the encoder and settings that a collection was built with, and compares them when it is opened."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np

from colbert_qdrant.config import CollectionConfig
from colbert_qdrant.encoders.ready import NAMED, name_of
from colbert_qdrant.errors import ConfigurationError, FingerprintMismatchError, SchemaMismatchError
from colbert_qdrant.points.json import to_json
from colbert_qdrant.tokens import TokenEmbeddings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from colbert_qdrant.encoders import LateInteractionEncoder

FORMAT: Final = 1
_UNFITTED: Final = "unfitted"
_CANARY_NUMBERS: Final = 32
_MAX_REPR: Final = 300
_DIGEST_LENGTH: Final = 64
_OF_STORAGE: Final = (
    "hnsw",
    "storage",
    "fde_quantization",
    "segments",
    "shard_number",
    "replication_factor",
    "write_consistency_factor",
)
"""The settings of storage and search, which change no vector."""
_CANARY_LENGTHS: Final = (3, 5)
_CANARY_TOLERANCE: Final = 1e-3
"""A relative tolerance.

Matrix products differ between machines by about 1e-6. Another hyperplane or projection changes every number.
"""

NEVER_MIGRATED: Final = ("id_scheme", "id_key", "text_key", "fde_vector", "token_vector", "token_distance")
"""The settings that a migration never changes in a collection of this library."""


@dataclass(frozen=True, kw_only=True)
class Fingerprint:
    """The encoder and the settings that determine a collection's points.

    Attributes:
        encoder: The encoder's own fingerprint, or the name of the model (see `ReadyTokens`). It is empty if another
            application wrote the token vectors and no encoder was named. The collection then accepts any encoder with
            the same token dimensions.
        fde: Settings, version and token dimensions of the fixed dimensional encoding.
        layout: The collection's other settings: names of vectors and payload keys, storage, graph.
        id_scheme: The scheme that turns ids into point ids. ``"uuid5"`` derives them from a document's id and its type;
            ``"native"`` uses the ids themselves.
        canary: The encoding of a fixed token matrix, folded to a few numbers. It detects an algorithm that changed
            under the same version. It is ``None`` until an encoding that needs a fit is fitted.
    """

    encoder: Mapping[str, Any]
    fde: Mapping[str, Any]
    layout: Mapping[str, Any]
    id_scheme: str = "uuid5"
    canary: tuple[float, ...] | None

    @classmethod
    def of(
        cls,
        *,
        encoder: Mapping[str, Any],
        fde: Mapping[str, Any],
        config: CollectionConfig,
        canary: NDArray[np.float32] | None,
    ) -> Self:
        """Build a fingerprint; ``encoder`` is empty if it is unknown, ``canary`` is the encoding of `canary_tokens`."""
        layout = {key: value for key, value in config.to_dict().items() if key not in ("fde", "id_scheme")}
        return cls(
            encoder=dict(encoder),
            fde=dict(fde),
            layout=layout,
            id_scheme=config.id_scheme,
            canary=None if canary is None else _fold(canary),
        )

    @property
    def config(self) -> CollectionConfig:
        """The collection's settings.

        Raises:
            ConfigurationError: If a newer version wrote the settings.
            SchemaMismatchError: If the stored settings cannot be read.
        """
        try:
            settings = {**self.layout, "fde": self.fde["config"], "id_scheme": self.id_scheme}
            return CollectionConfig.from_dict(settings)
        except (KeyError, TypeError, AttributeError) as error:
            raise _unreadable_error("it has no valid settings") from error

    @property
    def token_dim(self) -> int:
        """Dimensions of the token vectors."""
        return int(self.fde["token_dim"])

    @property
    def fitted_digest(self) -> str | None:
        """The SHA-256 of the encoding's artifact; ``None`` if the encoding is not fitted or needs no fit."""
        found = self.fde.get("digest")
        return found[:_DIGEST_LENGTH] if isinstance(found, str) and self.canary is not None else None

    def with_fit_of(self, other: Fingerprint) -> Self:
        """Return the fingerprint with another one's digest and canary, for a fit that can no longer be read."""
        return replace(self, fde={**self.fde, "digest": other.fde.get("digest")}, canary=other.canary)

    def to_dict(self) -> dict[str, Any]:
        """Return the fingerprint as JSON values."""
        canary = _UNFITTED if self.canary is None else list(self.canary)
        return {"format": FORMAT, **asdict(self), "canary": canary}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read the output of `to_dict`; raise `SchemaMismatchError` if it is invalid or has a newer format."""
        if data.get("format") != FORMAT:
            raise SchemaMismatchError(
                f"the collection's fingerprint has format {_shorten(data.get('format'))}, but this version reads "
                f"{FORMAT}: upgrade colbert-qdrant"
            )
        names = {each.name for each in fields(cls)}
        if missing := names - set(data):
            raise _unreadable_error(f"it lacks {sorted(missing)}")
        for name in ("encoder", "fde", "layout"):
            if not isinstance(data[name], dict):
                raise _unreadable_error(f"its {name} is a {type(data[name]).__name__}")
        if not isinstance(data["fde"].get("token_dim"), int):
            raise _unreadable_error("it has no number of token dimensions")
        data = {**data, "layout": _with_valid_threshold(data["layout"])}
        canary = None if data["canary"] == _UNFITTED else _read_canary(data["canary"])
        return cls(**{name: data[name] for name in names - {"canary"}}, canary=canary)

    def differences(self, other: Fingerprint) -> dict[str, tuple[Any, Any]]:
        """Return both values of every field in which another fingerprint differs, by dotted name.

        If this fingerprint has no encoder, only the token dimensions are compared. Settings that change no stored
        vector are not compared. These are an encoder's ``"query"``, the fields of `differences_of_storage`, and payload
        indexes or a tenant field that only one of the two has.
        """
        own_encoder, other_encoder = _comparable(self.encoder, other.encoder)
        pairs = {name: (getattr(self, name), getattr(other, name)) for name in ("fde", "layout", "id_scheme")}
        if self.encoder:
            pairs = {"encoder": (own_encoder, other_encoder), **pairs}
        found = {
            name: values
            for part, pair in pairs.items()
            for name, values in _differences(part, *pair)
            if not _is_of_storage(name)
            if not (name.startswith(("layout.payload_indexes", "layout.tenant_field")) and None in values)
        }
        if "fde.config.fit_documents" in found and not self.config.encoding.needs_fit:
            del found["fde.config.fit_documents"]
        # different parameters always give a different fit and canary, so these matter only if the rest is equal
        if any(name.startswith("fde.") and name != "fde.digest" for name in found):
            found.pop("fde.digest", None)
        elif not _is_close(self.canary, other.canary):
            found["canary"] = (self.canary, other.canary)
        return found

    def differences_of_storage(self, other: Fingerprint) -> dict[str, tuple[Any, Any]]:
        """Return the differences, in the form of `differences`, in the settings of storage and search."""
        pairs = _differences("layout", self.layout, other.layout)
        return {name: values for name, values in pairs if _is_of_storage(name)}

    def require_unchanged(self, opened: Fingerprint, *, collection: str) -> None:
        """Raise unless a name still leads to the collection that was opened; a fit may have changed its encoding.

        Raises:
            FingerprintMismatchError: If the two differ. The message lists every field, both values and the remedy.
        """
        differences = {} if self == opened else self.differences(opened)
        if differences and self._may_be_refit_of(opened):
            differences = {key: pair for key, pair in differences.items() if key != "canary" and key[:4] != "fde."}
        if differences:
            lines = [
                f"collection {collection!r} was replaced after you opened it: an alias moved, or it was recreated.",
                "The request was not sent: reopen the collection.",
                *describe_differences(differences),
            ]
            raise FingerprintMismatchError("\n".join(lines), differences)

    def _may_be_refit_of(self, opened: Fingerprint) -> bool:
        now, then = self.config.encoding, opened.config.encoding
        same_dims = (now.dim, self.token_dim) == (then.dim, opened.token_dim)
        return now.needs_fit and then.needs_fit and same_dims

    def require_equal(self, current: Fingerprint, *, collection: str) -> None:
        """Raise unless a collection is opened with the encoder and settings that it was built with.

        Raises:
            FingerprintMismatchError: If the two differ. The message lists every field, both values and the remedy.
        """
        differences = self.differences(current)
        if not differences:
            return
        lines = [
            f"collection {collection!r} was built with different settings:",
            *describe_differences(differences),
            *_remedies(differences),
        ]
        raise FingerprintMismatchError("\n".join(lines), differences)


def fingerprint_of_encoder(encoder: LateInteractionEncoder) -> dict[str, Any]:
    """Return an encoder's own fingerprint in the form in which engines return it.

    Raises:
        ConfigurationError: If it has values that JSON cannot represent.
    """
    try:
        return dict(to_json(dict(encoder.fingerprint())))
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigurationError(
            f"{type(encoder).__name__}.fingerprint() must return a dict of JSON values: {error}"
        ) from error


def same_encoder(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    """Tell whether two fingerprints of encoders are of the same encoder, or of the same name if one has only that."""
    return not list(_differences("encoder", *_comparable(first, second)))


def _comparable(first: Mapping[str, Any], second: Mapping[str, Any]) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Return only the names of two encoders, if one encoder is known by its name alone."""
    if NAMED not in (first.get("type"), second.get("type")):
        return first, second
    return {"model": name_of(first)}, {"model": name_of(second)}


def canary_tokens(dim: int) -> TokenEmbeddings:
    """Return a fixed batch of two unit-length token matrices, the same on every machine."""
    total = sum(_CANARY_LENGTHS)
    values = np.sin(np.arange(1, total * dim + 1) ** 1.5).reshape(total, dim)
    return TokenEmbeddings(values / np.linalg.norm(values, axis=1, keepdims=True), _CANARY_LENGTHS)


def _with_valid_threshold(layout: dict[str, Any]) -> dict[str, Any]:
    """Replace a ``full_scan_threshold`` below 10, which 0.1.0 accepted and servers refuse, with the default."""
    match layout:
        case {"hnsw": {"full_scan_threshold": int(threshold), **others}} if threshold < 10:
            return {**layout, "hnsw": {**others, "full_scan_threshold": None}}
    return layout


def _unreadable_error(problem: str) -> SchemaMismatchError:
    return SchemaMismatchError(
        f"the collection's fingerprint cannot be read, since {problem}; the metadata was changed outside this library: "
        "restore it, or recreate the collection"
    )


def _read_canary(stored: Any) -> tuple[float, ...]:
    try:
        numbers = tuple(map(float, stored)) if isinstance(stored, list) and len(stored) <= _CANARY_NUMBERS else ()
    except (TypeError, ValueError, OverflowError):
        numbers = ()
    if not numbers or not all(map(math.isfinite, numbers)):
        raise _unreadable_error(f"its canary is not a list of 1 to {_CANARY_NUMBERS} finite numbers")
    return numbers


def _shorten(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _MAX_REPR else f"{text[:_MAX_REPR]}…"


def _fold(encoded: NDArray[np.float32]) -> tuple[float, ...]:
    """Fold encodings to a few numbers that depend on every value and its position."""
    flat = encoded.astype(np.float64).ravel()
    parts = np.array_split(flat * np.cos(np.arange(len(flat))), _CANARY_NUMBERS)
    return tuple(round(float(part.sum()), 6) for part in parts)


def _is_close(first: tuple[float, ...] | None, second: tuple[float, ...] | None) -> bool:
    if first is None or second is None:
        return first is second
    if len(first) != len(second):
        return False
    scale = max(np.abs(first).max(initial=0), np.abs(second).max(initial=0))
    return bool(np.abs(np.subtract(first, second)).max(initial=0) <= _CANARY_TOLERANCE * scale)


def _differences(name: str, own: Any, other: Any) -> Iterator[tuple[str, tuple[Any, Any]]]:
    if isinstance(own, dict) and isinstance(other, dict):
        label = {"name"} if name.partition(".")[0] == "encoder" else set()
        ignored = label | {"query"} if name == "encoder" else label
        inner = [
            difference
            for key in sorted({*own, *other} - ignored)
            for difference in _differences(f"{name}.{key}", own.get(key), other.get(key))
        ]
        if label and inner and own.get("name") != other.get("name"):
            yield f"{name}.name", (own.get("name"), other.get("name"))
        yield from inner
    elif own != other:
        yield name, (own, other)


def _is_of_storage(name: str) -> bool:
    part, _, setting = name.partition(".")
    return part == "layout" and setting.partition(".")[0] in _OF_STORAGE


def describe_differences(differences: Mapping[str, tuple[Any, Any]]) -> Iterator[str]:
    """Yield one line for each difference."""
    for name, (stored, current) in differences.items():
        if name == "canary":
            yield "  canary: the same parameters no longer encode a fixed matrix to the same numbers"
        else:
            yield f"  {name}: built with {_shorten(stored)}, opened with {_shorten(current)}"


def _remedies(differences: Mapping[str, tuple[Any, Any]]) -> Iterator[str]:
    parts = {name.partition(".")[0] for name in differences}
    if "encoder" in parts:
        yield (
            "Open it with the encoder that it was built with, or encode its texts into a new collection with "
            "Migration.plan(client, name, encoder=…)."
        )
    elif "fde.token_dim" in differences:
        yield f"Open it with an encoder whose token vectors have {differences['fde.token_dim'][0]} dimensions."
    of_config = set(differences) - {"fde.token_dim", "fde.version"}
    if parts & {"layout", "id_scheme"} or any(name.startswith("fde.") for name in of_config):
        moved = (
            "ingest the documents into a new collection"
            if any(name.rpartition(".")[2] in NEVER_MIGRATED for name in differences)
            else "move its documents to a new collection with Migration.plan(client, name, config=…)"
        )
        yield f"Open it without a config, to use the stored one, or {moved}."
    if "canary" in parts or "fde.version" in differences:
        yield "Install colbert-qdrant and numpy in the versions that built it, or ingest into a new collection."
