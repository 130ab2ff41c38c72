"""Errors travel: from a worker process to the one that asked, with everything that they say."""

from __future__ import annotations

import copy
import pickle

import pytest

import colbert_qdrant
from colbert_qdrant import FingerprintMismatchError, RateLimitedError, RequestError
from colbert_qdrant.errors import ColbertQdrantError

ERRORS = [
    value
    for value in vars(colbert_qdrant).values()
    if isinstance(value, type) and issubclass(value, ColbertQdrantError)
]


def make(kind: type[ColbertQdrantError]) -> ColbertQdrantError:
    if issubclass(kind, FingerprintMismatchError):
        return kind("docs is of another model", {"encoder.dim": (8, 16)})
    if issubclass(kind, RequestError):
        error = kind("upsert failed", operation="upsert", collection="docs", attempts=3)
        if isinstance(error, RateLimitedError):
            error.retry_after = 2.5
        return error
    return kind("something is wrong: do this")


def test_every_error_is_public() -> None:
    def below(kind: type[ColbertQdrantError]) -> set[type]:
        return {kind}.union(*map(below, kind.__subclasses__()))

    hidden = {each for each in below(ColbertQdrantError) if each.__module__ == "colbert_qdrant.errors"} - set(ERRORS)
    assert not hidden


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_an_error_is_the_same_after_it_was_pickled(kind: type[ColbertQdrantError]) -> None:
    error = make(kind)
    error.add_note("seen in a worker")
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        again = pickle.loads(pickle.dumps(error, protocol))
        assert type(again) is kind
        assert (str(again), again.args, vars(again)) == (str(error), error.args, vars(error))
    assert vars(copy.deepcopy(error)) == vars(error)
