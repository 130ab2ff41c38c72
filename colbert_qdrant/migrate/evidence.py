"""Judges whether strings are texts of documents, rather than file names, labels or single words."""

from __future__ import annotations

import json
import re
from itertools import islice
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from colbert_qdrant._support.scripts import UNSPACED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_FILE: Final = re.compile(
    r"[^\n]*\.(pdf|docx?|odt|rtf|pptx?|xlsx?|csv|tsv|txt|md|rst|tex|html?|xml|jsonl?|ya?ml|toml|log|eml|msg|epub|mobi"
    r"|png|jpe?g|gif|svg|webp|tiff?|bmp|mp[34]|wav|avi|mov|mkv|zip|gz|tar|7z|rar|parquet|ipynb|py|js|ts|java|c|cpp|go|rs)",
    re.I,
)
_PATH: Final = re.compile(r"/|~/|\\\\|[a-z]:[\\/]|[a-z][a-z0-9+.-]*://", re.I)
_LETTER: Final = re.compile(r"[^\W\d_]")
_FEW_TEXTS: Final = 8
_REPEATED: Final = 4
_REPEATED_LONG: Final = 8
_LABEL: Final = 40
_LONGER: Final = 4
_SHOWN: Final = 60
_LONGEST_PATH: Final = 1_000


def is_text(text: str) -> bool:
    """Tell whether a string looks like a text: at least two words, and not a file name, path, URL or JSON.

    One word is enough in scripts without spaces.
    """
    if UNSPACED.search(text) is None:
        words = (each for each in re.finditer(r"\S+", text) if _LETTER.search(each[0]))
        if len(list(islice(words, 2))) < 2:
            return False
    return not (_FILE.fullmatch(text.strip()) or _is_path(text.strip()) or _is_json(text))


def _is_path(text: str) -> bool:
    """Tell whether a string is a path or a URL, possibly with spaces, or a list of paths or URLs."""
    if _PATH.match(text) is None or len(text) > _LONGEST_PATH:
        return False
    words = text.split()
    return 2 * sum("/" in word or "\\" in word for word in words) >= len(words)


def _is_json(text: str) -> bool:
    if not text.lstrip().startswith(("{", "[")):
        return False
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def doubt_of(texts: Sequence[str]) -> str | None:
    """Return the reason why strings do not look like texts of documents; ``None`` if they do."""
    if not texts:
        return None
    if 2 * sum(map(is_text, texts)) < len(texts):
        return "most are single words, numbers, file names, URLs or JSON"
    most = _REPEATED if median(map(len, texts)) < _LABEL else _REPEATED_LONG
    if len(texts) >= _FEW_TEXTS and most * len(set(texts)) <= len(texts):
        return f"only {len(set(texts)):,} of {len(texts):,} texts differ, as with labels"
    return None


def example_of(texts: Sequence[str]) -> str:
    """Return the text of median length, shortened, as a quoted string."""
    text = sorted(texts, key=len)[len(texts) // 2]
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…")


def longer_texts(payloads: Sequence[Mapping[str, Any]], texts: Sequence[str]) -> str | None:
    """Return the path where most payloads have much longer texts than ``texts``; ``None`` without such a path."""
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
    """Yield the strings in a payload and in its objects, one level deep, with their paths."""
    for key, value in payload.items():
        inner = [(key, value)] if isinstance(value, str) else []
        if isinstance(value, dict):
            inner = [(f"{key}.{name}", each) for name, each in value.items() if isinstance(each, str)]
        yield from ((path, text) for path, text in inner if re.fullmatch(r"[\w.-]+", path))
