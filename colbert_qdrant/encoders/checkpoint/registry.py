"""Keeps the layouts of checkpoints that are known, and finds the one that a checkpoint has."""

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
    """The way in which a library saves models, with what the library falls back to where its files do not say.

    Args:
        name: Its name, as in `CheckpointSpec.layout`.
        settings: The file that says how texts are encoded; errors name it.
        detect: Tells whether a checkpoint, whose transformer has a ``config.json``, is of this layout.
        read: Reads the specification of a checkpoint.
        projection: Name of the only projection, if it is among the transformer's tensors. ``None``: projections are
            those of `CheckpointSpec.dense`.
        has_other_heads: Whether heads beside the transformer, such as a language model's, are left out. Otherwise
            the transformer must need every tensor.
        dim: Returns the dimensions that the settings name for token vectors, ``None`` if they name none.
        limited_by_positions: Whether lengths are cut to the positions of the model, where files need not give any.

    Raises:
        ConfigurationError: The name is empty, or no string.
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
            raise ConfigurationError(f"a checkpoint layout has the name {self.name!r}: it must be a string not empty")


_LAYOUTS: Final[dict[str, CheckpointLayout]] = {}


def register_layout(layout: CheckpointLayout) -> None:
    """Make a layout known; it is looked for before the layouts that were known already.

    Raises:
        ConfigurationError: The name is another layout's.
    """
    if _LAYOUTS.setdefault(layout.name, layout) != layout:
        raise ConfigurationError(f"there is a checkpoint layout {layout.name!r} already: choose another name")


def layout_of(spec: CheckpointSpec) -> CheckpointLayout:
    """Return the layout that a specification was read from; raise `ConfigurationError` if it is not known."""
    if spec.layout not in _LAYOUTS:
        raise ConfigurationError(f"checkpoint layout {spec.layout!r} is not known: {', '.join(_LAYOUTS)} are")
    return _LAYOUTS[spec.layout]


def read_spec(files: CheckpointFiles) -> CheckpointSpec:
    """Read the specification of a checkpoint.

    Raises:
        CheckpointError: A file is missing or broken, or asks for something that is not known here.
    """
    if not backbone_settings(files):
        raise CheckpointError(
            f"{files.path(backbone_folder(files))} has no config.json, or an empty one: give a folder with "
            "config.json, weights and tokenizer"
        )
    layout = next(each for each in reversed(_LAYOUTS.values()) if each.detect(files))
    try:
        return layout.read(files)
    except CheckpointError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{files.path(layout.settings)}, or a file that it goes with, has a value that cannot be "
            f"({type(error).__name__}: {error}): get the checkpoint's settings again"
        ) from error
