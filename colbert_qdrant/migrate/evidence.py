"""Looks at what is taken for texts: names of files, labels and single words are none that a search could rank."""

from __future__ import annotations

import re
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from colbert_qdrant._support.scripts import UNSPACED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_FILE: Final = re.compile(
    r"[^\n]*\.(pdf|docx?|odt|rtf|pptx?|xlsx?|csv|txt|md|rst|html?|xml|json|eml|epub|png|jpe?g)", re.I
)
_FEW_TEXTS: Final = 8
_REPEATED: Final = 4
_LABEL: Final = 40
_LONGER: Final = 4
_SHOWN: Final = 60


def is_text(text: str) -> bool:
    """Tell whether something can be a text: more than one word, and no name of a file."""
    spaced = len(text.split(maxsplit=1)) > 1 or UNSPACED.search(text) is not None
    return spaced and _FILE.fullmatch(text.strip()) is None


def doubt_of(texts: Sequence[str]) -> str | None:
    """Say why some points' texts are hardly the texts of documents; ``None`` if they may be."""
    if not texts:
        return None
    if 2 * sum(map(is_text, texts)) < len(texts):
        return "most of them are single words or names of files"
    short = median(map(len, texts)) < _LABEL
    if short and len(texts) >= _FEW_TEXTS and _REPEATED * len(set(texts)) <= len(texts):
        return f"{len(texts):,} points have {len(set(texts)):,} different ones only, like labels"
    return None


def example_of(texts: Sequence[str]) -> str:
    """Show a text that is typical for some."""
    text = sorted(texts, key=len)[len(texts) // 2]
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…")


def longer_texts(payloads: Sequence[Mapping[str, Any]], texts: Sequence[str]) -> str | None:
    """Return the path at which most payloads have much longer texts than these; ``None`` if there is none."""
    found: dict[str, list[str]] = {}
    for payload in payloads:
        for path, text in _strings(payload):
            found.setdefault(path, []).append(text)
    usual = {
        path: median(map(len, each))
        for path, each in found.items()
        if 2 * len(each) > len(payloads) and doubt_of(each) is None
    }
    best = max(usual, key=lambda path: usual[path], default=None)
    if best is None:
        return None
    limit = median(map(len, texts)) if texts and doubt_of(texts) is None else 0
    return best if usual[best] >= _LONGER * limit else None


def _strings(payload: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Return the strings in a payload and in the objects in it, with their paths."""
    for key, value in payload.items():
        inner = [(key, value)] if isinstance(value, str) else []
        if isinstance(value, dict):
            inner = [(f"{key}.{name}", each) for name, each in value.items() if isinstance(each, str)]
        yield from ((path, text) for path, text in inner if re.fullmatch(r"[\w.-]+", path))
