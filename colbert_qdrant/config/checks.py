"""Validates the values of settings; each error names the setting and its value."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import MISSING, fields
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any

from colbert_qdrant._support.values import plain
from colbert_qdrant.errors import ConfigurationError
from colbert_qdrant.shown import holds, shown

if TYPE_CHECKING:
    from collections.abc import Collection


def require_known_fields(cls: type[Any], data: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of the data; raise `ConfigurationError` if it has a key that the class has no field for."""
    require_instance("data", data, Mapping, "a dict from to_dict()")
    unknown = set(data) - {each.name for each in fields(cls)}
    if unknown:
        raise ConfigurationError(
            f"{cls.__name__} does not know {sorted(map(str, unknown))}: remove them, or upgrade colbert-qdrant if a "
            "newer version wrote them"
        )
    return dict(data)


def without_defaults(cls: type[Any], values: Mapping[str, Any], *, among: Collection[str]) -> dict[str, Any]:
    """Return the values, except settings named in ``among`` that have their default value.

    Newer settings are stored only if they are set, so that the settings that older versions stored still compare equal.
    """
    defaults = {
        each.name: each.default if each.default_factory is MISSING else each.default_factory()
        for each in fields(cls)
        if each.name in among
    }
    return {key: value for key, value in values.items() if key not in defaults or value != defaults[key]}


def keep_plain(settings: Any, *names: str) -> None:
    """Replace the values of frozen settings with exact built-in values; see `plain`.

    Args:
        settings: The settings, a dataclass instance.
        names: The names of the settings to replace; all by default.
    """
    for name in names or [each.name for each in fields(settings)]:
        value = getattr(settings, name)
        mapping = isinstance(value, Mapping)
        made = {plain(key): plain(inner) for key, inner in value.items()} if mapping else plain(value)
        object.__setattr__(settings, name, made)


def preset_size(name: str, sizes: Mapping[str, int]) -> int:
    """Return the size of a preset."""
    if not isinstance(name, str) or not holds(lambda: name in sizes):
        raise ConfigurationError(f"unknown preset {shown(name)}: use one of {', '.join(map(repr, sizes))}")
    return sizes[name]


def require_int(name: str, value: object, *, minimum: int, maximum: int | None = None) -> None:
    """Raise `ConfigurationError` unless a value is an integer within bounds."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise ConfigurationError(f"{name} must be an integer, got {shown(value)}")
    number = int.__index__(value)  # exact, because a subclass may override comparison
    if number < minimum or (maximum is not None and number > maximum):
        bounds = f"at least {minimum}" if maximum is None else f"between {minimum} and {maximum}"
        raise ConfigurationError(f"{name} must be {bounds}, got {shown(value)}")


def require_bool(name: str, value: object) -> None:
    """Raise `ConfigurationError` unless a value is True or False."""
    if not isinstance(value, bool):
        raise ConfigurationError(f"{name} must be True or False, got {shown(value)}")


def require_number(name: str, value: object, *, minimum: float | None = None, maximum: float | None = None) -> None:
    """Raise `ConfigurationError` unless a value is a finite number within bounds; ``None`` sets no bound."""
    smallest, largest = -math.inf if minimum is None else minimum, math.inf if maximum is None else maximum
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not holds(lambda: smallest <= value <= largest and math.isfinite(value)):  # type: ignore[operator, arg-type]
        bounds = f"of at least {minimum}" if maximum is None else f"between {minimum} and {maximum}"
        wanted = "a finite number" if minimum is None else f"a number {bounds}"
        raise ConfigurationError(f"{name} must be {wanted}, got {shown(value)}")


def require_instance(name: str, value: object, kinds: type | tuple[type, ...], wanted: str) -> None:
    """Raise `ConfigurationError` unless a parameter's value has a type; ``wanted`` describes the valid values."""
    if not isinstance(value, kinds):
        raise ConfigurationError(f"{name} must be {wanted}, got {type(value).__name__} {shown(value)}")


def items_of(name: str, values: Mapping[Any, Any]) -> list[tuple[Any, Any]]:
    """Return the items of a caller's mapping; raise `ConfigurationError` if its methods fail."""
    try:
        return [*values.items()]
    except Exception as error:
        raise ConfigurationError(f"{name} cannot be read ({type(error).__name__}: {error}): pass a dict") from error


def require_file_path(name: str, value: object, wanted: str = "the path of a file") -> None:
    """Raise `ConfigurationError` unless a parameter's value is a path; ``wanted`` describes the valid values."""
    require_instance(name, value, (str, PathLike), wanted)
    if not holds(lambda: isinstance(fspath(value), str)):  # type: ignore[call-overload]
        raise ConfigurationError(f"{name} must be {wanted}, as a string, got {type(value).__name__} {shown(value)}")


def given_path(name: str, value: str | PathLike[str], wanted: str = "the path of a file") -> Path:
    """Return the path of a parameter; raise `ConfigurationError` unless the value is a path."""
    require_file_path(name, value, wanted)
    text = str.__str__(fspath(value))
    if not text:
        raise ConfigurationError(f"{name} must be {wanted}, got ''")
    return Path(text)


def require_one_of(name: str, value: object, choices: tuple[str, ...]) -> None:
    """Raise `ConfigurationError` unless a value is one of the given strings."""
    if not isinstance(value, str) or not holds(lambda: value in choices):
        raise ConfigurationError(f"{name}={shown(value)}: use one of {', '.join(map(repr, choices))}")
