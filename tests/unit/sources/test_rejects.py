"""A reject file keeps rejected rows unchanged, and it can be ingested again."""

from __future__ import annotations

import io
import json
import math
from datetime import UTC, datetime
from decimal import Decimal
from errno import ENOSPC
from typing import TYPE_CHECKING, Any
from uuid import UUID

import numpy as np
import pytest
import torch

from colbert_qdrant import Document, TokenEmbeddings
from colbert_qdrant.errors import ConfigurationError, DiskFullError
from colbert_qdrant.sources import RejectFile
from tests.unit.sources.rows import documents, errors, items

if TYPE_CHECKING:
    from pathlib import Path


def rejected(source: Any, path: Path, **mapping: Any) -> list[dict[str, Any]]:
    """Reject every item of a source, and return the lines of the reject file."""
    file = RejectFile(path, ids=("id", "_id", "key"))
    file.add([(item, "mend it") for item in items(source, **mapping)])
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize(
    "source",
    [
        [Document(1, "a"), Document("1", "b", {"id": 1, "text": "c"}), Document(UUID(int=1), "")],
        [{"id": 1, "text": "a", "n": None}, {"_id": UUID(int=1), "text": ""}],
        [{"id": "x", "text": "\ud800 broken", "big": 10**30, "list": [1, {"a": [2.5]}]}],
        [(1, "a"), (UUID(int=2), "b", {"n": [1]})],
    ],
)
def test_a_reject_file_gives_the_same_documents(source: list[Any], tmp_path: Path) -> None:
    path = tmp_path / "rejected.jsonl"
    rejected(source, path)
    assert documents(path) == documents(source)


@pytest.mark.parametrize("form", [np.array, torch.tensor, list, lambda rows: TokenEmbeddings(rows, [len(rows)])])
def test_ready_token_embeddings_stay_with_their_document(form: Any, tmp_path: Path) -> None:
    tokens = [[0.1, 0.25], [1e-7, -3.0]]
    rejected([Document("page", tokens=form(tokens))], tmp_path / "rejects.jsonl")
    (again,) = documents(tmp_path / "rejects.jsonl")
    assert np.array_equal(np.asarray(again.tokens, np.float32), np.asarray(tokens, np.float32))


def test_the_mapping_applies_to_a_reject_file(tmp_path: Path) -> None:
    source = [{"key": UUID(int=3), "body": "a", "n": 1}]
    mapping: dict[str, Any] = {"id": "key", "text": "body"}
    (line,) = rejected(source, tmp_path / "rejected.jsonl", **mapping)
    assert line == {
        "key": {"uuid": str(UUID(int=3))},
        "body": "a",
        "n": 1,
        "_rejected": {"where": "row 1", "reason": "mend it"},
    }
    assert documents(tmp_path / "rejected.jsonl", **mapping) == [Document(UUID(int=3), "a", {"n": 1})]


def test_values_without_a_form_in_json_become_strings(tmp_path: Path) -> None:
    row = {
        "id": 1,
        "text": math.nan,
        "raw": b"\xff",
        "when": datetime(2024, 6, 1, tzinfo=UTC),
        "price": Decimal("1.5"),
        7: {1},
    }
    (line,) = rejected([row], tmp_path / "rejected.jsonl")
    del line["_rejected"]
    assert line == {"id": 1, "text": None, "raw": "ff", "when": "2024-06-01T00:00:00+00:00", "price": 1.5, "7": "{1}"}


@pytest.mark.parametrize(
    ("content", "raw"), [(b'{"id": 1, "te', {"raw": '{"id": 1, "te\n'}), (b"\xff{}", {"raw_base64": "/3t9Cg=="})]
)
def test_a_line_that_cannot_be_read_keeps_its_content(content: bytes, raw: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "docs.jsonl").write_bytes(content + b"\n")
    path = tmp_path / "rejected.jsonl"
    (line,) = rejected(tmp_path / "docs.jsonl", path)
    assert line == {"_rejected": {"where": f"{tmp_path / 'docs.jsonl'}, line 1", "reason": "mend it", **raw}}
    (message,) = errors(path)
    assert message.startswith(f"{path}, line 1: the rejected row could not be read: write the mended row in place of")
    assert rejected(path, tmp_path / "again.jsonl")[0]["_rejected"].items() >= raw.items()  # nothing is lost


def test_a_mended_file_is_read_and_rejects_are_appended(tmp_path: Path) -> None:
    path = tmp_path / "rejected.jsonl"
    path.write_text(
        '{"id": 1, "text": "a", "_rejected": {"where": "x", "reason": "y"}}'
    )  # torn: without an end of line
    rejected([{"id": 2, "text": ""}], path)
    assert [each.id for each in documents(path)] == [1, 2]


@pytest.mark.parametrize("path", ["no/such/folder/rejected.jsonl", ".", 7, "a\0b"])
def test_a_path_that_cannot_be_a_file_is_refused_first(path: Any) -> None:
    with pytest.raises(ConfigurationError, match="rejects"):
        RejectFile(path)


def test_a_file_without_rejected_rows_is_not_made(tmp_path: Path) -> None:
    RejectFile(tmp_path / "rejected.jsonl")
    assert not (tmp_path / "rejected.jsonl").exists()


class Disk(io.FileIO):
    """A file on a disk that is full after a few bytes."""

    def write(self, data: Any) -> int:
        room = 300 - self.seek(0, io.SEEK_END)
        if room <= 0:
            raise OSError(ENOSPC, "No space left on device")
        return super().write(memoryview(data)[:room])


def test_a_full_disk_leaves_no_half_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "rejected.jsonl"
    rejected([{"id": 1, "text": ""}], path)
    before = path.read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr("pathlib.Path.open", lambda self, mode, buffering: Disk(self, "ab+"))
        with pytest.raises(DiskFullError, match=r"rejected.jsonl' .*No space left.*: free some space, and ingest"):
            rejected([{"id": n, "text": "x" * 50} for n in range(9)], path)
    assert path.read_bytes() == before


def test_a_reject_file_in_a_folder_that_vanished(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    file = RejectFile(tmp_path / "sub" / "rejected.jsonl")
    (tmp_path / "sub").rmdir()
    with pytest.raises(ConfigurationError, match=r"cannot be written .*No such file.*: pass another path, and ingest"):
        file.add([({"id": 1}, "correct it")])
