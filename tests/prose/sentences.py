"""Finds the sentences of Markdown files, docstrings, comments and messages."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Kind = Literal["prose", "message", "raises"]

_ABBREVIATIONS: Final = re.compile(r"\b(e\.g|i\.e|etc|vs|cf|no|approx|St|Dr)\.", re.IGNORECASE)
_END: Final = re.compile(r"(?<=[.!?])[\"')\]*]*\s+(?=[\"'(\[*`]*[A-Z0-9`<])")
_CODE: Final = re.compile(r"``[^`]*``|`[^`]*`")
_LINK: Final = re.compile(r"!?\[([^\]]*)\](?:\([^)]*\)|\[[^\]]*\])")
_ITEM: Final = re.compile(r"^\s*(?:[-*+]|\d+\.)\s+")
_ENTRY: Final = re.compile(r"^\s*(?:\*{0,2}[\w.]+(?:, \*{0,2}[\w.]+)*|`[^`]+`)(?: \([^)]*\))?:\s")
_SECTION: Final = re.compile(
    r"^\s*(?:Args|Returns|Raises|Yields|Attributes|Example|Examples|Note|Warning|Properties|References):\s*$"
)
MESSAGE_WORDS: Final = 5


@dataclass(frozen=True, kw_only=True)
class Sentence:
    """One sentence, with its line and the kind of text that it stands in."""

    line: int
    text: str
    kind: Kind

    @property
    def words(self) -> int:
        """Words, of which an inline code span, a link or a number is one."""
        return sum(bool(re.search(r"\w", word)) for word in self.text.split())


def of_file(path: Path) -> Iterator[Sentence]:
    """The sentences of a Markdown file or a Python module."""
    source = path.read_text(encoding="utf-8")
    yield from of_markdown(source) if path.suffix == ".md" else of_python(source)


def of_markdown(source: str) -> Iterator[Sentence]:
    """The sentences of Markdown, without its code blocks, comments and front matter."""
    source = re.sub(r"<!--.*?-->", lambda match: "\n" * match[0].count("\n"), source, flags=re.DOTALL)
    source = re.sub(r"\A---\n.*?\n---\n", lambda match: "\n" * match[0].count("\n"), source, flags=re.DOTALL)
    block: list[str] = []
    start, fence = 1, ""
    for number, line in enumerate([*source.splitlines(), ""], 1):
        if opened := re.match(r"\s*(```+|~~~+)", line):
            yield from _split(block, start, "prose")
            block, fence = [], "" if fence else opened[1]
            continue
        if fence or (re.match(r"^( {4}|\t)(?![-*+\d])", line) and not block):
            continue
        if line.lstrip().startswith("|"):
            yield from _split(block, start, "prose")
            block = []
            if not re.fullmatch(r"[\s|:-]+", line):
                for cell in re.split(r"(?<!\\)\|", line.strip().strip("|")):
                    yield from _split([cell], number, "prose")
            continue
        alone = not line.strip() or line.lstrip().startswith(("#", "::: ", "!!!", "???", "===", "--8<--", "<"))
        if alone or _ITEM.match(line):
            yield from _split(block, start, "prose")
            block = []
        if line.lstrip().startswith("#"):
            yield from _split([line.lstrip("# ")], number, "prose")
        elif not alone:
            start = number if not block else start
            block.append(_ITEM.sub("", line))


def of_python(source: str) -> Iterator[Sentence]:
    """The sentences of a module's docstrings, comments and messages."""
    tree = ast.parse(source)
    docstrings = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            docstrings.add(id(node.value))
            yield from _of_docstring(node.value.value, node.lineno)
    yield from _of_messages(tree, docstrings)
    yield from _of_comments(source)


def _of_docstring(text: str, line: int) -> Iterator[Sentence]:
    block: list[str] = []
    start, example, fence, raises = line, False, False, False
    kind: Kind = "prose"
    for number, row in enumerate([*text.splitlines(), ""], line):
        if row.lstrip().startswith("```"):
            fence = not fence
            continue
        example = row.lstrip().startswith(">>>") or (example and bool(row.strip()))
        entry = bool(_ENTRY.match(row))
        if not row.strip() or example or fence or entry or _SECTION.match(row) or _ITEM.match(row):
            yield from _split(block, start, kind)
            block, kind = [], "raises" if raises and entry else "prose"
        if _SECTION.match(row):
            raises = row.strip() == "Raises:"
        elif not example and not fence and row.strip():
            start = number if not block else start
            block.append(_ITEM.sub("", _ENTRY.sub("", row)))


def _of_messages(tree: ast.AST, docstrings: set[int]) -> Iterator[Sentence]:
    """Literals of several words: messages of errors, warnings and logs, and texts that users see."""
    inside: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            inside |= {id(part) for part in ast.walk(node) if part is not node}
            text = "".join(str(part.value) if isinstance(part, ast.Constant) else "`x`" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings | inside:
            text = node.value
        else:
            continue
        if len(re.findall(r"[A-Za-z]{2,}", text)) >= MESSAGE_WORDS and not re.search(r"[<>{}\\]|^\s*SELECT ", text):
            yield from _split([text], node.lineno, "message")


def _of_comments(source: str) -> Iterator[Sentence]:
    block: list[str] = []
    start = last = 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT or re.match(r"#\s*(?:noqa|type:|fmt:|pragma|!)", token.string):
            continue
        text = re.sub(r"\s*#\s*(?:noqa|type: ignore).*", "", token.string.lstrip("# "))
        text = re.sub(r"^(?:noqa|type: ignore)\S*( - )?", "", text)
        if token.start[0] != last + 1 or not token.line.lstrip().startswith("#"):
            yield from _split(block, start, "prose")
            block, start = [], token.start[0]
        block.append(text)
        last = token.start[0]
    yield from _split(block, start, "prose")


def _split(lines: list[str], start: int, kind: Kind) -> Iterator[Sentence]:
    text = _LINK.sub(lambda match: match[1], "\n".join(lines))
    text = _CODE.sub("`code`", text)
    text = _ABBREVIATIONS.sub(lambda match: match[0].replace(".", "․"), text)
    position, offset = 0, 0
    for end in [*(match.end() for match in _END.finditer(text)), len(text)]:
        sentence = text[position:end]
        offset = text.count("\n", 0, position + len(sentence) - len(sentence.lstrip()))
        if sentence.strip():
            parts = sentence.split(": ") if kind == "message" else [sentence]
            for part in parts:
                yield Sentence(line=start + offset, text=" ".join(part.split()), kind=kind)
            kind = "prose" if kind == "raises" else kind
        position = end
