"""A `Secret` is shown to those who ask, and nowhere else."""

from __future__ import annotations

import copy
import json
import logging
import pickle
import traceback

import pytest

from colbert_qdrant import Secret

KEY = "correct-horse-battery-staple"


def test_only_reveal_tells() -> None:
    secret = Secret(KEY)
    assert secret.reveal() == KEY
    shown = [repr(secret), str(secret), f"{secret}", f"{secret!s:>20}", f"{secret:>20}", "%s" % secret]  # noqa: UP031
    shown += [repr([secret]), repr({"key": secret}), repr(secret.reveal), str(dir(secret))]
    assert not [text for text in shown if KEY in text]
    assert all("***" in text for text in shown[:-1])


def test_what_looks_into_objects_finds_nothing() -> None:
    secret = Secret(KEY)
    assert not hasattr(secret, "__dict__")
    with pytest.raises(TypeError):
        json.dumps(secret)
    for take in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="cannot be pickled or copied") as caught:
            take(secret)
        assert KEY not in "".join(
            traceback.TracebackException.from_exception(caught.value, capture_locals=True).format()
        )


def test_no_log_has_it(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("any").warning("%s %r", Secret(KEY), [Secret(KEY)])
    assert KEY not in caplog.text


def test_comparing_tells_nothing_either() -> None:
    key: object = KEY
    assert Secret(KEY) not in (Secret(KEY), key)
