"""Tokenizes texts as the checkpoint was trained: prompt, prefix, truncation, expansion and kept tokens."""

from __future__ import annotations

import string
import threading
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from tokenizers import Encoding, Tokenizer, normalizers

from colbert_qdrant.encoders.spans import LongTexts, TokenSpan
from colbert_qdrant.errors import CheckpointError, ConfigurationError, InvalidDocumentError, InvalidQueryError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from transformers import PreTrainedTokenizerBase

    from colbert_qdrant.encoders.checkpoint.spec import CheckpointSpec, Side

_SUBWORD_MARKERS: Final = ("##", "▁", "Ġ")
_OVERLAP: Final = 4
"""The windows of a split document overlap by a quarter of their length."""


@dataclass(frozen=True, kw_only=True)
class TokenizedTexts:
    """A ragged batch of token ids: the windows of all texts, concatenated in flat arrays.

    A text is one window, or several windows if it was split.

    Args:
        ids: The token ids of all windows, including expansion.
        lengths: The number of tokens in each window.
        attended: The number of leading tokens in each window that the model attends to.
        kept: A mask of the ``ids`` that produce a vector.
        text: The number of the text that each window belongs to.
        truncated: A mask of the texts that were truncated.
    """

    ids: NDArray[np.int64]
    lengths: NDArray[np.int64]
    attended: NDArray[np.int64]
    kept: NDArray[np.bool_]
    text: NDArray[np.int64]
    truncated: NDArray[np.bool_]

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """The index in ``ids`` at which each window begins."""
        return np.cumsum(self.lengths) - self.lengths

    @cached_property
    def result_rows(self) -> NDArray[np.int64]:
        """The row of the result for each kept token."""
        return np.cumsum(self.kept) - 1

    @property
    def rows(self) -> NDArray[np.int64]:
        """The number of vectors of each text."""
        owners = np.repeat(self.text, self.lengths)
        return np.bincount(owners[self.kept], minlength=len(self.truncated))


class SideTokenizer:
    """Tokenizes the texts of one side of a checkpoint; it is thread-safe.

    It does not change the checkpoint's tokenizer. With ``long_texts="truncate"``, long texts are truncated; with
    ``"split"``, they become overlapping windows.

    Raises:
        CheckpointError: If a token that the checkpoint names is not in the vocabulary.
        ConfigurationError: If the length leaves no room for text, or the tokenizer cannot split texts.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        spec: CheckpointSpec,
        side: Side,
        *,
        long_texts: LongTexts = "truncate",
    ) -> None:
        self._spec = spec
        self._side = side
        self._tokenizer = tokenizer
        self._slow = threading.Lock()
        self._error = InvalidQueryError if side is spec.query else InvalidDocumentError
        self._prefix = None if side.prefix is None else token_id(tokenizer, side.prefix, "prefix")
        self._filler = _filler(tokenizer, side)
        self._length = side.length - (self._prefix is not None)
        specials = tokenizer.num_special_tokens_to_add()
        if self._length <= specials:
            raise ConfigurationError(
                f"a length of {side.length} tokens leaves no room for text besides the special tokens: use at least "
                f"{specials + 1 + side.length - self._length}"
            )
        self._overlap = max(1, (self._length - specials) // _OVERLAP) if long_texts == "split" else 0
        if self._length - specials <= self._overlap:
            raise ConfigurationError(
                f"long_documents='split' needs overlapping windows, but a length of {side.length} leaves room for only "
                f"one token besides the special tokens: use a length of at least {side.length + 1}"
            )
        self._fast = _fast_tokenizer(tokenizer, spec)
        if self._fast is not None:
            direction = "right" if self._overlap else tokenizer.truncation_side
            self._fast.enable_truncation(self._length, stride=self._overlap, direction=direction)
            self._front, self._back = _special_positions(self._fast)
        elif self._overlap:
            raise ConfigurationError(
                f"long_documents='split' needs a tokenizer.json, which {type(tokenizer).__name__} does not have: use "
                "'truncate'"
            )
        self._drop_tables = _make_drop_tables(tokenizer, side)

    def __call__(self, texts: Sequence[str]) -> TokenizedTexts:
        """Tokenize texts, in order.

        Raises:
            InvalidDocumentError, InvalidQueryError: If a text has no tokens, or the tokenizer cannot read it.
        """
        prepared = [self._prepare(each) for each in texts]
        try:
            windows, text, truncated = self._windows(prepared)
        except (TypeError, UnicodeEncodeError) as error:
            number = next((number for number, each in enumerate(texts) if not _is_unicode(each)), None)
            if number is None:
                raise
            raise self._error(
                f"text {number} ({texts[number]!r}) has a lone surrogate, which is not a character: decode the text "
                "again, or replace the surrogate"
            ) from error
        raw = np.fromiter(map(len, windows), np.int64, len(windows))
        attended = raw + (self._prefix is not None)
        if np.any(attended == 0):
            number = int(text[np.argmax(attended == 0)])
            raise self._error(f"text {number} ({texts[number]!r}) has no tokens: leave it out")
        expansion = self._side.expansion
        lengths = attended if expansion is None else np.maximum(attended, expansion.length)
        ids = self._ids(windows, raw, lengths)
        tokenized = TokenizedTexts(
            ids=ids,
            lengths=lengths,
            attended=lengths if expansion is not None and expansion.attend else attended,
            kept=self._mark_unrepeated(raw, lengths, text),
            text=text,
            truncated=truncated,
        )
        return self._leave_out_listed(tokenized)

    def count(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """Count the tokens of texts before truncation, with special tokens, prompt and prefix, without expansion."""
        prepared = [self._prepare(each) for each in texts]
        if self._fast is None:
            with self._slow:
                call: Any = self._tokenizer
                counts = [len(call(each, truncation=False)["input_ids"]) for each in prepared]
        else:
            counts = list(map(self._count_windows, self._fast.encode_batch_fast(prepared)))
        return np.array(counts, np.int64) + (self._prefix is not None)

    def _count_windows(self, encoding: Encoding) -> int:
        """Count the tokens of all windows of a text once."""
        length = len(encoding)
        if length < self._length:  # which avoids copying the other windows
            return length
        repeated = self._tokenizer.num_special_tokens_to_add() + self._overlap
        return length + sum(len(each) - repeated for each in encoding.overflowing)

    def spans(self, texts: Sequence[str]) -> list[list[TokenSpan]]:
        """Return the span of each kept token in its text, in the order of the vectors.

        Raises:
            ConfigurationError: If the tokenizer does not record positions.
        """
        if self._fast is None:
            raise ConfigurationError(
                f"{type(self._tokenizer).__name__} does not record the positions of tokens: use a model with a "
                "tokenizer.json"
            )
        if not texts:
            return []
        tokenized = self(texts)
        encodings: list[Encoding] = []
        for encoding in self._fast.encode_batch([self._prepare(text) for text in texts]):
            encodings += [encoding, *(encoding.overflowing if self._overlap else [])]
        raw = np.fromiter((len(encoding.ids) for encoding in encodings), np.int64, len(encodings))
        offsets = np.zeros((len(tokenized.ids), 2), np.int64)
        offsets[self._positions(raw, tokenized.lengths)] = list(chain.from_iterable(each.offsets for each in encodings))
        owners = np.repeat(tokenized.text, tokenized.lengths)
        origins = [self._origins(text) for text in texts]
        begin = np.cumsum([len(each) for each in origins]) - [len(each) for each in origins]
        origin, real = np.concatenate(origins), offsets[:, 1] > offsets[:, 0]
        offsets[real] += begin[owners[real], None]
        offsets[real, 0], offsets[real, 1] = origin[offsets[real, 0]], origin[offsets[real, 1] - 1] + 1
        offsets = np.where(real[:, None], np.maximum(offsets, 0), 0)
        tokens = self._tokenizer.convert_ids_to_tokens(tokenized.ids[tokenized.kept].tolist())
        spans: list[list[TokenSpan]] = [[] for _ in texts]
        for token, (start, end), owner in zip(
            tokens, offsets[tokenized.kept].tolist(), owners[tokenized.kept].tolist(), strict=True
        ):
            spans[owner].append(TokenSpan(token, start, end))
        return spans

    def _origins(self, text: str) -> NDArray[np.int64]:
        """Return the position of each prepared character in the original text; the prompt has negative positions."""
        prepared = self._side.prompt + text
        origins = np.arange(len(prepared)) - len(self._side.prompt)
        if self._spec.strip:
            first = len(prepared) - len(prepared.lstrip())
            prepared = prepared.strip()
            origins = origins[first : first + len(prepared)]
        if self._spec.lowercase == "text":  # which turns an İ into two characters
            origins = np.repeat(origins, [len(character.lower()) for character in prepared])
        return origins

    def _prepare(self, text: str) -> str:
        text = self._side.prompt + text
        if self._spec.strip:
            text = text.strip()
        return text.lower() if self._spec.lowercase == "text" else text

    def _windows(self, texts: list[str]) -> tuple[list[list[int]], NDArray[np.int64], NDArray[np.bool_]]:
        if self._fast is None:
            return self._windows_slowly(texts)
        encodings: list[Encoding] = self._fast.encode_batch_fast(texts)
        full = [len(encoding) == self._length for encoding in encodings]
        rest = [encoding.overflowing if is_full else [] for encoding, is_full in zip(encodings, full, strict=True)]
        longer = np.array([bool(each) for each in rest], np.bool_)
        if not self._overlap:
            return [encoding.ids for encoding in encodings], np.arange(len(texts)), longer
        windows = [[encoding, *more] for encoding, more in zip(encodings, rest, strict=True)]
        text = np.repeat(np.arange(len(texts)), [len(each) for each in windows])
        return [window.ids for window in chain.from_iterable(windows)], text, np.zeros(len(texts), np.bool_)

    def _windows_slowly(self, texts: list[str]) -> tuple[list[list[int]], NDArray[np.int64], NDArray[np.bool_]]:
        with self._slow:
            call: Any = self._tokenizer
            windows = call(texts, truncation="longest_first", max_length=self._length, padding=False)["input_ids"]
            truncated = [
                len(ids) == self._length and len(call(text)["input_ids"]) > self._length
                for text, ids in zip(texts, windows, strict=True)
            ]
        return windows, np.arange(len(texts)), np.array(truncated, np.bool_)

    def _ids(
        self, windows: Sequence[Sequence[int]], raw: NDArray[np.int64], lengths: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Return flat ids, with the prefix at position 1 and the expansion at the end of every window."""
        ids = np.full(lengths.sum(), self._filler, np.int64)
        if self._prefix is not None:
            ids[np.cumsum(lengths) - lengths + np.minimum(raw, 1)] = self._prefix
        ids[self._positions(raw, lengths)] = np.fromiter(chain.from_iterable(windows), np.int64, raw.sum())
        return ids

    def _positions(self, raw: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the indices of the tokenizer's own tokens in the flat ids, without the prefix and the expansion."""
        positions = _ranges(raw)
        if self._prefix is not None:
            positions += positions > 0
        return positions + np.repeat(np.cumsum(lengths) - lengths, raw)

    def _mark_unrepeated(
        self, raw: NDArray[np.int64], lengths: NDArray[np.int64], text: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        """Mark every token once: each window contributes the half of an overlap that is farther from its edge.

        The special tokens between windows are left out, too, so that a split text has the tokens of one long window.
        """
        kept = np.ones(lengths.sum(), np.bool_)
        if len(text) == 0 or not self._overlap:
            return kept
        position = _ranges(lengths)
        has_previous = np.diff(text, prepend=-1) == 0
        has_next = np.append(has_previous[1:], False)
        front = self._front + (self._prefix is not None)
        first = np.where(has_previous, front + self._overlap - self._overlap // 2, 0)
        last = np.where(has_next, raw + (self._prefix is not None) - self._back - self._overlap // 2, lengths)
        kept &= (position >= np.repeat(first, lengths)) & (position < np.repeat(last, lengths))
        return kept

    def _leave_out_listed(self, tokenized: TokenizedTexts) -> TokenizedTexts:
        """Drop the tokens of the strictest drop table that leaves a text at least one token."""
        owners = np.repeat(tokenized.text, tokenized.lengths)
        kept = np.zeros_like(tokenized.kept)
        left_empty = np.ones(len(tokenized.truncated), np.bool_)
        for table in self._drop_tables:
            allowed = tokenized.kept & ~table[tokenized.ids]
            kept |= allowed & left_empty[owners]
            left_empty &= np.bincount(owners[kept], minlength=len(left_empty)) == 0
            if not left_empty.any():
                break
        else:
            kept |= tokenized.kept & left_empty[owners]
        return replace(tokenized, kept=kept)


def token_id(tokenizer: PreTrainedTokenizerBase, token: str, role: str) -> int:
    """Return the id of a token.

    Raises:
        CheckpointError: If the token is not in the vocabulary, so that its vector would be random.
    """
    found = tokenizer.convert_tokens_to_ids(token)
    if not isinstance(found, int) or (found == tokenizer.unk_token_id and token != tokenizer.unk_token):
        raise CheckpointError(
            f"the {role} {token!r} is not in the vocabulary of the tokenizer in {tokenizer.name_or_path}, so its "
            "vector would be random: download tokenizer.json again, or correct the name in the checkpoint's settings. "
            "If PyLate could not add its prefixes, the model was trained with the unknown token: pass query_prefix and "
            f"document_prefix={tokenizer.unk_token!r}"
        )
    return found


def _filler(tokenizer: PreTrainedTokenizerBase, side: Side) -> int:
    if side.expansion is None:
        return 0
    if side.expansion.token is not None:
        return token_id(tokenizer, side.expansion.token, "expansion token")
    for found in (tokenizer.mask_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id):
        if isinstance(found, int):
            return found
    raise CheckpointError(
        "the checkpoint expands queries, but its tokenizer has no mask token: download tokenizer_config.json again"
    )


def _fast_tokenizer(tokenizer: PreTrainedTokenizerBase, spec: CheckpointSpec) -> Tokenizer | None:
    """Return a copy of the fast tokenizer, so that its truncation can be set permanently."""
    backend: Tokenizer | None = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return None
    own: Tokenizer = Tokenizer.from_str(backend.to_str())
    own.no_padding()
    # the reference libraries always add the prefixes, so a text that spells one out has its token
    own.add_tokens([side.prefix for side in (spec.query, spec.document) if side.prefix])
    if spec.lowercase == "tokenizer" and not _lowercases(own.normalizer):
        own.normalizer = normalizers.Sequence([normalizers.Lowercase(), *_parts(own.normalizer)])
    return own


def _lowercases(normalizer: Any) -> bool:
    return any(isinstance(part, normalizers.Lowercase) for part in _parts(normalizer))


def _parts(normalizer: Any) -> list[Any]:
    if normalizer is None:
        return []
    sequence: Any = normalizer  # a sequence is iterable, although its types do not declare it
    return list(sequence) if isinstance(normalizer, normalizers.Sequence) else [normalizer]


def _special_positions(tokenizer: Tokenizer) -> tuple[int, int]:
    """Count the special tokens before and after a text."""
    specials = tokenizer.encode("a").special_tokens_mask
    front = specials.index(0) if 0 in specials else len(specials)
    return front, specials[::-1].index(0) if 0 in specials else 0


def _make_drop_tables(tokenizer: PreTrainedTokenizerBase, side: Side) -> list[NDArray[np.bool_]]:
    """Make the drop tables: masks over the vocabulary, from the strictest to the most lenient."""
    size = max(tokenizer.get_vocab().values()) + 1
    special = set(tokenizer.all_special_ids) if side.skip_special else set()
    listed = {tokenizer.convert_tokens_to_ids(word) for word in side.skiplist}
    # a word outside the vocabulary must not drop every unknown token of a document
    listed -= {None} if tokenizer.unk_token in side.skiplist else {None, tokenizer.unk_token_id}
    if side.skip_punctuation:
        listed |= {id for token, id in tokenizer.get_vocab().items() if _is_punctuation(token)}
    tables = []
    for ids in (special | listed, special):
        table = np.zeros(size, np.bool_)
        table[list(ids)] = True
        tables.append(table)
    if side.keep_only:
        table = np.ones(size, np.bool_)
        table[[id for id in side.keep_only if id < size]] = False
        tables.insert(0, tables[0] | table)
    return tables


def _is_punctuation(token: str) -> bool:
    for marker in _SUBWORD_MARKERS:
        token = token.removeprefix(marker) or token
    return bool(token) and all(character in string.punctuation for character in token)


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _ranges(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return ``0, 1, … length − 1`` for every length, concatenated."""
    starts = np.cumsum(lengths) - lengths
    return np.arange(lengths.sum()) - np.repeat(starts, lengths)
