"""The model that `train_colbert.py` trains, its loss, and its files in PyLate's layout."""

from __future__ import annotations

import json
import shutil
import string
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch.nn import functional
from transformers import BertConfig, BertModel

from colbert_qdrant import ColbertEncoder
from colbert_qdrant.encoders.tokenizing import SideTokenizer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from training_examples import Example

PREFIXES = ("[Q] ", "[D] ")
QUERY_LENGTH = 32


class Student(torch.nn.Module):
    """A checkpoint of PyLate, for training."""

    def __init__(self, folder: Path, device: torch.device) -> None:
        super().__init__()
        checkpoint = ColbertEncoder.from_pretrained(folder, device="cpu").checkpoint
        self.checkpoint, self.backbone, self.head = checkpoint, checkpoint.backbone, checkpoint.head
        spec = checkpoint.spec
        self._query_tokenizer = SideTokenizer(checkpoint.tokenizer, spec, spec.query)
        self._document_tokenizer = SideTokenizer(checkpoint.tokenizer, spec, spec.document)
        self.to(device)

    def queries(self, texts: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return unit token vectors ``(texts, tokens, dim)``, and a mask of those that count."""
        return self._vectors(self._query_tokenizer, texts)

    def documents(self, texts: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the same for documents: their punctuation does not count."""
        return self._vectors(self._document_tokenizer, texts)

    def _vectors(self, tokenizer: SideTokenizer, texts: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
        tokens = tokenizer(texts)
        column = np.arange(tokens.lengths.max())
        real = column < tokens.lengths[:, None]
        flat = np.minimum(tokens.starts[:, None] + column, len(tokens.ids) - 1)
        arrays = np.where(real, tokens.ids[flat], 0), column < tokens.attended[:, None], real & tokens.kept[flat]
        device = self.head[0].get_parameter("linear.weight").device
        ids, attended, kept = (torch.from_numpy(array).to(device) for array in arrays)
        hidden = self.backbone(input_ids=ids, attention_mask=attended.long()).last_hidden_state
        return functional.normalize(self.head(hidden).float(), dim=-1), kept

    def forward(self, examples: Sequence[Example]) -> torch.Tensor:
        """Return the MaxSim score of each candidate, shape ``(examples, candidates)``."""
        queries, counted = self.queries([example.query for example in examples])
        documents, kept = self.documents([text for example in examples for text in example.documents])
        documents, kept = (each.reshape(len(examples), -1, *each.shape[1:]) for each in (documents, kept))
        cosines = torch.einsum("qid,qnjd->qnij", queries, documents)
        best = cosines.masked_fill(~kept[:, :, None], -torch.inf).amax(-1)
        return (best * counted[:, None]).sum(-1)


def distillation_loss(scores: torch.Tensor, teacher: torch.Tensor, *, min_max: bool) -> torch.Tensor:
    """Return the KL divergence of the student's scores from the teacher's, each ``(queries, candidates)``.

    Without ``min_max``, the model must reach the teacher's differences of scores, so its tokens have to spread. With
    it, only their proportions count, and a narrow cone of tokens has the same loss.
    """
    if min_max:
        scores, teacher = _min_max(scores), _min_max(teacher)
    return functional.kl_div(scores.log_softmax(-1), teacher.log_softmax(-1), reduction="batchmean", log_target=True)


def _min_max(scores: torch.Tensor) -> torch.Tensor:
    low, high = scores.amin(-1, keepdim=True), scores.amax(-1, keepdim=True)
    return (scores - low) / (high - low + 1e-8)


def small_bert(folder: Path) -> tuple[Any, Any]:
    """Make a BERT with 2 layers and 128 dimensions, and its tokenizer.

    The layers are random. The word vectors are the principal directions of a larger model's, here of MiniLM's. A shared
    direction is added to them, because the tokens of many pretrained transformers share one (arXiv 1909.00512).
    """
    base = ColbertEncoder.from_pretrained(folder, device="cpu").checkpoint
    with torch.no_grad():
        embeddings: Any = base.backbone.embeddings
        words = embeddings.LayerNorm(embeddings.word_embeddings.weight + embeddings.token_type_embeddings.weight[0])
        words = words @ torch.linalg.svd(words.T @ words).U[:, :128]
        words = words / words.std() + functional.normalize(words.mean(0), dim=0) * words.shape[1] ** 0.5
    shape: Any = {"hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 512}
    model = BertModel(BertConfig(vocab_size=len(words), **shape), add_pooling_layer=False)
    model.embeddings.word_embeddings.weight.data = words
    return model, base.tokenizer


def keep_layers(model: Any, number: int) -> None:
    """Remove all but the first layers of a transformer."""
    there = model.config.num_hidden_layers
    layers = next(
        (each for each in model.modules() if isinstance(each, torch.nn.ModuleList) and len(each) == there), None
    )
    if layers is None or number > there:
        raise SystemExit(f"the model has {there} layers, of which {number} cannot be kept: pass another --layers")
    del layers[number:]
    model.config.num_hidden_layers = number


def save_pylate(folder: Path, backbone: Any, tokenizer: Any, head: torch.Tensor, *, document_length: int) -> None:
    """Save a model in PyLate's layout; the folder appears only when it is complete."""
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    (partial / "1_Dense").mkdir(parents=True)
    backbone.save_pretrained(partial)
    tokenizer.save_pretrained(partial)
    save_file({"linear.weight": head.detach().cpu().contiguous()}, partial / "1_Dense" / "model.safetensors")
    files = {
        "modules.json": [
            {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
            {"idx": 1, "name": "1", "path": "1_Dense", "type": "pylate.models.Dense.Dense"},
        ],
        "1_Dense/config.json": {
            "in_features": head.shape[1],
            "out_features": head.shape[0],
            "bias": False,
            "activation_function": "torch.nn.modules.linear.Identity",
            "use_residual": False,
        },
        "sentence_bert_config.json": {"max_seq_length": document_length - 1, "do_lower_case": False},
        "config_sentence_transformers.json": {
            "model_type": "ColBERT",
            "prompts": {"query": "", "document": ""},
            "default_prompt_name": None,
            "similarity_fn_name": "MaxSim",
            "query_prefix": PREFIXES[0],
            "document_prefix": PREFIXES[1],
            "query_length": QUERY_LENGTH,
            "document_length": document_length,
            "do_query_expansion": True,
            "attend_to_expansion_tokens": False,
            "skiplist_words": list(string.punctuation),
        },
    }
    for name, content in files.items():
        (partial / name).write_text(json.dumps(content, indent=2), encoding="utf-8")
    partial.rename(folder)
