"""Refuses numbers that float16 cannot represent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from colbert_qdrant.errors import InvalidTokensError

if TYPE_CHECKING:
    from collections.abc import Iterable

_MAX_FLOAT16: Final = float(np.finfo(np.float16).max)


def check_range(
    ids: Iterable[object],
    vectors: Iterable[Any],
    *,
    setting: str,
    datatype: str,
    of: Literal["document", "point"] = "document",
) -> None:
    """Raise if float16 cannot represent a number: engines would store infinity, and scores would have no order.

    Args:
        ids: The id of each document or point.
        vectors: Its vector or multivector, or ``None``.
        setting: The setting of `CollectionConfig` that sets the datatype.
        datatype: The datatype that the vectors are stored in.
        of: The word that the message puts before the id.

    Raises:
        InvalidTokensError: If a number is too large.
    """
    if datatype != "float16":
        return
    for id, values in zip(ids, vectors, strict=True):
        worst = 0.0 if values is None else float(np.abs(np.asarray(values)).max(initial=0.0))
        if worst > _MAX_FLOAT16:
            raise InvalidTokensError(
                f"{of} {id!r} has a value of magnitude {worst:g} in its vectors, but float16 stores at most "
                f"{_MAX_FLOAT16:g}: normalize the encoder's vectors, or use CollectionConfig({setting}='float32')"
            )
