"""Documents that are longer than the encoder takes, split into windows, and which piece of a text a vector is."""

from __future__ import annotations

import string
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from colbert_qdrant import ColbertEncoder, ConfigurationError
from tests.checkpoints import WORDS, tiny_bert
from tests.unit.encoders.reference import (
    WEIGHTS,
    assert_same,
    edit_json,
    hidden_states,
    load,
    model_of,
    tokenizer_of,
    unit,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

LENGTH: Final = 15
SPECIAL: Final = 2
WINDOW: Final = LENGTH - SPECIAL
OVERLAP: Final = WINDOW // 4
STEP: Final = WINDOW - OVERLAP
PUNCTUATION: Final = set(string.punctuation)
words = st.lists(st.sampled_from([*WORDS, ",", "!"]), min_size=1, max_size=WINDOW + 9 * STEP + 1)


def by_hand(path: Path, text: str) -> list[tuple[int, NDArray[np.float32]]]:
    """Token ids and vectors of a text in windows: each token from the window in which it has the most context.

    Of the tokens that two windows share, the first half, rounded up, belongs to the earlier window.
    """
    tokenizer, model = tokenizer_of(path), model_of(path)
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    starts = [0]
    while starts[-1] + WINDOW < len(ids):
        starts.append(starts[-1] + STEP)
    rows = []
    for number, start in enumerate(starts):
        window = ids[start : start + WINDOW]
        states = hidden_states(model, [tokenizer.cls_token_id, *window, tokenizer.sep_token_id])[1:-1]
        first = OVERLAP - OVERLAP // 2 if number else 0
        last = len(window) if number == len(starts) - 1 else len(window) - OVERLAP // 2
        rows += [(ids[start + place], unit(states[place])) for place in range(first, last)]
    assert [id for id, _ in rows] == ids
    return rows


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT with positions for all of a text."""
    return tiny_bert(tmp_path_factory.mktemp("wide"), positions=256)


@pytest.fixture(scope="module")
def split(wide: Path) -> ColbertEncoder:
    return load(wide, document_length=LENGTH, query_length=LENGTH, long_documents="split")


@pytest.fixture(scope="module")
def whole(wide: Path) -> ColbertEncoder:
    return load(wide, document_length=256)


def sequence(count: int) -> str:
    return " ".join(WORDS[place % len(WORDS)] for place in range(count))


BOUNDARIES = sorted({WINDOW + steps * STEP + more for steps in (0, 1, 2, 3, 9) for more in (-1, 0, 1)} | {1, 2})


@pytest.mark.parametrize("count", BOUNDARIES)
def test_vectors_are_those_of_the_window_that_owns_the_token(wide: Path, split: ColbertEncoder, count: int) -> None:
    text = sequence(count)
    expected = np.array([vector for _, vector in by_hand(wide, text)])
    assert_same(split.encode_documents([text]), [expected])


@given(words)
@example([*WORDS[:WINDOW]])
@example([*WORDS[: WINDOW + 1]])
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_token_appears_once_and_in_order(split: ColbertEncoder, whole: ColbertEncoder, text: list[str]) -> None:
    document = " ".join(text)
    (spans,) = split.document_tokens([document])
    assert spans == whole.document_tokens([document])[0]
    content = [word for word in text if word not in PUNCTUATION]
    if content:
        assert [document[span.start : span.end] for span in spans] == content
    batch = split.encode_documents([document])
    assert batch.lengths.tolist() == [len(spans)] == whole.encode_documents([document]).lengths.tolist()
    assert not batch.truncated.any()


def test_windows_overlap(wide: Path, split: ColbertEncoder) -> None:
    text = sequence(WINDOW + STEP)
    (matrix,) = split.encode_documents([text])
    vocabulary = text.split()
    cut = WINDOW - OVERLAP // 2
    (before,) = split.encode_documents([" ".join(vocabulary[:cut])])
    (after,) = split.encode_documents([" ".join(vocabulary[cut:])])
    # near the seam, both sides see over it
    assert np.abs(matrix[cut - 1] - before[-1]).max() > 1e-3
    assert np.abs(matrix[cut] - after[0]).max() > 1e-3


def test_short_documents_are_unchanged(wide: Path, split: ColbertEncoder) -> None:
    texts = [sequence(count) for count in range(1, WINDOW + 1)] + ["", "!?", "cat, dog!", sequence(100)]
    truncating = load(wide, document_length=LENGTH)
    assert_same(split.encode_documents(texts)[:-1], truncating.encode_documents(texts)[:-1])
    assert truncating.encode_documents(texts).truncated.tolist() == [False] * (len(texts) - 1) + [True]


def test_long_and_short_documents_go_together(wide: Path, split: ColbertEncoder) -> None:
    texts = [sequence(count) for count in (100, 1, WINDOW, WINDOW + 1, 40, 3)]
    alone = [split.encode_documents([text])[0] for text in texts]
    batch = split.encode_documents(texts)
    assert_same(batch, alone)
    assert batch.lengths.tolist() == [100, 1, WINDOW, WINDOW + 1, 40, 3]
    assert not batch.truncated.any()
    small = load(wide, document_length=LENGTH, long_documents="split", batch_size=1)
    assert_same(small.encode_documents(texts), alone)


@pytest.mark.filterwarnings("error::colbert_qdrant.ColbertQdrantWarning")
def test_no_warning_of_truncation(split: ColbertEncoder) -> None:
    split.encode_documents([sequence(100)])


def test_queries_are_truncated(split: ColbertEncoder) -> None:
    queries = split.encode_queries([sequence(100), sequence(3)])
    assert queries.lengths.tolist() == [WINDOW, 3]
    assert queries.truncated.tolist() == [True, False]


def test_nothing_but_punctuation_is_kept(split: ColbertEncoder) -> None:
    assert split.encode_documents(["!" * 50, "cat " + "!" * 50]).lengths.tolist() == [50, 1]


@pytest.mark.parametrize("room", [2, 3, 4, 5])
def test_smallest_windows(wide: Path, whole: ColbertEncoder, room: int) -> None:
    encoder = load(wide, document_length=room + SPECIAL, long_documents="split")
    for count in range(1, 20):
        (spans,) = encoder.document_tokens([sequence(count)])
        assert spans == whole.document_tokens([sequence(count)])[0]
        assert len(encoder.encode_documents([sequence(count)])[0]) == count


def test_windows_without_room_to_overlap_are_refused(wide: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"long_documents='split'.* at least 4"):
        load(wide, document_length=1 + SPECIAL, long_documents="split")
    load(wide, document_length=1 + SPECIAL)


# --- In a ColBERT checkpoint: a prefix in every window, special tokens kept, punctuation not --------------------------


@pytest.mark.parametrize("name", ["pylate-bert", "stanford-bert"])
def test_windows_of_a_colbert_checkpoint(built: Callable[[str], Path], name: str) -> None:
    path = built(name)
    tokenizer, model = tokenizer_of(path), model_of(path)
    marker = tokenizer.convert_tokens_to_ids("[D] " if name == "pylate-bert" else "[unused1]")
    weights = load_file((path / "1_Dense" if name == "pylate-bert" else path) / WEIGHTS)
    projection = weights["linear.weight"].numpy()
    if name == "stanford-bert":
        model.load_state_dict(
            {key.removeprefix("bert."): value for key, value in weights.items() if key != "linear.weight"}
        )
    window, overlap = LENGTH - 3, (LENGTH - 3) // 4  # [CLS], the prefix and [SEP]
    text = "the cat, the dog! a tree by the river. is it good, bad or slow? fast search, index and rank"
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    starts = [start for start in range(0, len(ids), window - overlap) if start == 0 or start + overlap < len(ids)]
    assert len(starts) == 3
    skipped = {tokenizer.convert_tokens_to_ids(character) for character in string.punctuation}
    rows = []
    for number, start in enumerate(starts):
        part = ids[start : start + window]
        sequence = [tokenizer.cls_token_id, marker, *part, tokenizer.sep_token_id]
        states = unit(hidden_states(model, sequence) @ projection.T)
        is_last = number == len(starts) - 1
        first = 2 + overlap - overlap // 2 if number else 0
        last = len(sequence) if is_last else len(sequence) - 1 - overlap // 2
        rows += [states[place] for place in range(first, last) if sequence[place] not in skipped]
    encoder = load(path, document_length=LENGTH, long_documents="split")
    assert_same(encoder.encode_documents([text]), [np.array(rows)])
    (spans,) = encoder.document_tokens([text])
    pieces = [span for span in spans if span.end > span.start]
    words_of_text = "".join(" " if each in PUNCTUATION else each for each in text).split()
    assert [text[span.start : span.end] for span in pieces] == words_of_text
    # [CLS] and the prefix at the front, [SEP] at the end, nothing between the windows
    assert [span.end > span.start for span in spans] == [False] * 2 + [True] * len(pieces) + [False]


# --- Which piece of a text a vector is --------------------------------------------------------------------------------

UNICODE = [
    "İstanbul, cat and İİ dog",
    "ÀÉ Über CAFÉ naïve",
    "cat \U0001f600 dog \U0001f40d",
    "東京 search 検索 cat",
    "e\u0301 cat",
]
PADDED = ["   the cat  ", "\n\tdog\r\n tree ", "\u00a0 river \u00a0", "  "]


def pieces(encoder: ColbertEncoder, text: str) -> list[str]:
    (spans,) = encoder.document_tokens([text])
    assert len(spans) == encoder.encode_documents([text]).lengths[0]
    assert all(0 <= span.start <= span.end <= len(text) for span in spans)
    return [text[span.start : span.end] for span in spans if span.end > span.start]


@pytest.mark.parametrize("text", ["The cat, the DOG!", "token", *UNICODE, *PADDED])
@pytest.mark.parametrize(
    "name", ["pylate-bert", "pylate-stack", "pylate-modernbert", "pylate-prompts", "stanford-bert", "mve-fixed"]
)
def test_spans_are_the_pieces_of_the_text(built: Callable[[str], Path], name: str, text: str) -> None:
    encoder = load(built(name))
    (spans,) = encoder.document_tokens([text])
    for span in spans:
        piece, known = text[span.start : span.end].strip(), span.token.removeprefix("##")
        if piece.isascii() and known.isascii() and known.isalnum() and span.end > span.start:
            assert piece.lower() == known.lower()
    if text.isascii():
        found = "".join(pieces(encoder, text))
        assert "".join(found.split()) == "".join(each for each in text if each.isalnum())


@pytest.mark.parametrize("name", ["pylate-bert", "pylate-stack", "pylate-prompts", "stanford-bert", "mve-fixed"])
@pytest.mark.parametrize("text", ["İstanbul cat and İİ dog", "  İ cat and\u00a0 dog", "\U0001f600 cat and dog"])
def test_spans_after_characters_that_take_more_room_than_one(
    built: Callable[[str], Path], name: str, text: str
) -> None:
    found = [piece.strip() for piece in pieces(load(built(name)), text)]
    assert found[-1] == "dog"
    assert found.index("cat") < found.index("and") < found.index("dog")


def test_spans_of_special_tokens_are_empty(built: Callable[[str], Path]) -> None:
    (spans,) = load(built("pylate-bert")).document_tokens(["  the cat "])
    assert [(span.start, span.end) for span in spans] == [(0, 0), (0, 0), (2, 5), (6, 9), (0, 0)]
    assert [spans[0].token, spans[-1].token] == ["[CLS]", "[SEP]"]


@pytest.mark.parametrize("prompt", ["the word: ", "the  ", "search_document: "])
@pytest.mark.parametrize("text", ["cat and dog", "   cat and dog "])
@pytest.mark.parametrize("name", ["pylate-bert", "pylate-prompts", "stanford-bert", "mve-fixed"])
def test_spans_do_not_count_the_prompt(built: Callable[[str], Path], name: str, text: str, prompt: str) -> None:
    encoder = load(built(name), prompts={"document": prompt})
    assert [piece.strip() for piece in pieces(encoder, text)] == ["cat", "and", "dog"]
    (spans,) = encoder.document_tokens([text])
    without = load(built(name), prompts={"document": ""})
    assert len(spans) > len(without.document_tokens([text])[0])


def test_spans_of_a_truncated_text_end_where_it_does(wide: Path) -> None:
    encoder = load(wide, document_length=5)
    assert pieces(encoder, "the cat and the dog") == ["the", "cat", "and"]


def test_spans_of_pieces_of_words(wide: Path, split: ColbertEncoder) -> None:
    text = " ".join(["catalogue"] * 9)
    (spans,) = split.document_tokens([text])
    assert "".join(text[span.start : span.end] for span in spans) == text.replace(" ", "")
    assert [span.token.removeprefix("##") for span in spans] == [text[span.start : span.end] for span in spans]


def test_spans_of_several_texts(split: ColbertEncoder) -> None:
    texts = [sequence(40), "", " cat", sequence(3), "!?"]
    spans = split.document_tokens(texts)
    assert [len(each) for each in spans] == split.encode_documents(texts).lengths.tolist()
    assert spans == [split.document_tokens([text])[0] for text in texts]


@pytest.mark.parametrize("arguments", [{}, {"pool_factor": 3}])
def test_pooled_vectors_have_no_spans(built: Callable[[str], Path], arguments: dict[str, Any]) -> None:
    encoder = load(built("mve-pooling" if not arguments else "pylate-bert"), **arguments)
    with pytest.raises(ConfigurationError, match="without pooling"):
        encoder.document_tokens(["cat"])
    unpooled = load(built("mve-pooling"), pool_factor=1)
    assert len(unpooled.document_tokens(["the cat and dog"])[0]) == len(
        unpooled.encode_documents(["the cat and dog"])[0]
    )


def test_lowercasing_by_the_tokenizer_moves_no_span(copied: Callable[[str], Path]) -> None:
    path = copied("mve-fixed")
    text = (path / "tokenizer.json").read_text(encoding="utf-8")
    assert '"lowercase": true' in text
    (path / "tokenizer.json").write_text(text.replace('"lowercase": true', '"lowercase": false'), encoding="utf-8")
    edit_json(path / "sentence_bert_config.json", do_lower_case=True)
    assert pieces(load(path), "İ CAT and DOG")[-3:] == ["CAT", "and", "DOG"]
