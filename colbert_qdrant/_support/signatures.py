"""Shows the options of a method, which a `TypedDict` documents, in ``help()`` and in the method's signature."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any, ForwardRef, TypeVar

from colbert_qdrant.shown import shown

Method = TypeVar("Method", bound=Callable[..., Any])


def require_options(method: str, kind: type, options: Mapping[str, Any]) -> None:
    """Raise `TypeError` if a method was called with an option that its `TypedDict` does not have."""
    unknown = next((name for name in options if name not in kind.__annotations__), None)
    if unknown is not None:
        known = ", ".join(kind.__annotations__)
        raise TypeError(f"{method}() got an unexpected keyword argument {shown(unknown)}: use {known}")


def shows_options(kind: type, *, among: tuple[type, ...], checked: type) -> Callable[[Method], Method]:
    """List every option of a method, with its default and description, in ``help()`` and the method's signature.

    Args:
        kind: The `TypedDict` of the options.
        among: The classes whose docstrings describe options; a later description replaces an earlier one.
        checked: The dataclass with the defaults.
    """
    described = "".join(f"    {name}: {text}\n" for name, text in _descriptions(kind, among).items())
    defaults = inspect.signature(checked).parameters
    options = [_parameter(name, hint, defaults[name].default) for name, hint in kind.__annotations__.items()]

    def show(method: Method) -> Method:
        signature = inspect.signature(method)
        own = [each for each in signature.parameters.values() if each.kind is not inspect.Parameter.VAR_KEYWORD]
        method.__signature__ = signature.replace(parameters=[*own, *options])  # type: ignore[attr-defined]
        text = inspect.cleandoc(method.__doc__ or "")
        method.__doc__ = text.replace(f"    **options: See `{kind.__name__}`.\n", described)
        return method

    return show


def _descriptions(kind: type, among: tuple[type, ...]) -> dict[str, str]:
    """Collect the description of every option from docstrings."""
    found: dict[str, str] = {}
    for each in (*among, kind):
        text = inspect.cleandoc(each.__doc__ or "")
        found |= re.findall(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", text, re.MULTILINE)
    return {name: found[name] for name in kind.__annotations__ if name in found}


def _parameter(name: str, hint: Any, default: Any) -> inspect.Parameter:
    written = hint.__forward_arg__ if isinstance(hint, ForwardRef) else hint
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=written)
