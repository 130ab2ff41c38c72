"""Checks that torch can compute on a device."""

from __future__ import annotations

from colbert_qdrant.errors import ConfigurationError
from colbert_qdrant.shown import shown


def require_device(device: str, *, remedy: str) -> str:
    """Return a device's name, such as ``"cuda:1"``; raise `ConfigurationError` if torch cannot use the device."""
    import torch  # noqa: PLC0415

    if not isinstance(device, str):
        raise ConfigurationError(
            f"device must be the name of a device, such as 'cuda', got {shown(device, 80)}: {remedy}"
        )
    try:
        torch.empty(1, device=device).cpu()
    # torch has no single error for this: a CPU build asserts, other builds and names raise several kinds
    except (AssertionError, NotImplementedError, RuntimeError) as error:
        reason = str(error).partition("\n")[0]
        raise ConfigurationError(f"torch cannot use device {shown(device)} ({reason}): {remedy}") from error
    return device
