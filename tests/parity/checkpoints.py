"""Tiny late-interaction checkpoints in the layouts that PyLate, the Stanford code and Sentence Transformers write.

Weights, vocabularies and files are the same wherever this runs: the weights come from numpy's legacy generator, whose
stream never changes, tensor by tensor in the order of their names on disk; vocabularies and merges are listed, not
trained; configurations are written out and not made by a library.
"""

from __future__ import annotations

import json
import string
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from safetensors.numpy import save_file
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    Shapes = dict[str, tuple[int, ...]]
    Weights = dict[str, np.ndarray[Any, np.dtype[Any]]]

_WORDS: Final = (
    *("the", "of", "and", "to", "in", "is", "it", "for", "on", "with", "as", "at", "by", "from", "or", "an", "be"),
    *("query", "document", "token", "vector", "search", "index", "point", "score", "rank", "text", "model", "word"),
    *("language", "library", "python", "fast", "slow", "good", "bad", "cat", "dog", "tree", "river", "what"),
)
_PUNCTUATION: Final = list(string.punctuation)
_HIDDEN: Final = 16
_INTERMEDIATE: Final = 32
_LAYERS: Final = 2
_HEADS: Final = 2
_POSITIONS: Final = 64
_IDENTITY: Final = "torch.nn.modules.linear.Identity"
_GELU: Final = "torch.nn.modules.activation.GELU"


def build(name: str, folder: Path) -> Path:
    """Write a checkpoint.

    Args:
        name: One of `NAMES`.
        folder: Where to write it; made if it is missing.

    Returns:
        The folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _BUILDERS[name](folder)
    return folder


# --- PyLate -----------------------------------------------------------------------------------------------------------


def _pylate_bert(folder: Path) -> None:
    """As PyLate 1.6 writes it: prefixes are added tokens that are neither special nor exempt from lowercasing."""
    prefixes = ("[Q] ", "[D] ")
    size = _wordpiece(folder, added=[AddedToken(prefix, normalized=True, special=False) for prefix in prefixes])
    _tokenizer_config(folder, **{**_BERT_TOKENIZER, "backend": "tokenizers", "pad_token": "[MASK]"})
    _write(folder / "config.json", _bert_config(size))
    _pylate_files(folder, dense=["pylate.models.Dense.Dense"], query_length=16, document_length=24)
    _dense_config(folder, 1, out=8)
    _save(folder, seed=1, backbone=_bert_shapes(size), heads={"1_Dense": {"linear.weight": (8, _HIDDEN)}})


def _pylate_attend(folder: Path) -> None:
    """As the first PyLate releases wrote it: no model type, a Dense of Sentence Transformers, its limit in the way."""
    prefixes = ("[Q] ", "[D] ")
    size = _wordpiece(folder, added=[AddedToken(prefix, normalized=True, special=False) for prefix in prefixes])
    _tokenizer_config(folder, **_BERT_SPECIAL)
    _write(folder / "config.json", _bert_config(size))
    _pylate_files(
        folder,
        dense=["sentence_transformers.models.Dense"],
        model_type=None,
        query_length=12,
        document_length=28,
        attend_to_expansion_tokens=True,
        # "colbert" is no token: its number is that of the unknown token
        skiplist_words=[".", ",", "the", "colbert"],
        max_seq_length=20,
    )
    _dense_config(folder, 1, out=10, residual=None)
    _save(folder, seed=2, backbone=_bert_shapes(size), heads={"1_Dense": {"linear.weight": (10, _HIDDEN)}})


def _pylate_modernbert(folder: Path) -> None:
    """As PyLate wrote it with transformers 4: flags of added tokens beside the tokenizer, older names of settings."""
    added = [AddedToken(prefix, normalized=True, special=False) for prefix in ("[Q] ", "[D] ")]
    tokens = _modernbert_bpe(folder, added=added)
    special = {token: number for number, token in enumerate(_MODERNBERT_SPECIAL_TOKENS)}
    decoder = {str(number): _flags(token, lstrip=token == "[MASK]") for token, number in special.items()}
    for token in added:
        decoder[str(tokens[token.content])] = _flags(token.content, normalized=True, special=False)
    named = {**_BERT_SPECIAL, "pad_token": "[MASK]"}
    _tokenizer_config(
        folder,
        tokenizer_class="PreTrainedTokenizerFast",
        added_tokens_decoder=decoder,
        clean_up_tokenization_spaces=True,
        model_input_names=["input_ids", "attention_mask"],
        **named,
    )
    _write(folder / "special_tokens_map.json", named)
    config = _modernbert_config(len(tokens), special)
    config |= {"global_attn_every_n_layers": 3, "global_rope_theta": 160000.0, "local_rope_theta": 10000.0}
    config |= {"torch_dtype": "float32", "transformers_version": "4.48.2", "position_embedding_type": "absolute"}
    _write(folder / "config.json", config)
    _pylate_files(
        folder,
        dense=["pylate.models.Dense.Dense"],
        model_type=None,
        prompts={},
        query_length=18,
        document_length=26,
        max_seq_length=25,
    )
    _dense_config(folder, 1, out=12, residual=None)
    heads: dict[str, Shapes] = {"1_Dense": {"linear.weight": (12, _HIDDEN)}}
    _save(folder, seed=3, backbone=_modernbert_shapes(len(tokens)), heads=heads)


def _pylate_stack(folder: Path) -> None:
    """Three Dense modules stored by torch, no query expansion, and texts that are lowercased before the tokenizer."""
    added = [AddedToken(prefix, normalized=True, special=False) for prefix in ("[Q] ", "[D] ")]
    size = _wordpiece(folder, lowercase=False, added=added)
    _tokenizer_config(folder, **{**_BERT_SPECIAL, "pad_token": "[MASK]"})
    _write(folder / "config.json", _bert_config(size))
    _pylate_files(
        folder,
        dense=["pylate.models.Dense.Dense"] * 3,
        query_length=14,
        document_length=22,
        do_query_expansion=False,
        do_lower_case=True,
    )
    _dense_config(folder, 1, out=24, residual=True)
    _dense_config(folder, 2, into=24, out=24, bias=True, activation=_GELU, residual=True)
    _dense_config(folder, 3, into=24, out=12)
    _save(
        folder,
        seed=4,
        backbone=_bert_shapes(size),
        heads={
            "1_Dense": {"linear.weight": (24, _HIDDEN), "residual.weight": (24, _HIDDEN)},
            "2_Dense": {"linear.weight": (24, 24), "linear.bias": (24,)},
            "3_Dense": {"linear.weight": (12, 24)},
        },
        pickled=True,
    )


def _pylate_prompts(folder: Path) -> None:
    """RoBERTa, whose positions start at 2, without prefixes and with prompts."""
    size = _roberta_bpe(folder)
    _tokenizer_config(
        folder, model_input_names=["input_ids", "attention_mask"], **{**_ROBERTA_SPECIAL, "pad_token": "<mask>"}
    )
    _write(folder / "config.json", _roberta_config(size))
    _pylate_files(
        folder,
        dense=["pylate.models.Dense.Dense"],
        prompts={"query": "search_query: ", "document": "search_document: "},
        query_prefix="",
        document_prefix="",
        query_length=20,
        document_length=24,
    )
    _dense_config(folder, 1, out=8)
    heads: dict[str, Shapes] = {"1_Dense": {"linear.weight": (8, _HIDDEN)}}
    _save(folder, seed=5, backbone=_roberta_shapes(size), heads=heads)


# --- Stanford ---------------------------------------------------------------------------------------------------------


def _stanford_bert(folder: Path) -> None:
    """As colbert-ai writes it: one file of weights, the projection among them, and settings in artifact.metadata."""
    size = _stanford_tokenizer(folder)
    config = {**_bert_config(size), "architectures": ["HF_ColBERT"], "torch_dtype": "float32"}
    _write(folder / "config.json", {**config, "transformers_version": "4.10.0"})
    _write(folder / "artifact.metadata", _artifact(dim=8, query_maxlen=16, doc_maxlen=24, attend=False))
    backbone = {f"bert.{name}": shape for name, shape in _bert_shapes(size).items()}
    _save(folder, seed=6, backbone={**backbone, "linear.weight": (8, _HIDDEN)})


def _stanford_modules(folder: Path) -> None:
    """The same in half precision, beside a list of modules that knows nothing of the projection."""
    size = _stanford_tokenizer(folder)
    config = {**_bert_config(size), "architectures": ["HF_ColBERT"], "torch_dtype": "float16"}
    _write(folder / "config.json", {**config, "transformers_version": "4.38.2"})
    _write(folder / "artifact.metadata", _artifact(dim=12, query_maxlen=14, doc_maxlen=26, attend=True))
    _write(folder / "modules.json", _modules([("", "sentence_transformers.models.Transformer")]))
    _write(folder / "sentence_bert_config.json", {"max_seq_length": _POSITIONS, "do_lower_case": False})
    backbone = {f"bert.{name}": shape for name, shape in _bert_shapes(size).items()}
    _save(folder, seed=7, backbone={**backbone, "linear.weight": (12, _HIDDEN)}, half=True)


def _stanford_tokenizer(folder: Path) -> int:
    size = _wordpiece(folder, unused=4)
    tokens = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    (folder / "vocab.txt").write_text("\n".join(sorted(tokens, key=tokens.__getitem__)) + "\n", encoding="utf-8")
    _tokenizer_config(folder, **_BERT_TOKENIZER)
    _write(folder / "special_tokens_map.json", _BERT_SPECIAL)
    return size


def _artifact(*, dim: int, query_maxlen: int, doc_maxlen: int, attend: bool) -> dict[str, Any]:
    return {
        "query_token_id": "[unused0]",
        "doc_token_id": "[unused1]",
        "query_token": "[Q]",
        "doc_token": "[D]",
        "ncells": None,
        "centroid_score_threshold": None,
        "ndocs": None,
        "index_path": None,
        "nbits": 1,
        "similarity": "cosine",
        "model_name": None,
        "query_maxlen": query_maxlen,
        "attend_to_mask_tokens": attend,
        "interaction": "colbert",
        "dim": dim,
        "doc_maxlen": doc_maxlen,
        "mask_punctuation": True,
        "nranks": 1,
        "amp": True,
    }


# --- Sentence Transformers 6 ------------------------------------------------------------------------------------------


def _mve_fixed(folder: Path) -> None:
    """As Sentence Transformers 6 writes it: prefixes are prompts and special tokens, one module per step."""
    added = [AddedToken(prefix, normalized=False, special=True) for prefix in ("[Q] ", "[D] ")]
    size = _wordpiece(folder, added=added)
    _tokenizer_config(folder, backend="tokenizers", extra_special_tokens=["[Q] ", "[D] "], **_BERT_TOKENIZER)
    _write(folder / "config.json", {**_bert_config(size), "use_cache": False})
    expansion = {"strategy": "fixed", "attend": False, "token": None, "length": 16}
    # with the strategy "fixed" the longer `query_length` decides nothing
    _mve_files(
        folder,
        prompts={"document": "[D] ", "query": "[Q] "},
        lengths={"query_length": 20, "document_length": 24, "query_expansion": expansion},
        skiplist_words=_PUNCTUATION,
        skiplist_tasks=["document"],
    )
    _dense_config(folder, 1, out=8, token_level=True)
    _save(folder, seed=11, backbone=_bert_shapes(size), heads={"1_Dense": {"linear.weight": (8, _HIDDEN)}})


def _mve_min(folder: Path) -> None:
    """Expansion up to a floor with a token of its own, longer queries kept, a skiplist for queries too."""
    size = _roberta_bpe(folder)
    _tokenizer_config(folder, model_input_names=["input_ids", "attention_mask"], **_ROBERTA_SPECIAL)
    _write(folder / "config.json", {**_roberta_config(size), "use_cache": False})
    expansion = {"strategy": "min", "attend": True, "token": "<unk>", "length": 12}
    _mve_files(
        folder,
        prompts={"document": "", "query": ""},
        lengths={"query_length": 20, "document_length": 26, "query_expansion": expansion},
        # tokens of this vocabulary, where a space before a word is part of it
        skiplist_words=[".", ",", "!", "?", "the", "Ġthe"],
        skiplist_tasks=["query", "document"],
    )
    _dense_config(folder, 1, out=10, token_level=True)
    heads: dict[str, Shapes] = {"1_Dense": {"linear.weight": (10, _HIDDEN)}}
    _save(folder, seed=9, backbone=_roberta_shapes(size), heads=heads)


def _mve_pooling(folder: Path) -> None:
    """No expansion, documents pooled to half of their tokens, queries limited by the tokenizer alone."""
    tokens = _modernbert_bpe(folder)
    _tokenizer_config(folder, model_max_length=20, model_input_names=["input_ids", "attention_mask"], **_BERT_SPECIAL)
    config = _modernbert_config(len(tokens), {token: tokens[token] for token in _MODERNBERT_SPECIAL_TOKENS})
    config |= {
        "dtype": "float32",
        "layer_types": ["full_attention", "sliding_attention"],
        "rope_parameters": {
            "full_attention": {"rope_theta": 160000.0, "rope_type": "default"},
            "sliding_attention": {"rope_theta": 10000.0, "rope_type": "default"},
        },
        "transformers_version": "5.24.0",
    }
    _write(folder / "config.json", config)
    _mve_files(
        folder,
        prompts={"document": "", "query": "query: "},
        lengths={"document_length": 24},
        skiplist_words=[],
        skiplist_tasks=["document"],
        pool_factor=2.0,
    )
    _dense_config(folder, 1, out=12, bias=True, activation=_GELU, token_level=True)
    heads: dict[str, Shapes] = {"1_Dense": {"linear.weight": (12, _HIDDEN), "linear.bias": (12,)}}
    _save(folder, seed=10, backbone=_modernbert_shapes(len(tokens)), heads=heads)


_BUILDERS: Final[dict[str, Callable[[Path], None]]] = {
    "pylate-bert": _pylate_bert,
    "pylate-attend": _pylate_attend,
    "pylate-modernbert": _pylate_modernbert,
    "pylate-stack": _pylate_stack,
    "pylate-prompts": _pylate_prompts,
    "stanford-bert": _stanford_bert,
    "stanford-modules": _stanford_modules,
    "mve-fixed": _mve_fixed,
    "mve-min": _mve_min,
    "mve-pooling": _mve_pooling,
}
NAMES: Final[tuple[str, ...]] = tuple(_BUILDERS)
"""The checkpoints that `build` knows."""

# --- Files beside the weights -----------------------------------------------------------------------------------------


def _write(path: Path, content: Mapping[str, Any] | list[Any]) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _modules(parts: Iterable[tuple[str, str]]) -> list[dict[str, Any]]:
    return [{"idx": i, "name": str(i), "path": path, "type": kind} for i, (path, kind) in enumerate(parts)]


def _pylate_files(
    folder: Path,
    *,
    dense: list[str],
    query_length: int,
    document_length: int,
    model_type: str | None = "ColBERT",
    prompts: dict[str, str] | None = None,
    query_prefix: str = "[Q] ",
    document_prefix: str = "[D] ",
    attend_to_expansion_tokens: bool = False,
    skiplist_words: list[str] | None = None,
    do_query_expansion: bool = True,
    max_seq_length: int = _POSITIONS,
    do_lower_case: bool = False,
) -> None:
    parts = [("", "sentence_transformers.models.Transformer")]
    parts += [(f"{number}_Dense", kind) for number, kind in enumerate(dense, start=1)]
    _write(folder / "modules.json", _modules(parts))
    limits = {"max_seq_length": max_seq_length, "do_lower_case": do_lower_case}
    _write(folder / "sentence_bert_config.json", limits)
    versions = {"sentence_transformers": "5.3.0", "transformers": "5.3.0", "pytorch": "2.13.0"}
    _write(
        folder / "config_sentence_transformers.json",
        {
            **({} if model_type is None else {"model_type": model_type}),
            "__version__": versions,
            "prompts": {"query": "", "document": ""} if prompts is None else prompts,
            "default_prompt_name": None,
            "similarity_fn_name": "MaxSim",
            "query_prefix": query_prefix,
            "document_prefix": document_prefix,
            "query_length": query_length,
            "document_length": document_length,
            "attend_to_expansion_tokens": attend_to_expansion_tokens,
            "skiplist_words": _PUNCTUATION if skiplist_words is None else skiplist_words,
            "do_query_expansion": do_query_expansion,
        },
    )


def _mve_files(
    folder: Path,
    *,
    prompts: dict[str, str],
    lengths: dict[str, Any],
    skiplist_words: list[str],
    skiplist_tasks: list[str],
    pool_factor: float | None = None,
) -> None:
    package = "sentence_transformers"
    parts = [
        ("", f"{package}.base.modules.transformer.Transformer"),
        ("1_Dense", f"{package}.base.modules.dense.Dense"),
        ("2_MultiVectorMask", f"{package}.multi_vector_encoder.modules.multi_vector_mask.MultiVectorMask"),
        ("3_Normalize", f"{package}.base.modules.normalize.Normalize"),
    ]
    token_level = {"module_input_name": "token_embeddings", "module_output_name": "token_embeddings"}
    mask = {"skiplist_words": skiplist_words, "skiplist_tasks": skiplist_tasks, "keep_only_token_ids": None}
    _write(folder / "2_MultiVectorMask" / "config.json", mask)
    _write(folder / "3_Normalize" / "config.json", token_level)
    if pool_factor is not None:
        pooling = "HierarchicalTokenPooling"
        parts.append((f"4_{pooling}", f"{package}.multi_vector_encoder.modules.token_pooling.{pooling}"))
        _write(
            folder / f"4_{pooling}" / "config.json",
            {
                "pool_factor": pool_factor,
                "num_protected_tokens": 1,
                "normalize_embeddings": True,
                "tasks": ["document"],
            },
        )
    _write(folder / "modules.json", _modules(parts))
    _write(
        folder / "sentence_bert_config.json",
        {
            "transformer_task": "feature-extraction",
            "modality_config": {"text": {"method": "forward", "method_output_name": "last_hidden_state"}},
            "module_output_name": "token_embeddings",
            **lengths,
        },
    )
    versions = {"pytorch": "2.13.0", "sentence_transformers": "6.2.0", "transformers": "5.24.0"}
    _write(
        folder / "config_sentence_transformers.json",
        {
            "__version__": versions,
            "default_prompt_name": None,
            "model_type": "MultiVectorEncoder",
            "prompts": prompts,
            "similarity_fn_name": None,
        },
    )


def _dense_config(
    folder: Path,
    number: int,
    *,
    out: int,
    into: int = _HIDDEN,
    bias: bool = False,
    activation: str = _IDENTITY,
    residual: bool | None = False,
    token_level: bool = False,
) -> None:
    config: dict[str, Any] = {"in_features": into, "out_features": out, "bias": bias, "activation_function": activation}
    if token_level:
        config |= {"module_input_name": "token_embeddings", "module_output_name": "token_embeddings"}
    elif residual is not None:
        config["use_residual"] = residual
    _write(folder / f"{number}_Dense" / "config.json", config)


# --- Tokenizers -------------------------------------------------------------------------------------------------------

_BERT_SPECIAL: Final = {
    "cls_token": "[CLS]",
    "mask_token": "[MASK]",
    "pad_token": "[PAD]",
    "sep_token": "[SEP]",
    "unk_token": "[UNK]",
}
# a class whose tokenizers number the segments of a text, unlike the class without a model
_BERT_TOKENIZER: Final = {
    **_BERT_SPECIAL,
    "do_lower_case": True,
    "strip_accents": None,
    "tokenize_chinese_chars": True,
    "tokenizer_class": "BertTokenizer",
}
_ROBERTA_SPECIAL: Final = {
    "bos_token": "<s>",
    "cls_token": "<s>",
    "eos_token": "</s>",
    "mask_token": "<mask>",
    "pad_token": "<pad>",
    "sep_token": "</s>",
    "unk_token": "<unk>",
}
_MODERNBERT_SPECIAL_TOKENS: Final = ("[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]")
_SPLIT: Final = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


def _tokenizer_config(folder: Path, **settings: Any) -> None:
    defaults = {"backend": "tokenizers", "model_max_length": _POSITIONS, "tokenizer_class": "TokenizersBackend"}
    if "tokenizer_class" in settings:
        del defaults["backend"]
    _write(folder / "tokenizer_config.json", {**defaults, **settings})


def _flags(token: str, *, lstrip: bool = False, normalized: bool = False, special: bool = True) -> dict[str, Any]:
    flags = {"lstrip": lstrip, "normalized": normalized, "rstrip": False, "single_word": False, "special": special}
    return {"content": token, **flags}


def _wordpiece(folder: Path, *, lowercase: bool = True, added: Iterable[AddedToken] = (), unused: int = 0) -> int:
    """Save a WordPiece tokenizer of common words, letters, digits and punctuation, and return the number of tokens."""
    special = ["[PAD]", *(f"[unused{number}]" for number in range(unused)), "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    # the dot of a lowercased İ stays where accents are not stripped
    characters = string.ascii_lowercase + string.digits + "àéüï\u0307"
    tokens = [*special, *string.punctuation, *characters, *(f"##{character}" for character in characters), *_WORDS]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(token, vocabulary[token]) for token in ("[CLS]", "[SEP]")],
    )
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in special if "unused" not in token])
    return len(_finish(tokenizer, folder, added))


def _modernbert_bpe(folder: Path, *, added: Iterable[AddedToken] = ()) -> dict[str, int]:
    """Save the byte-level tokenizer of a ModernBERT and return its tokens with their numbers."""
    tokenizer, vocabulary = _byte_level(_MODERNBERT_SPECIAL_TOKENS)
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(token, vocabulary[token]) for token in ("[CLS]", "[SEP]")],
    )
    tokenizer.add_special_tokens(
        [AddedToken(token, normalized=False, lstrip=token == "[MASK]") for token in _MODERNBERT_SPECIAL_TOKENS]
    )
    return _finish(tokenizer, folder, added)


def _roberta_bpe(folder: Path) -> int:
    """Save the byte-level tokenizer of a RoBERTa and return the number of tokens."""
    special = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
    tokenizer, vocabulary = _byte_level(special)
    tokenizer.post_processor = processors.RobertaProcessing(
        ("</s>", vocabulary["</s>"]), ("<s>", vocabulary["<s>"]), add_prefix_space=False
    )
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, lstrip=token == "<mask>") for token in special])
    return len(_finish(tokenizer, folder, ()))


def _byte_level(special: tuple[str, ...]) -> tuple[Tokenizer, dict[str, int]]:
    """A byte-level BPE that merges each word from its start, long words first, and then the space before it."""
    merges: dict[tuple[str, str], None] = {}
    for word in sorted(_WORDS, key=lambda word: (-len(word), word)):
        merges |= {(word[:end], word[end]): None for end in range(1, len(word))}
        merges["Ġ", word] = None
    pieces = [left + right for left, right in merges]
    tokens = [*special, *sorted(pre_tokenizers.ByteLevel.alphabet()), *dict.fromkeys(pieces)]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocabulary, list(merges)))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer, vocabulary


def _finish(tokenizer: Tokenizer, folder: Path, added: Iterable[AddedToken]) -> dict[str, int]:
    for token in added:
        if token.special:
            tokenizer.add_special_tokens([token])
        else:
            tokenizer.add_tokens([token])
    tokenizer.save(str(folder / "tokenizer.json"))
    return dict(tokenizer.get_vocab())


# --- Backbones --------------------------------------------------------------------------------------------------------


def _bert_config(size: int) -> dict[str, Any]:
    return {
        "architectures": ["BertModel"],
        "attention_probs_dropout_prob": 0.1,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "hidden_size": _HIDDEN,
        "initializer_range": 0.02,
        "intermediate_size": _INTERMEDIATE,
        "layer_norm_eps": 1e-12,
        "max_position_embeddings": _POSITIONS,
        "model_type": "bert",
        "num_attention_heads": _HEADS,
        "num_hidden_layers": _LAYERS,
        "pad_token_id": 0,
        "type_vocab_size": 2,
        "vocab_size": size,
    }


def _roberta_config(size: int) -> dict[str, Any]:
    return {
        **_bert_config(size),
        "architectures": ["RobertaModel"],
        "bos_token_id": 0,
        "eos_token_id": 2,
        "layer_norm_eps": 1e-05,
        "max_position_embeddings": _POSITIONS + 2,
        "model_type": "roberta",
        "pad_token_id": 1,
        "type_vocab_size": 1,
    }


def _modernbert_config(size: int, special: Mapping[str, int]) -> dict[str, Any]:
    return {
        "architectures": ["ModernBertModel"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": special["[CLS]"],
        "cls_token_id": special["[CLS]"],
        "embedding_dropout": 0.0,
        "eos_token_id": special["[SEP]"],
        "hidden_activation": "gelu",
        "hidden_size": _HIDDEN,
        "intermediate_size": _INTERMEDIATE,
        # four tokens to either side, far fewer than the texts have
        "local_attention": 8,
        "max_position_embeddings": _POSITIONS,
        "mlp_bias": False,
        "mlp_dropout": 0.0,
        "model_type": "modernbert",
        "norm_bias": False,
        "norm_eps": 1e-05,
        "num_attention_heads": _HEADS,
        "num_hidden_layers": _LAYERS,
        "pad_token_id": special["[PAD]"],
        "sep_token_id": special["[SEP]"],
        "vocab_size": size,
    }


def _bert_shapes(size: int, *, positions: int = _POSITIONS, types: int = 2) -> Shapes:
    shapes: Shapes = {
        "embeddings.word_embeddings.weight": (size, _HIDDEN),
        "embeddings.position_embeddings.weight": (positions, _HIDDEN),
        "embeddings.token_type_embeddings.weight": (types, _HIDDEN),
        **_norm("embeddings.LayerNorm"),
        **_linear("pooler.dense", _HIDDEN, _HIDDEN),
    }
    for number in range(_LAYERS):
        layer = f"encoder.layer.{number}"
        for part in ("query", "key", "value"):
            shapes |= _linear(f"{layer}.attention.self.{part}", _HIDDEN, _HIDDEN)
        shapes |= _linear(f"{layer}.attention.output.dense", _HIDDEN, _HIDDEN)
        shapes |= _norm(f"{layer}.attention.output.LayerNorm")
        shapes |= _linear(f"{layer}.intermediate.dense", _INTERMEDIATE, _HIDDEN)
        shapes |= _linear(f"{layer}.output.dense", _HIDDEN, _INTERMEDIATE)
        shapes |= _norm(f"{layer}.output.LayerNorm")
    return shapes


def _roberta_shapes(size: int) -> Shapes:
    return _bert_shapes(size, positions=_POSITIONS + 2, types=1)


def _modernbert_shapes(size: int) -> Shapes:
    shapes: Shapes = {
        "embeddings.tok_embeddings.weight": (size, _HIDDEN),
        "embeddings.norm.weight": (_HIDDEN,),
        "final_norm.weight": (_HIDDEN,),
    }
    for number in range(_LAYERS):
        layer = f"layers.{number}"
        if number:
            shapes[f"{layer}.attn_norm.weight"] = (_HIDDEN,)
        shapes |= {
            f"{layer}.attn.Wqkv.weight": (3 * _HIDDEN, _HIDDEN),
            f"{layer}.attn.Wo.weight": (_HIDDEN, _HIDDEN),
            f"{layer}.mlp_norm.weight": (_HIDDEN,),
            f"{layer}.mlp.Wi.weight": (2 * _INTERMEDIATE, _HIDDEN),
            f"{layer}.mlp.Wo.weight": (_HIDDEN, _INTERMEDIATE),
        }
    return shapes


def _linear(name: str, out: int, into: int) -> Shapes:
    return {f"{name}.weight": (out, into), f"{name}.bias": (out,)}


def _norm(name: str) -> Shapes:
    return {f"{name}.weight": (_HIDDEN,), f"{name}.bias": (_HIDDEN,)}


# --- Weights ----------------------------------------------------------------------------------------------------------


def _save(
    folder: Path,
    *,
    seed: int,
    backbone: Shapes,
    heads: Mapping[str, Shapes] | None = None,
    half: bool = False,
    pickled: bool = False,
) -> None:
    """Draw every weight from one stream and save the backbone and each projection where its layout has it.

    Args:
        folder: The checkpoint.
        seed: Of the stream.
        backbone: Tensors of the file in the checkpoint's own folder.
        heads: Tensors of the files in folders below it.
        half: Whether to store half precision.
        pickled: Whether the projections are stored by torch.
    """
    random = np.random.RandomState(seed)
    files: dict[str, Shapes] = {"": backbone, **(heads or {})}
    for part in sorted(files):
        weights: Weights = {}
        for name in sorted(files[part]):
            values = random.standard_normal(files[part][name])
            scaled = 1 + 0.1 * values if "norm" in name.lower() and name.endswith(".weight") else 0.3 * values
            weights[name] = scaled.astype(np.float16 if half else np.float32)
        if part and pickled:
            import torch

            torch.save({name: torch.from_numpy(array) for name, array in weights.items()}, folder / part / _PICKLED)
        else:
            save_file(weights, folder / part / "model.safetensors", metadata={"format": "pt"})


_PICKLED: Final = "pytorch_model.bin"
