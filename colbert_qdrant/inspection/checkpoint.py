"""Describes a checkpoint from its files and from the loaded model."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from inspect import cleandoc, getmembers, isroutine
from itertools import islice
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, Final

from colbert_qdrant.config.checks import require_instance
from colbert_qdrant.encoders import ColbertEncoder
from colbert_qdrant.encoders.base import check_texts
from colbert_qdrant.encoders.checkpoint.registry import layout_of, read_spec
from colbert_qdrant.encoders.checkpoint.spec import CheckpointSpec, DenseSpec
from colbert_qdrant.errors import CheckpointError, ConfigurationError, InvalidDocumentError
from colbert_qdrant.inspection.fitness import MuveraFitness, align, muvera_fitness

if TYPE_CHECKING:
    from colbert_qdrant.encoders.checkpoint.files import CheckpointFiles

_SOURCES: Final = (  # their docstrings are the default documents
    *("builtins", "builtins:str", "builtins:dict", "math", "statistics", "random", "functools", "re", "heapq", "csv"),
    *("pathlib:Path", "datetime:datetime", "decimal:Decimal", "os", "shutil", "tempfile", "threading:Condition"),
    *("logging:Logger", "zipfile:ZipFile", "json", "subprocess", "socket", "argparse:ArgumentParser", "textwrap"),
)
_PER_SOURCE, _MIN_WORDS, _QUERY_WORDS = 7, 10, 16


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """A description of a checkpoint, with measurements of how MUVERA ranks with it.

    Attributes:
        name: The checkpoint's name on the Hub, or the name of its folder.
        spec: The specification: layout, projections (`CheckpointSpec.dense`), and whether vectors are normalized. For
            queries and documents, it has length, prefix, prompt, expansion, skiplist and pooling.
        model_type: The transformer's model type in ``config.json``.
        architecture: The transformer's class.
        parameters: Number of parameters of the transformer and the projections.
        dtype: The type that the parameters are stored in; ``None`` for an encoder that was already loaded.
        vocab_size: Rows of the embedding table.
        dim: Dimensions of a token vector.
        remote_code: Whether the model needs its own Python code, which runs only with ``trust_remote_code=True``.
            Without that argument, ``fitness`` is ``None``, and so are other values that no file contains.
        fitness: Measurements of how MUVERA ranks.
    """

    name: str
    spec: CheckpointSpec
    model_type: str | None
    architecture: str | None
    parameters: int | None
    dtype: str | None
    vocab_size: int | None
    dim: int | None
    remote_code: bool
    fitness: MuveraFitness | None

    def to_dict(self) -> dict[str, Any]:
        """Return all attributes as JSON values."""
        return dict(json.loads(json.dumps(asdict(self))))

    def __str__(self) -> str:
        spec = self.spec
        lines = [
            ("checkpoint", f"{self.name} (layout: {spec.layout})"),
            ("transformer", f"{self.architecture} (model type: {self.model_type})"),
            ("remote code", "needed: it comes with the model" if self.remote_code else "not needed"),
            ("parameters", f"{_number(self.parameters)}, stored as {self.dtype or 'unknown'}"),
            ("vocabulary", f"{_number(self.vocab_size)} tokens"),
            ("projections", "; ".join(map(_dense_text, spec.dense)) or "none"),
            ("token vectors", f"{_number(self.dim)} dimensions, {'unit' if spec.normalize else 'any'} length"),
            *_side_lines("query", {"length": 0, "expansion": None, **spec.query.to_dict()}),
            *_side_lines("document", spec.document.to_dict()),
        ]
        if self.fitness:
            return f"{align(lines)}\n{self.fitness}"
        advice = "not measured: pass trust_remote_code=True, and the commit whose code you have read as revision=…"
        return align([*lines, ("MUVERA", advice)])


def inspect(
    name_or_path: str | Path | ColbertEncoder,
    *,
    documents: Sequence[str] | None = None,
    queries: Sequence[str] | None = None,
    revision: str | None = None,
    token: str | bool | None = None,
    local_files_only: bool = False,
    trust_remote_code: bool = False,
    device: str = "cpu",
) -> Inspection:
    """Describe a checkpoint, and measure how MUVERA ranks with it.

    Args:
        name_or_path: A folder, a name on the Hugging Face Hub, or a loaded encoder.
        documents: At least 10 texts that are representative of your documents; by default, docstrings of the standard
            library.
        queries: Queries for those documents; by default, the first sentence of every third document.
        revision: Branch, tag or commit on the Hub.
        token: Access token for the Hub; by default, the one that ``hf auth login`` stored.
        local_files_only: Use only local files, and never contact the Hub.
        trust_remote_code: Run Python code that comes with the model. Read the code first, and pin its commit with
            ``revision``.
        device: The torch device for a model that is not loaded yet.

    Raises:
        CheckpointError: If the checkpoint does not exist, or a file of it is missing, broken or does not fit.
        ConfigurationError: If there are queries without documents, too few texts, or texts that are too long.
    """
    require_instance("device", device, str, "the name of a device, as 'cuda'")
    if queries is not None and documents is None:
        raise ConfigurationError("queries without documents: pass the documents that they search as documents=…")
    if isinstance(name_or_path, ColbertEncoder):
        checkpoint = name_or_path.checkpoint
        inspection = _from_settings(checkpoint.name, name_or_path.spec, checkpoint.backbone.config.to_dict())
        return _with_model(inspection, name_or_path, documents, queries)

    from colbert_qdrant.encoders.checkpoint.files import open_checkpoint  # noqa: PLC0415
    from colbert_qdrant.encoders.checkpoint.load import load_checkpoint  # noqa: PLC0415

    files = open_checkpoint(
        name_or_path,
        revision=revision,
        token=token,
        local_files_only=local_files_only,
        trust_remote_code=trust_remote_code,
    )
    inspection = _from_files(files)
    if inspection.remote_code and not trust_remote_code:
        return inspection
    encoder = ColbertEncoder(load_checkpoint(files, trust_remote_code=trust_remote_code), device=device)
    return _with_model(inspection, encoder, documents, queries)


def _from_settings(name: str, spec: CheckpointSpec, config: dict[str, Any]) -> Inspection:
    from colbert_qdrant.encoders.checkpoint.backbone import needs_remote_code  # noqa: PLC0415

    return Inspection(
        name=name,
        spec=spec,
        model_type=config.get("model_type"),
        architecture=next(iter(config.get("architectures") or []), None),
        parameters=None,
        dtype=None,
        vocab_size=config.get("vocab_size"),
        dim=_dim(spec, config),
        remote_code=needs_remote_code(config),
        fitness=None,
    )


def _dim(spec: CheckpointSpec, config: dict[str, Any]) -> int | None:
    if spec.dense:
        return spec.dense[-1].out_features
    return None if layout_of(spec).projection else config.get("hidden_size")


def _from_files(files: CheckpointFiles) -> Inspection:
    """Describe a checkpoint from its files, without loading the model."""
    spec = read_spec(files)
    config = files.settings(f"{spec.backbone}/config.json" if spec.backbone else "config.json")
    name = files.folder.absolute().name if files.name == str(files.folder) else files.name
    inspection = _from_settings(name, spec, config)
    try:
        parts = [files.tensors(folder) for folder in (spec.backbone, *(dense.folder for dense in spec.dense))]
    except CheckpointError:  # loading the model will raise it, too
        return inspection
    named = [pair for part in parts for pair in part.items() if pair[1].is_floating_point()]
    weights = [tensor for key, tensor in named if "pooler" not in key.split(".")]
    dtypes = sorted({str(tensor.dtype).removeprefix("torch.") for tensor in weights})
    return replace(inspection, parameters=sum(tensor.numel() for tensor in weights), dtype=", ".join(dtypes))


def _with_model(
    inspection: Inspection, encoder: ColbertEncoder, documents: Sequence[str] | None, queries: Sequence[str] | None
) -> Inspection:
    checkpoint, spec = encoder.checkpoint, encoder.spec
    if layout_of(spec).projection:  # only its weights have its dimensions
        out, into = checkpoint.head[-1].get_parameter("linear.weight").shape
        spec = replace(spec, dense=(DenseSpec(folder="", in_features=into, out_features=out, bias=False),))
    weights = [*checkpoint.backbone.named_parameters(), *checkpoint.head.named_parameters()]
    documents = _sample_documents() if documents is None else check_texts(documents, InvalidDocumentError)
    encoded = encoder.encode_documents(documents)
    queries = _sample_queries(documents) if queries is None else queries
    return replace(
        inspection,
        spec=spec,
        architecture=type(checkpoint.backbone).__name__,
        parameters=sum(weight.numel() for name, weight in weights if "pooler" not in name.split(".")),
        dim=encoder.dim,
        fitness=muvera_fitness(encoder.encode_queries(queries), encoded),
    )


def _sample_documents() -> list[str]:
    """Return docstrings of the standard library, always in the same order."""
    texts: dict[str, None] = {}
    for source in _SOURCES:
        members = getmembers(resolve_name(source), isroutine)
        found = (cleandoc(member.__doc__ or "") for name, member in members if not name.startswith("_"))
        texts |= dict.fromkeys(islice((text for text in found if len(text.split()) >= _MIN_WORDS), _PER_SOURCE))
    return list(texts)


def _sample_queries(documents: Sequence[str]) -> list[str]:
    """Return the first words of the first sentence of every third document that has one."""
    sentences = (re.split(r"(?<=[.!?])\s", text.strip(), maxsplit=1)[0].split() for text in documents[::3])
    return [" ".join(words[:_QUERY_WORDS]) for words in sentences if words]


def _number(value: int | None) -> str:
    return "unknown" if value is None else f"{value:,}"


def _dense_text(dense: DenseSpec) -> str:
    activation = dense.activation.rpartition(".")[2].replace("Identity", "linear")
    shape = f"{dense.in_features} → {dense.out_features}"
    return f"{shape}, {activation}" + ", bias" * dense.bias + ", residual" * dense.residual


def _side_lines(side: str, settings: dict[str, Any]) -> list[tuple[str, str]]:
    """Format the settings of queries or documents, with only the lengths of token lists."""
    lines = []
    for key, value in settings.items():
        text = f"{len(value)} tokens" if isinstance(value, tuple) else repr(value) if value else "none"
        if isinstance(value, dict):
            text = ", ".join(f"{name} {part!r}" for name, part in value.items() if part is not None)
        lines.append((f"{side} {key.replace('_', ' ')}", text))
    return lines
