"""The project's English is plain: no banned construction, and no sentence of more than 25 words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.prose.banned import BANNED, LONGEST, PATTERNS
from tests.prose.check import ROOT, files, problems
from tests.prose.sentences import of_markdown, of_python

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_english_is_plain(path: Path) -> None:
    assert [*problems(path)] == []


def test_the_list_is_long() -> None:
    assert len(BANNED) >= 40


@pytest.mark.parametrize(
    "sentence",
    [
        "Whoever has the collection open has to open it again.",
        "A url that is none is refused.",
        "It has not.",
        "Whether it was fitted; a new collection is none.",
        "A target that the plan has begun is gone on with, as it goes on with others.",
        "The server sends a byte now and then.",
        "The first tokens of them are kept.",
        "It keeps what the application wrote.",
        "What is larger is sent in parts.",
        "Nobody else may write meanwhile.",
        "The list has so many.",
        "It works by itself.",
    ],
)
def test_stiff_english_is_found(sentence: str) -> None:
    assert any(pattern.search(sentence) for pattern in PATTERNS)


@pytest.mark.parametrize(
    "sentence",
    [
        "A scalar means equals; a list means is one of.",
        "The message says what is wrong and how to fix it.",
        "What does the server do?",
        "Each process that searches the collection must reopen it after a refit.",
    ],
)
def test_plain_english_is_not(sentence: str) -> None:
    assert not any(pattern.search(sentence) for pattern in PATTERNS)


def test_sentences_of_markdown() -> None:
    page = """# A title

One sentence. Another one, with `inline code of many words` and
a [link](https://example.org/a.b).

- An item.
- A second item. With two sentences.

| a cell | `code` |
|---|---|
| one more. Two | x |

```python
what = "is not prose"
```
"""
    assert [(sentence.line, sentence.text) for sentence in of_markdown(page)] == [
        (1, "A title"),
        (3, "One sentence."),
        (3, "Another one, with `code` and a link."),
        (6, "An item."),
        (7, "A second item."),
        (7, "With two sentences."),
        (9, "a cell"),
        (9, "`code`"),
        (11, "one more."),
        (11, "Two"),
        (11, "x"),
    ]


def test_sentences_of_python() -> None:
    module = '''"""A module. It has two sentences."""
# A comment, which
# goes over two lines.
def function(a: int) -> None:
    """Do one thing.

    Args:
        a: A number.
        b, c: Two more.

    Raises:
        ValueError: If ``a`` is negative.

    >>> function(1)
    'not prose'
    """
    raise ValueError(f"the number {a} is negative, in the call of it: pass a larger one")

LIMIT = 1
"""An attribute: it has a docstring, too."""
'''
    found = {(sentence.line, sentence.text) for sentence in of_python(module)}
    assert found == {
        (1, "A module."),
        (1, "It has two sentences."),
        (2, "A comment, which goes over two lines."),
        (5, "Do one thing."),
        (8, "A number."),
        (9, "Two more."),
        (12, "If `code` is negative."),
        (17, "the number `code` is negative, in the call of it"),
        (17, "pass a larger one"),
        (20, "An attribute: it has a docstring, too."),
    }


def test_raises_sections_say_when(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    text = '"""Do it.\n\nRaises:\n    ValueError: {} negative.\n"""\n'
    module.write_text(text.format("The number is"))
    assert len([*problems(module)]) == 1
    module.write_text(text.format("If the number is"))
    assert [*problems(module)] == []


def test_long_sentences_are_counted_in_words() -> None:
    [sentence] = of_markdown("word " * LONGEST + "`x y`.")
    assert sentence.words == LONGEST + 1
