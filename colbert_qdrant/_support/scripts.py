"""Detects texts in scripts without spaces between words, which most tokenizers cannot split."""

from __future__ import annotations

import re
from typing import Final

_WHOLE: Final = r"\u0e80-\u0eff\u1000-\u109f\u1780-\u17ff\u19e0-\u19ff\ua9e0-\ua9ff\uaa60-\uaa7f"
_SPLIT: Final = r"\u0e00-\u0e7f\u3005-\u3007\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"

UNSPACED: Final = re.compile(rf"[{_WHOLE}{_SPLIT}]")
"""A letter of Chinese, Japanese, Thai, Lao, Burmese or Khmer."""

NEVER_SPLIT: Final = re.compile(rf"[{_WHOLE}]")
"""A letter of Lao, Burmese or Khmer, which no tokenizer in Qdrant splits into words."""

_PART: Final = 4


def is_unspaced(text: str) -> bool:
    """Tell whether at least a quarter of a text's characters are in scripts without spaces between words.

    Example:
        >>> [is_unspaced(text) for text in ("渡轮离开港口", "iPhone发布会在北京", "the ferry 渡", "페리는 항구를")]
        [True, True, False, False]
    """
    return not text.isascii() and _PART * len(UNSPACED.findall(text)) >= len(text)
