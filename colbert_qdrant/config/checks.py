"""Checks values of settings; each error names the setting and its value."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import MISSING, fields
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any

from colbert_qdrant._support.values import plain
from colbert_qdrant.errors import ConfigurationError
from colbert_qdrant.shown import holds, shown

if TYPE_CHECKING:
    from collections.abc import Collection


def require_known_fields(cls: type[Any], data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the data if a class has fields for all of it, else raise."""
    require_instance("data", data, Mapping, "a dict, as to_dict() returns it")
    unknown = set(data) - {each.name for each in fields(cls)}
    if unknown:
        raise ConfigurationError(
            f"{cls.__name__} does not know {sorted(map(str, unknown))}: written by a newer version of colbert-qdrant?"
        )
    return dict(data)


def without_defaults(cls: type[Any], values: Mapping[str, Any], *, among: Collection[str]) -> dict[str, Any]:
    """Return the values without those, ``among`` the settings of a class, that are as they are by default.

    Settings that came later are stored only if they are set: so what older versions stored still compares equal.
    """
    defaults = {
        each.name: each.default if each.default_factory is MISSING else each.default_factory()
        for each in fields(cls)
        if each.name in among
    }
    return {key: value for key, value in values.items() if key not in defaults or value != defaults[key]}


def keep_plain(settings: Any, *names: str) -> None:
    """Put exact built-in values in the place of those that stand for them in frozen settings, see `plain`.

    Args:
        settings: The settings, a dataclass.
        names: Which of them; by default all.
    """
    for name in names or [each.name for each in fields(settings)]:
        value = getattr(settings, name)
        mapping = isinstance(value, Mapping)
        made = {plain(key): plain(inner) for key, inner in value.items()} if mapping else plain(value)
        object.__setattr__(settings, name, made)


def preset_size(name: str, sizes: Mapping[str, int]) -> int:
    """Return the size that a preset stands for."""
    if not isinstance(name, str) or not holds(lambda: name in sizes):
        raise ConfigurationError(f"unknown preset {shown(name)}: use one of {', '.join(map(repr, sizes))}")
    return sizes[name]


def require_int(name: str, value: object, *, minimum: int, maximum: int | None = None) -> None:
    """Raise unless a value is a whole number within bounds."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise ConfigurationError(f"{name} must be a whole number, got {shown(value)}")
    number = int.__index__(value)  # not one that a subclass computes or compares as it likes
    if number < minimum or (maximum is not None and number > maximum):
        bounds = f"at least {minimum}" if maximum is None else f"between {minimum} and {maximum}"
        raise ConfigurationError(f"{name} must be {bounds}, got {shown(value)}")


def require_bool(name: str, value: object) -> None:
    """Raise unless a value is True or False."""
    if not isinstance(value, bool):
        raise ConfigurationError(f"{name} must be True or False, got {shown(value)}")


def require_number(name: str, value: object, *, minimum: float | None = None, maximum: float | None = None) -> None:
    """Raise unless a value is a finite number within bounds; without a minimum there is no bound."""
    smallest, largest = -math.inf if minimum is None else minimum, math.inf if maximum is None else maximum
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not holds(lambda: smallest <= value <= largest and math.isfinite(value)):  # type: ignore[operator, arg-type]
        bounds = f"of at least {minimum}" if maximum is None else f"between {minimum} and {maximum}"
        bounds = "that is finite" if minimum is None else bounds
        raise ConfigurationError(f"{name} must be a number {bounds}, got {shown(value)}")


def require_instance(name: str, value: object, kinds: type | tuple[type, ...], wanted: str) -> None:
    """Raise unless the value of a parameter is of some type; ``wanted`` says in words what is right."""
    if not isinstance(value, kinds):
        raise ConfigurationError(f"{name} must be {wanted}, got {type(value).__name__} {shown(value)}")


def require_file_path(name: str, value: object, wanted: str = "the path of a file") -> None:
    """Raise unless the value of a parameter is a path; ``wanted`` says in words what is right."""
    require_instance(name, value, (str, PathLike), wanted)
    if not holds(lambda: isinstance(fspath(value), str)):  # type: ignore[call-overload]
        raise ConfigurationError(f"{name} must be {wanted}, as a string, got {type(value).__name__} {shown(value)}")


def require_one_of(name: str, value: object, choices: tuple[str, ...]) -> None:
    """Raise unless a value is one of some strings."""
    if not isinstance(value, str) or not holds(lambda: value in choices):
        raise ConfigurationError(f"{name}={shown(value)}: use one of {', '.join(map(repr, choices))}")
