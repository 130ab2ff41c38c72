"""Documents per second of the encoder, beside sentence-transformers, PyLate and the bare model.

    python tests/benchmarks/encoders.py [--shapes small minilm] [--rounds 5] [--pylate PYTHON]

Everyone encodes the same 2,000 documents of 10 to 180 tokens with the same weights, on the CPU, each in a process of
its own; they take turns, and every round has new documents, as in an index that is being filled. The floor is the
transformer alone, over batches that are tokenized, sorted and padded already. PyLate needs an environment of its own,
whose interpreter is given; so may sentence-transformers.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Worker = Callable[[list[str]], Callable[[], Any]]

DOCUMENTS = 2_000
TOKENS = (10, 180)
SHAPES = {"small": (2, 128), "minilm": (6, 384)}


def main() -> None:
    """Run the rounds, and print what came out."""
    options = _options()
    if options.worker:
        _work(options.worker, options.model)
        return
    sys.path[:0] = [str(Path(__file__).parents[2])]
    from tests.benchmarks.common import machine, race

    print(f"{machine()}; {DOCUMENTS} documents of {TOKENS[0]} to {TOKENS[1]} tokens; {options.rounds} rounds\n")
    interpreters = {
        "floor": sys.executable,
        "ours": sys.executable,
        "sentence-transformers": options.sentence_transformers,
        "pylate": options.pylate,
    }
    for shape in options.shapes:
        with tempfile.TemporaryDirectory() as folder:
            model = _build(Path(folder), *SHAPES[shape])
            commands = {
                name: [interpreter, __file__, "--worker", name, "--model", str(model)]
                for name, interpreter in interpreters.items()
                if interpreter
            }
            _report(shape, race(commands, options.rounds))


def _report(shape: str, seconds: dict[str, list[float]]) -> None:
    layers, hidden = SHAPES[shape]
    print(f"{shape} ({layers} × {hidden})")
    for name, taken in seconds.items():
        ratio = statistics.median(other / own for own, other in zip(seconds["ours"], taken, strict=True))
        compared = "" if name == "ours" else f"   ours is {ratio:.2f} × {name}"
        print(f"  {name:<22} {DOCUMENTS / statistics.median(taken):7.0f} documents/s{compared}")
    print(flush=True)


def _work(name: str, model: str) -> None:
    """Encode the documents of the round that is asked for, and answer with the seconds it took."""
    encode = _WORKERS[name](model)
    for line in sys.stdin:
        run = encode(_documents(model, round_number=int(line)))
        started = time.perf_counter()
        run()
        print(json.dumps(time.perf_counter() - started), flush=True)


def _documents(model: str, *, round_number: int) -> list[str]:
    words = json.loads((Path(model) / "words.json").read_text())
    random = np.random.default_rng(round_number)
    special = 3  # [CLS], the marker, [SEP]
    return [
        " ".join(random.choice(words, length - special))
        for length in random.integers(TOKENS[0], TOKENS[1] + 1, DOCUMENTS)
    ]


def _ours(model: str) -> Worker:
    from colbert_qdrant import ColbertEncoder

    encoder = ColbertEncoder.from_pretrained(model, device="cpu")
    return lambda documents: lambda: encoder.encode_documents(documents)


def _floor(model: str) -> Worker:
    import torch

    from colbert_qdrant.encoders.checkpoint.files import open_checkpoint
    from colbert_qdrant.encoders.checkpoint.load import load_checkpoint
    from colbert_qdrant.encoders.model import BATCH_TOKENS, pack
    from colbert_qdrant.encoders.tokenizing import SideTokenizer

    checkpoint = load_checkpoint(open_checkpoint(model))
    tokenizer = SideTokenizer(checkpoint.tokenizer, checkpoint.spec, checkpoint.spec.document)

    def prepare(documents: list[str]) -> Callable[[], None]:
        tokenized = tokenizer(documents)
        rows = [torch.from_numpy(row) for row in np.split(tokenized.ids, tokenized.starts[1:])]
        batches = []
        for numbers in pack(tokenized.lengths, BATCH_TOKENS["cpu"]):
            texts = [rows[number] for number in numbers]
            ids = torch.nn.utils.rnn.pad_sequence(texts, batch_first=True)
            mask = torch.nn.utils.rnn.pad_sequence([torch.ones_like(text) for text in texts], batch_first=True)
            batches.append((ids, mask))

        def forward() -> None:
            with torch.inference_mode():
                for ids, mask in batches:
                    checkpoint.backbone(input_ids=ids, attention_mask=mask)

        return forward

    return prepare


def _sentence_transformers(model: str) -> Worker:
    from sentence_transformers import MultiVectorEncoder

    encoder = MultiVectorEncoder(model, device="cpu", local_files_only=True)
    return lambda documents: lambda: encoder.encode_document(documents, convert_to_numpy=True, show_progress_bar=False)


def _pylate(model: str) -> Worker:
    models = importlib.import_module("pylate.models")
    encoder = models.ColBERT(model, device="cpu", local_files_only=True)
    return lambda documents: lambda: encoder.encode(documents, is_query=False, show_progress_bar=False)


_WORKERS: dict[str, Callable[[str], Worker]] = {
    "floor": _floor,
    "ours": _ours,
    "sentence-transformers": _sentence_transformers,
    "pylate": _pylate,
}


def _build(folder: Path, layers: int, hidden: int) -> Path:
    """A checkpoint in Stanford's layout, which everyone reads, with MiniLM's vocabulary and random weights."""
    import torch
    from safetensors.torch import save_file
    from transformers import AutoTokenizer, BertConfig, BertModel

    from tests.benchmarks.common import minilm

    tokenizer: Any = AutoTokenizer.from_pretrained(minilm())
    tokenizer.save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 32,
        intermediate_size=4 * hidden,
        architectures=["HF_ColBERT"],
    )
    config.save_pretrained(folder)
    torch.manual_seed(0)
    weights = {
        f"bert.{name}": tensor for name, tensor in BertModel(config, add_pooling_layer=False).state_dict().items()
    }
    save_file(
        {**weights, "linear.weight": torch.randn(128, hidden) / hidden**0.5},
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )
    settings = {"query_token_id": "[unused0]", "doc_token_id": "[unused1]", "query_maxlen": 32, "doc_maxlen": TOKENS[1]}
    (folder / "artifact.metadata").write_text(json.dumps(settings))

    words = [word for word in tokenizer.get_vocab() if word.isalpha() and word.isascii()]
    (folder / "words.json").write_text(json.dumps(words))
    return folder


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sentence-transformers", default=sys.executable, help="an interpreter that has it")
    parser.add_argument("--pylate", help="an interpreter that has it")
    parser.add_argument("--worker", choices=_WORKERS, help=argparse.SUPPRESS)
    parser.add_argument("--model", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
