"""Keeps the registry of checkpoint layouts, and detects the layout of a checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from colbert_qdrant.encoders.checkpoint.modules import backbone_folder, backbone_settings
from colbert_qdrant.errors import CheckpointError, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from colbert_qdrant.encoders.checkpoint.files import CheckpointFiles
    from colbert_qdrant.encoders.checkpoint.spec import CheckpointSpec


@dataclass(frozen=True, kw_only=True)
class CheckpointLayout:
    """The format in which a library saves models, including the library's defaults.

    Args:
        name: The name of the layout, as in `CheckpointSpec.layout`.
        settings: The file with the settings for encoding texts; errors name it.
        detect: Returns whether a checkpoint, whose transformer has a ``config.json``, has this layout.
        read: Reads the specification of a checkpoint.
        projection: The name of the only projection, if it is among the transformer's tensors. With ``None``, the
            projections are those of `CheckpointSpec.dense`.
        has_other_heads: Whether heads of the transformer, such as a language model's, are ignored. Otherwise the
            transformer must use every tensor.
        dim: Returns the dimensions of a token vector in the settings, or ``None`` if they are not set.
        limited_by_positions: Whether lengths are reduced to the model's positions, because files may not set lengths.

    Raises:
        ConfigurationError: If the name is empty, or not a string.
    """

    name: str
    settings: str
    detect: Callable[[CheckpointFiles], bool]
    read: Callable[[CheckpointFiles], CheckpointSpec]
    projection: str | None = None
    has_other_heads: bool = False
    limited_by_positions: bool = False
    dim: Callable[[CheckpointFiles], int | None] = lambda _: None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise ConfigurationError(f"a checkpoint layout has the name {self.name!r}: pass a string that is not empty")


_LAYOUTS: Final[dict[str, CheckpointLayout]] = {}


def register_layout(layout: CheckpointLayout) -> None:
    """Register a layout; it is tried before the layouts registered earlier.

    Raises:
        ConfigurationError: If another layout has this name.
    """
    if _LAYOUTS.setdefault(layout.name, layout) != layout:
        raise ConfigurationError(f"the checkpoint layout {layout.name!r} already exists: choose another name")


def layout_of(spec: CheckpointSpec) -> CheckpointLayout:
    """Return the layout that a specification was read from.

    Raises:
        ConfigurationError: If the layout is unknown.
    """
    if spec.layout not in _LAYOUTS:
        raise ConfigurationError(
            f"unknown checkpoint layout {spec.layout!r}: use one of {', '.join(_LAYOUTS)}, or register it"
        )
    return _LAYOUTS[spec.layout]


def read_spec(files: CheckpointFiles) -> CheckpointSpec:
    """Read the specification of a checkpoint.

    Raises:
        CheckpointError: If a file is missing or broken, or requires an unsupported feature.
    """
    if not backbone_settings(files):
        raise CheckpointError(
            f"{files.path(backbone_folder(files))} has no config.json, or an empty one: pass a folder with "
            "config.json, weights and tokenizer"
        )
    layout = next(each for each in reversed(_LAYOUTS.values()) if each.detect(files))
    try:
        return layout.read(files)
    except CheckpointError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{files.path(layout.settings)}, or a related file, has an invalid value "
            f"({type(error).__name__}: {error}): download the checkpoint's settings again"
        ) from error
