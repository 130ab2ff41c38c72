"""Passages of sentences: within the budget as the encoder itself counts, and no character is lost."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sentence_transformers import MultiVectorEncoder

from colbert_qdrant import (
    Chunker,
    ColbertEncoder,
    ConfigurationError,
    Document,
    InvalidDocumentError,
    Passage,
    SentenceChunker,
    SentenceTransformersEncoder,
)
from colbert_qdrant.sources.sentences import split_sentences
from tests.checkpoints import tiny_bert, tiny_byt5, tiny_roberta
from tests.encoders import WordEncoder
from tests.parity.checkpoints import build

if TYPE_CHECKING:
    from collections.abc import Sequence

PARTS = (
    *(
        "The cat is fast. ",
        "Dr. No",
        "!",
        "?\n",
        "\n\n",
        "# Point\n",
        "- a dog\n",
        "```\n",
        "x = 1.\n",
        " ",
        "。",
        "語",
    ),
    *("語", "tree ", "river" * 9, "é", "🙂", "\t", "\r\n", "e.g. ", "3.14 ", "| a | b |\n", "## Rank\n", "»", "\u0301"),
)
TEXT = st.one_of(st.text(max_size=300), st.lists(st.sampled_from(PARTS), max_size=60).map("".join))


class Words:
    """Counts words, and two special tokens."""

    def __init__(self, document_length: int) -> None:
        self.document_length = document_length
        self.calls = 0

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        self.calls += 1
        return [len(text.split()) + 2 for text in texts]


def chunk(text: str, words: int, **settings: Any) -> list[str]:
    return [each.text for each in SentenceChunker(Words(words + 2), **settings).chunk(Document(1, text))]


@pytest.fixture(scope="module")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Encoders with WordPiece, with bytes in pairs, with a tokenizer that is slow, and of another library."""
    folder = tmp_path_factory.mktemp("checkpoints")
    given: dict[str, Any] = {"device": "cpu", "local_files_only": True}
    bert, roberta = tiny_bert(folder / "bert"), tiny_roberta(folder / "roberta")
    library = MultiVectorEncoder(str(build("stanford-bert", folder / "stanford")), **given)
    return {
        "bert": ColbertEncoder.from_pretrained(bert, document_length=16, document_prefix="document", **given),
        "prompt": ColbertEncoder.from_pretrained(bert, document_length=16, prompts={"document": "the text: "}, **given),
        "split": ColbertEncoder.from_pretrained(bert, document_length=16, long_documents="split", **given),
        "roberta": ColbertEncoder.from_pretrained(roberta, document_length=24, **given),
        "slow": ColbertEncoder.from_pretrained(tiny_byt5(folder / "byt5"), document_length=24, **given),
        "library": SentenceTransformersEncoder(library),
    }


# --- the tokens that an encoder counts --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["bert", "prompt", "split", "roberta", "slow", "library"])
def test_counts_are_the_tokenizers_own(encoders: dict[str, Any], name: str) -> None:
    encoder = encoders[name]
    texts = ["", "the cat", ("The dog, the tree and the river. " * 9).strip(), "é🙂語" * 20]
    tokenizer = encoder._model.tokenizer if name == "library" else encoder.checkpoint.tokenizer
    before = {"bert": "", "prompt": "the text: "}.get(name, "")
    expected = [len(tokenizer(before + text, truncation=False)["input_ids"]) for text in texts]
    more = int(name in {"bert", "library"})  # the prefix
    assert encoder.count_tokens(texts).tolist() == [count + more for count in expected]


@pytest.mark.parametrize("name", ["bert", "prompt", "roberta", "slow", "library"])
def test_a_text_is_truncated_exactly_if_it_has_more_tokens_than_the_length(encoders: dict[str, Any], name: str) -> None:
    encoder = encoders[name]
    texts = ["cat " * count for count in range(1, encoder.document_length + 4)]
    too_long = encoder.count_tokens(texts) > encoder.document_length
    assert 0 < too_long.sum() < len(texts)
    with pytest.warns(match="longer than the encoder's maximum"):
        assert encoder.encode_documents(texts).truncated.tolist() == too_long.tolist()


@pytest.mark.parametrize("name", ["bert", "prompt", "split", "roberta", "slow"])
@pytest.mark.parametrize("overlap", [0, 1, 3])
def test_every_character_is_in_a_passage_that_the_encoder_reads(
    encoders: dict[str, Any], name: str, overlap: int
) -> None:
    encoder = encoders[name]
    chunker = SentenceChunker(encoder, overlap=overlap)

    @settings(max_examples=25, deadline=None, derandomize=True, database=None)
    @given(text=TEXT)
    def check(text: str) -> None:
        passages = chunker.chunk(Document(1, text))
        assert [text[each.start : each.end] for each in passages] == [each.text for each in passages]
        assert all(each.text == each.text.strip() != "" for each in passages)
        covered = {position for each in passages for position in range(each.start, each.end)}
        assert {position for position, each in enumerate(text) if not each.isspace()} <= covered
        assert [each.start for each in passages] == sorted({each.start for each in passages})
        assert [each.end for each in passages] == sorted({each.end for each in passages})
        longer = [each for each in passages if len(each.text) > 1]  # one character cannot be divided
        assert max(encoder.count_tokens([each.text for each in longer]), default=0) <= encoder.document_length
        assert overlap or sum(len(each.text) for each in passages) == len(covered)

    check()


# --- the boundaries ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two! Three? Four… Five", ["One.", "Two!", "Three?", "Four…", "Five"]),
        ("Dr. Smith et al. paid 3.14 vs. 2. Then he left.", ["Dr. Smith et al. paid 3.14 vs. 2. Then he left."]),
        ("J. R. R. Tolkien wrote it, e.g. on p. 12. of it.", ["J. R. R. Tolkien wrote it, e.g. on p. 12. of it."]),
        ("See example.com/a.b. Then v1.2.3 came.", ["See example.com/a.b.", "Then v1.2.3 came."]),
        ("It was 1984. War is peace.", ["It was 1984.", "War is peace."]),
        ('"Stop!" He stopped. (Really.) Yes.', ['"Stop!"', "He stopped.", "(Really.)", "Yes."]),
        ("Wait... and see. Wait... See.", ["Wait... and see.", "Wait...", "See."]),
        ("Vgl. z.B. Abb. 3 am 3. Oktober. Ende.", ["Vgl. z.B. Abb. 3 am 3. Oktober.", "Ende."]),
        ("日本語です。次の文！「終わり？」はい。", ["日本語です。", "次の文！", "「終わり？」", "はい。"]),
        ("ठीक है। अच्छा।", ["ठीक है।", "अच्छा।"]),
        ("هل هذا؟ نعم. لا.", ["هل هذا؟", "نعم.", "لا."]),
        ("A title\n\nIts text\ngoes on.\n", ["A title", "Its text\ngoes on."]),
        ("Text\n# Head. Line\nMore\n", ["Text", "# Head. Line", "More"]),
        ("- a. b\n- c\n  d\n2) e\n", ["- a. b", "- c\n  d", "2) e"]),
        ("| a | b |\n|---|---|\n| 1. x | 2 |\n", ["| a | b |", "|---|---|", "| 1. x | 2 |"]),
        ("Run:\n```python\na = 1.\n\n# b. C\n```\nDone.", ["Run:", "```python\na = 1.\n\n# b. C\n```", "Done."]),
        ("~~~\nnever. Closed\n\nX. Y", ["~~~\nnever. Closed\n\nX. Y"]),
    ],
)
def test_sentences(text: str, expected: list[str]) -> None:
    units = split_sentences(text)
    assert "".join(text[each.start : each.end] for each in units) == text
    assert [text[each.start : each.end].strip() for each in units] == expected


@pytest.mark.parametrize(
    "part", [".", "?.", "`", "```\n", "~~~\n```\n", "#", "\n", " \n", "- ", "a.b", ". ", "\t", "。"]
)
def test_long_texts_of_one_kind_take_linear_time(part: str) -> None:
    text = part * (60_000 // len(part))
    units = split_sentences(text)  # minutes, if a pattern went back over it
    assert (units[0].start, units[-1].end) == (0, len(text))


# --- packing ----------------------------------------------------------------------------------------------------------


def test_passages_are_full_and_repeat_the_last_sentence() -> None:
    text = "A b cat. D e fox. G h imp. J k lion. M n owl."
    assert chunk(text, 6, overlap=0) == ["A b cat. D e fox.", "G h imp. J k lion.", "M n owl."]
    assert chunk(text, 6) == ["A b cat. D e fox.", "D e fox. G h imp.", "G h imp. J k lion.", "J k lion. M n owl."]
    three = ["A b cat. D e fox. G h imp.", "D e fox. G h imp. J k lion.", "G h imp. J k lion. M n owl."]
    assert chunk(text, 9, overlap=2) == three


def test_a_sentence_that_leaves_no_room_is_not_repeated() -> None:
    assert chunk("A bee. C d e f gnu. H i jay.", 7) == ["A bee. C d e f gnu.", "H i jay."]


def test_a_heading_goes_with_the_text_after_it() -> None:
    assert chunk("A b cat. D emu.\n\n## F\n\nG h i jay. K lot.", 8) == ["A b cat. D emu.", "## F\n\nG h i jay. K lot."]
    assert chunk("# A\n## B\nC dog. E fox.\n# G\nH it. J kit.", 8) == ["# A\n## B\nC dog. E fox.", "# G\nH it. J kit."]


def test_short_sections_share_a_passage() -> None:
    assert chunk("# A\nB.\n# C\nD.\n# E\nF.", 100) == ["# A\nB.\n# C\nD.\n# E\nF."]


def test_long_sentences_are_divided_between_lines_words_and_characters() -> None:
    assert chunk("a b c d e f g", 3, overlap=0) == ["a b c", "d e f", "g"]
    assert chunk("```\na b\nc d\ne f\n```", 4, overlap=0) == ["```\na b", "c d\ne f", "```"]

    class Characters(Words):
        def count_tokens(self, texts: Sequence[str]) -> list[int]:
            return list(map(len, texts))

    found = SentenceChunker(Characters(4), overlap=0).chunk(Document(1, "abcdefghij"))
    assert "".join(each.text for each in found) == "abcdefghij"
    assert max(len(each.text) for each in found) <= 4


def test_the_tokenizer_is_called_a_few_times_for_a_document() -> None:
    words = Words(64)
    chunker = SentenceChunker(words)
    before = words.calls
    passages = chunker.chunk(Document(1, "The cat sat on the mat. " * 5_000))
    assert len(passages) > 500
    assert words.calls - before <= 3


def test_the_same_document_has_the_same_passages(encoders: dict[str, Any]) -> None:
    text = " ".join(random.Random(0).choices(["The cat.", "A dog", "in the tree!", "# river", "\n\n"], k=300))
    one, other = (SentenceChunker(encoders["bert"]).chunk(Document(1, text)) for _ in "ab")
    assert one == other


# --- bad arguments ----------------------------------------------------------------------------------------------------


def test_an_encoder_that_cannot_count() -> None:
    with pytest.raises(ConfigurationError, match="WordEncoder, which lacks count_tokens and document_length: pass a"):
        SentenceChunker(WordEncoder())  # type: ignore[arg-type]


def test_an_encoder_that_counts_something_else() -> None:
    class Wrong(Words):
        def count_tokens(self, texts: Sequence[str]) -> list[int]:
            return [1, 2]

    with pytest.raises(ConfigurationError, match=r"count_tokens of Wrong returned .* for 1 texts: make it return one"):
        SentenceChunker(Wrong(8))


def test_budgets() -> None:
    with pytest.raises(ConfigurationError, match="max_tokens=9 exceeds the 8 tokens"):
        SentenceChunker(Words(8), max_tokens=9)
    with pytest.raises(ConfigurationError, match="max_tokens=2 leaves no room for text besides 2 special tokens"):
        SentenceChunker(Words(8), max_tokens=2)
    with pytest.raises(ConfigurationError, match="overlap"):
        SentenceChunker(Words(8), overlap=-1)


def test_texts_that_are_not_unicode() -> None:
    with pytest.raises(InvalidDocumentError, match=r"the text of document 1 is .* not valid Unicode"):
        SentenceChunker(Words(8)).chunk(Document(1, "\ud800"))


def test_a_passage_has_a_span() -> None:
    with pytest.raises(ConfigurationError, match="end"):
        Passage(text="a", start=3, end=2)


def test_any_object_with_the_method_is_a_chunker() -> None:
    assert isinstance(SentenceChunker(Words(8)), Chunker)
