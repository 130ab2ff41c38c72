"""Defines `TokenEmbeddings`, the batch of token vectors that encoders, FDEs, scoring and points share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Final, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from colbert_qdrant.errors import InvalidTokensError
from colbert_qdrant.shown import listed, shown

MAX_VALUES_PER_DOCUMENT: Final = 1_048_575
"""The maximum number of values (tokens × dim) in one multivector. The server rejects 2**20 and more
(``MAX_MULTIVECTOR_FLATTENED_LEN`` in ``lib/common/common/src/validation.rs``). The embedded engine and the
client's local mode accept more, so the limit is enforced here for every engine."""


@dataclass(frozen=True, eq=False, init=False, repr=False)
class TokenEmbeddings:
    """A ragged batch of token matrices, one per text, in one flat array.

    The constructor validates a batch, and other code relies on that. Slices share memory with the original batch.

    Args:
        values: Shape ``(total_tokens, dim)``, the concatenated token vectors of all texts. They are stored as
            C-contiguous float32; an array that already has this form is not copied.
        lengths: Shape ``(n_texts,)``, the number of tokens of each text.
        truncated: Shape ``(n_texts,)``, whether each text was cut at the encoder's maximum length; all False by
            default.

    Raises:
        InvalidTokensError: If a value is NaN or infinite, or overflows float32. If a text has no tokens, or more than
            1,048,575 values. If the shapes do not match.

    Example:
        >>> import numpy as np
        >>> batch = TokenEmbeddings(np.eye(3), [1, 2])
        >>> len(batch), batch.dim, batch[1].shape
        (2, 3, (2, 3))
        >>> batch[1:].lengths.tolist()
        [2]
    """

    values: NDArray[np.float32]
    lengths: NDArray[np.int64]
    truncated: NDArray[np.bool_]

    def __init__(self, values: ArrayLike, lengths: ArrayLike, *, truncated: ArrayLike | None = None) -> None:
        flat, counts = np.ascontiguousarray(_array("values", values, np.float32)), _counts(lengths)
        _validate(flat, counts)
        flags = np.zeros(len(counts), np.bool_) if truncated is None else _array("truncated", truncated, np.bool_)
        if flags.shape != counts.shape:
            raise InvalidTokensError(f"truncated has shape {flags.shape}, but there are {len(counts)} texts")
        self._set(flat, counts, flags)

    @classmethod
    def from_matrices(cls, matrices: Iterable[ArrayLike], *, dim: int | None = None) -> TokenEmbeddings:
        """Make a batch from one matrix per text.

        Args:
            matrices: Arrays of shape ``(n_tokens, dim)``, in any form that NumPy can read.
            dim: Dimensions of a token vector; required only if ``matrices`` may be empty.

        Raises:
            InvalidTokensError: If there is neither a matrix nor a ``dim``, the matrices differ in ``dim``, or the
                constructor rejects the batch.
        """
        found = listed(matrices)
        if found is None:
            raise InvalidTokensError(f"matrices must be a list of one matrix per text, got {type(matrices).__name__}")
        if dim is not None and not (isinstance(dim, int | np.integer) and dim >= 1):
            raise InvalidTokensError(f"dim must be an integer of at least 1, got {shown(dim)}")
        arrays = [_array(f"text {number}", matrix, np.float32) for number, matrix in enumerate(found)]
        for number, array in enumerate(arrays):
            if array.ndim != 2:
                raise InvalidTokensError(
                    f"text {number}: token embeddings must be a matrix (n_tokens, dim), got shape {array.shape}"
                )
            if dim is not None and array.shape[1] != dim:
                raise InvalidTokensError(
                    f"text {number}: token vectors have {array.shape[1]} dimensions, expected {dim}"
                )
            dim = array.shape[1]
        if dim is None:
            raise InvalidTokensError("matrices is empty: pass dim=… to make an empty batch")
        flat = np.concatenate(arrays) if arrays else np.empty((0, dim), np.float32)
        return cls(flat, np.fromiter((len(array) for array in arrays), np.int64, len(arrays)))

    @classmethod
    def concatenate(cls, batches: Sequence[TokenEmbeddings]) -> TokenEmbeddings:
        """Concatenate batches in order; a single batch is returned without a copy.

        Raises:
            InvalidTokensError: If no batch is given, or the batches differ in ``dim``.
        """
        if not isinstance(batches, list | tuple):
            raise InvalidTokensError(f"batches must be a list of TokenEmbeddings, got {type(batches).__name__}")
        for batch in batches:
            require_tokens("each batch", batch)
        if len(batches) == 1:
            return batches[0]
        if len({batch.dim for batch in batches}) != 1:
            raise InvalidTokensError(
                f"cannot concatenate batches of dims {[batch.dim for batch in batches]}: pass batches of one dim"
            )
        return cls._from_checked(
            np.concatenate([batch.values for batch in batches]),
            np.concatenate([batch.lengths for batch in batches]),
            np.concatenate([batch.truncated for batch in batches]),
        )

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: Callable[[object], Any]) -> Any:
        """Let pydantic read and write ``values``, ``lengths`` and ``truncated`` as lists."""
        from pydantic_core import core_schema  # noqa: PLC0415 - the caller is pydantic

        lists = core_schema.typed_dict_schema(
            {
                "values": core_schema.typed_dict_field(handler(list[list[float]])),
                "lengths": core_schema.typed_dict_field(handler(list[int])),
                "truncated": core_schema.typed_dict_field(handler(list[bool]), required=False),
            }
        )
        made = core_schema.no_info_after_validator_function(lambda values: cls(**values), lists)
        return core_schema.json_or_python_schema(
            json_schema=made,
            python_schema=core_schema.union_schema([core_schema.is_instance_schema(cls), made]),
            serialization=core_schema.plain_serializer_function_ser_schema(
                lambda batch: {name: getattr(batch, name).tolist() for name in ("values", "lengths", "truncated")},
                return_schema=lists,
            ),
        )

    @classmethod
    def _from_checked(
        cls, values: NDArray[np.float32], lengths: NDArray[np.int64], truncated: NDArray[np.bool_]
    ) -> TokenEmbeddings:
        """Make a batch from parts of validated batches."""
        batch = cls.__new__(cls)
        batch._set(values, lengths, truncated)  # noqa: SLF001
        return batch

    def _set(self, values: NDArray[np.float32], lengths: NDArray[np.int64], truncated: NDArray[np.bool_]) -> None:
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "lengths", lengths)
        object.__setattr__(self, "truncated", truncated)

    @property
    def dim(self) -> int:
        """The dimensions of a token vector."""
        return int(self.values.shape[1])

    @cached_property
    def offsets(self) -> NDArray[np.int64]:
        """The row offsets, shape ``(n_texts + 1,)``: text ``i`` is ``values[offsets[i]:offsets[i + 1]]``."""
        return np.concatenate([np.zeros(1, np.int64), np.cumsum(self.lengths)])

    def __len__(self) -> int:
        return len(self.lengths)

    @overload
    def __getitem__(self, index: int) -> NDArray[np.float32]: ...
    @overload
    def __getitem__(self, index: slice) -> TokenEmbeddings: ...
    def __getitem__(self, index: int | slice) -> NDArray[np.float32] | TokenEmbeddings:
        """Return one text's matrix, or a batch of consecutive texts; neither is a copy."""
        if not isinstance(index, slice):
            number = range(len(self))[index]
            matrix: NDArray[np.float32] = self.values[self.offsets[number] : self.offsets[number + 1]]
            return matrix
        start, stop, step = index.indices(len(self))
        if step != 1:
            raise InvalidTokensError(f"slice step {step} is not supported: use step 1, or get single texts by batch[i]")
        stop = max(start, stop)
        rows = slice(self.offsets[start], self.offsets[stop])
        return self._from_checked(self.values[rows], self.lengths[start:stop], self.truncated[start:stop])

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        return (self[number] for number in range(len(self)))

    def blocks(self, max_tokens: int) -> Iterator[tuple[int, int]]:
        """Split the batch into ranges of whole texts, so that callers can process it in bounded memory.

        Args:
            max_tokens: Maximum number of tokens in a range, unless a single text has more.

        Yields:
            ``(start, stop)`` of each range, in order.
        """
        if not isinstance(max_tokens, int | np.integer) or max_tokens < 1:
            raise InvalidTokensError(f"max_tokens must be an integer of at least 1, got {shown(max_tokens)}")
        start, max_tokens = 0, min(int(max_tokens), len(self.values))
        while start < len(self):
            limit = self.offsets[start] + max_tokens
            stop = max(start + 1, int(np.searchsorted(self.offsets, limit, side="right")) - 1)
            yield start, stop
            start = stop

    def __repr__(self) -> str:
        truncated = f", truncated={self.truncated.sum()}" if self.truncated.any() else ""
        return f"TokenEmbeddings(texts={len(self)}, tokens={len(self.values)}, dim={self.dim}{truncated})"

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(TokenEmbeddings, truncated=self.truncated), (self.values, self.lengths)


def one_text(tokens: TokenEmbeddings | ArrayLike, *, dim: int) -> TokenEmbeddings:
    """Return the token embeddings of one text, from a matrix in any form, as a batch of one.

    Raises:
        InvalidTokensError: If there is more than one matrix, or token vectors have other dimensions, or the batch is
            invalid. The message calls the text ``"text 0"``.
    """
    if not isinstance(tokens, TokenEmbeddings):
        return TokenEmbeddings.from_matrices([tokens], dim=dim)
    if len(tokens) != 1 or tokens.dim != dim:
        raise InvalidTokensError(
            f"text 0: tokens has {len(tokens)} matrices of {tokens.dim} dimensions: pass one matrix of {dim} dimensions"
        )
    return tokens


def require_tokens(name: str, value: object) -> None:
    """Raise `InvalidTokensError` unless a parameter's value is a `TokenEmbeddings`."""
    if not isinstance(value, TokenEmbeddings):
        raise InvalidTokensError(
            f"{name} must be TokenEmbeddings, got {type(value).__name__}: encode texts with an encoder, or use "
            "TokenEmbeddings.from_matrices"
        )


def _array(name: str, values: ArrayLike, kind: Any) -> NDArray[Any]:
    try:
        with np.errstate(over="ignore"):
            found = _without_device(values)
            dtype = getattr(found, "dtype", None)
            if getattr(dtype, "kind", None) == "c" or getattr(dtype, "is_complex", False):
                raise TypeError("complex numbers have no place in vectors")  # noqa: TRY301
            if isinstance(found, np.ma.MaskedArray) and np.ma.getmaskarray(found).any():
                raise TypeError("it has masked values")  # noqa: TRY301
            return np.asarray(found, kind)
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        raise InvalidTokensError(f"{name} cannot be read as an array: {error}") from error


def _without_device(values: Any) -> Any:
    """Return a tensor of torch in a form that NumPy can read: in memory, without gradients, in a type that it has."""
    if not (hasattr(values, "detach") and hasattr(values, "cpu") and hasattr(values, "is_floating_point")):
        return values
    tensor = values.detach().cpu()
    return tensor.float() if tensor.is_floating_point() else tensor


def _counts(lengths: ArrayLike) -> NDArray[np.int64]:
    try:
        counts = np.asarray(lengths)
    except ValueError as error:
        raise InvalidTokensError(f"lengths cannot be read as an array: {error}") from error
    if counts.ndim != 1 or not (np.issubdtype(counts.dtype, np.integer) or counts.size == 0):
        raise InvalidTokensError(f"lengths must be a list of integers, got shape {counts.shape}, {counts.dtype}")
    return counts.astype(np.int64)


def _validate(values: NDArray[np.float32], lengths: NDArray[np.int64]) -> None:
    if values.ndim != 2 or values.shape[1] == 0:
        raise InvalidTokensError(f"token values must have shape (total_tokens, dim) with dim >= 1, got {values.shape}")
    if np.any(lengths <= 0):
        number = int(np.argmax(lengths <= 0))
        raise InvalidTokensError(f"text {number} has no tokens: leave it out, or encode it to at least one")
    if lengths.sum() != len(values):
        raise InvalidTokensError(
            f"lengths add up to {lengths.sum()} tokens, but there are {len(values)} rows: pass the number of tokens of "
            "each text"
        )
    dim = values.shape[1]
    if np.any(lengths * dim > MAX_VALUES_PER_DOCUMENT):
        number = int(np.argmax(lengths * dim > MAX_VALUES_PER_DOCUMENT))
        raise InvalidTokensError(
            f"text {number} has {lengths[number]:,} tokens × {dim} dimensions = {lengths[number] * dim:,} values; "
            f"Qdrant stores at most {MAX_VALUES_PER_DOCUMENT:,} per document, which is "
            f"{MAX_VALUES_PER_DOCUMENT // dim:,} tokens: split the text, or lower the encoder's document length"
        )
    # min and max propagate NaN and infinities without a temporary boolean array
    if len(values) and not (np.isfinite(values.min()) and np.isfinite(values.max())):
        row = int(np.argmin(np.isfinite(values).all(axis=1)))
        number = int(np.searchsorted(np.cumsum(lengths), row, side="right"))
        raise InvalidTokensError(
            f"text {number} has NaN or infinite values (row {row} of the batch): check the model that made "
            "them, and its dtype"
        )
