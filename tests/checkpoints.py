"""Tiny checkpoints with random weights and vocabularies of their own, made without any download."""

from __future__ import annotations

import string
from typing import TYPE_CHECKING, Any, Final

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    BertConfig,
    BertModel,
    ByT5Tokenizer,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaModel,
    T5Config,
    T5EncoderModel,
)

if TYPE_CHECKING:
    from pathlib import Path

WORDS: Final = (
    *("the", "of", "and", "to", "in", "is", "it", "for", "on", "with", "as", "at", "by", "from", "or", "an", "be"),
    *("query", "document", "token", "vector", "search", "index", "point", "score", "rank", "text", "model", "word"),
    *("language", "library", "python", "fast", "slow", "good", "bad", "cat", "dog", "tree", "river"),
)

_SHAPE: Final[dict[str, Any]] = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    # far more than usual: attention has to matter, or a test could not see padding or truncation done wrong
    "initializer_range": 0.3,
}


def tiny_bert(path: Path, *, seed: int = 0, positions: int = 64) -> Path:
    """Save a BERT with WordPiece tokens for common words, single letters, digits and punctuation.

    Args:
        path: Folder to save it in.
        seed: Decides the weights.
        positions: Longest input in tokens.
    """
    characters = string.ascii_lowercase + string.digits
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *string.punctuation, *characters]
    tokens += [f"##{character}" for character in characters] + list(WORDS)
    vocabulary = {token: number for number, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", vocabulary["[SEP]"]), ("[CLS]", vocabulary["[CLS]"]))
    _fast_tokenizer(
        tokenizer,
        model_max_length=positions,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    ).save_pretrained(path)
    config = BertConfig(vocab_size=len(tokens), max_position_embeddings=positions, **_SHAPE)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        BertModel(config).save_pretrained(path)
    return path


def tiny_roberta(path: Path, *, seed: int = 0) -> Path:
    """Save a RoBERTa with byte-level BPE, whose positions start at 2: it takes 64 tokens and has 66 positions.

    Args:
        path: Folder to save it in.
        seed: Decides the weights.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([" ".join(WORDS), *WORDS, "good ... cat ... !! dog !! tree , river ."], trainer)
    tokenizer.post_processor = processors.RobertaProcessing(
        ("</s>", special.index("</s>")), ("<s>", special.index("<s>")), add_prefix_space=False
    )
    _fast_tokenizer(
        tokenizer,
        model_max_length=64,
        bos_token="<s>",
        eos_token="</s>",
        cls_token="<s>",
        sep_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        mask_token="<mask>",
    ).save_pretrained(path)
    config = RobertaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        max_position_embeddings=66,
        bos_token_id=special.index("<s>"),
        pad_token_id=special.index("<pad>"),
        eos_token_id=special.index("</s>"),
        **_SHAPE,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        RobertaModel(config).save_pretrained(path)
    return path


def tiny_byt5(path: Path, *, seed: int = 0) -> Path:
    """Save the encoder of a T5 over bytes, whose tokenizer is plain Python: there is no tokenizer.json.

    Args:
        path: Folder to save it in.
        seed: Decides the weights.
    """
    tokenizer: Any = ByT5Tokenizer()  # its methods have no annotations
    tokenizer.save_pretrained(path)
    config = T5Config(vocab_size=len(tokenizer), d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        T5EncoderModel(config).save_pretrained(path)
    return path


def _fast_tokenizer(tokenizer: Tokenizer, **arguments: Any) -> PreTrainedTokenizerFast:
    fast: Any = PreTrainedTokenizerFast  # its constructor has no annotations
    made: PreTrainedTokenizerFast = fast(tokenizer_object=tokenizer, **arguments)
    return made
