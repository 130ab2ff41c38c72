"""Reads the text formats of the packages that the test collections are built from."""

from __future__ import annotations

import gzip
import re
import string
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

ENTITIES: Final = {"gt": ">", "lt": "<", "sol": "/", "verbar": "|", "amp": "&"}
LETTERS: Final = string.ascii_uppercase + string.ascii_lowercase + string.digits + "+/"


def squash(text: str) -> str:
    """The text with one space between its words."""
    return " ".join(text.split())


def mask(text: str, name: str) -> str:
    """The text without a name, so that a query for the name does not simply find itself."""
    words = re.findall(r"\w+", name)
    if not words:
        return text
    return squash(re.sub(r"(?i)(?<!\w)" + r"\W+".join(map(re.escape, words)) + r"s?(?!\w)", " ", text))


def pieces(text: str, *, words: int = 350, least: int = 60, most: int = 6) -> list[str]:
    """Consecutive pieces of a text of ``words`` words each. A last one of fewer than ``least`` is left out."""
    all_words = text.split()
    cut = [all_words[start : start + words] for start in range(0, len(all_words), words)][:most]
    return [" ".join(piece) for piece in cut if len(piece) >= least]


def manual_page(text: str) -> dict[str, str]:
    """The sections of a manual page in troff, by their upper-case names."""
    text = re.sub(r"(?ms)^\.(?:TS|EX)\b.*?^\.(?:TE|EE)\b.*?$", " ", text)
    text = re.sub(r"(?m)^\.(?:SS|SH) *$\n", ".SS ", text)
    text = re.sub(r"(?m)^[.'](?!SH|SS|[BI]\b|[BIR][BIR]\b|SM\b|SB\b|UR\b|MR\b).*$", " ", text)
    text = re.sub(r"\\f(?:\(..|\[\w*\]|.)|\\s[+-]?\d|\\[&|^/,:%c]|\\\"[^\n]*", "", text)
    text = re.sub(r"\\\(..|\\\*?\[[^\]]*\]|\\\*\(..|\\\*.", " ", text).replace("\\-", "-").replace("\\e", "\\")
    parts = re.split(r"(?m)^\.SH +\"?(.+?)\"?$", text)
    bodies = (re.sub(r"(?m)^\.\w\w? ?", " ", body).replace('"', "") for body in parts[2::2])
    return {name.strip().upper(): squash(body) for name, body in zip(parts[1::2], bodies, strict=True)}


def pod_text(text: str) -> str:
    """Text of Perl's documentation without its formatting codes."""

    def plain(code: re.Match[str]) -> str:
        letter, inner = code[1], code[2].strip()
        if letter in "XZ":
            return ""
        if letter == "E":
            return ENTITIES.get(inner, " ")
        return inner.partition("|")[0] if letter == "L" else inner

    before = None
    text = re.sub(
        r"([A-Z])<<+\s((?:(?!<<).)*?)\s>>+", lambda code: plain(code).replace("<", "‹").replace(">", "›"), text
    )
    while before != text:
        before, text = text, re.sub(r"([A-Z])<([^<>]*)>", plain, text)
    return squash(text.replace("‹", "<").replace("›", ">"))


def pod_sections(text: str) -> list[tuple[str, str]]:
    """The headings and items of a page of Perl's documentation, each with the text below it."""
    parts = re.split(r"(?m)^=(?:head[1-4]|item) +(.+?)$", text)
    bodies = (re.sub(r"(?m)^=\w+.*$", " ", body) for body in parts[2::2])
    return [(pod_text(head), pod_text(body)) for head, body in zip(parts[1::2], bodies, strict=True)]


def control_fields(text: str) -> dict[str, str]:
    """The fields of a paragraph in the format of Debian's control files."""
    fields = re.findall(r"(?m)^([\w-]+):((?:.*\n?)(?:[ \t].*\n?)*)", text)
    return {name: squash(re.sub(r"(?m)^ \.$", " ", value)) for name, value in fields}


def dictionary(folder: Path, name: str) -> list[str]:
    """The entries of a dictionary in the format of dictd, in their order."""

    def number(text: str) -> int:
        return sum(LETTERS.index(letter) * 64**place for place, letter in enumerate(reversed(text)))

    data = gzip.decompress((folder / f"{name}.dict.dz").read_bytes())
    lines = (line.split("\t") for line in (folder / f"{name}.index").read_text("utf8").splitlines())
    spans = sorted({(number(start), number(length)) for head, start, length in lines if not head.startswith("00")})
    return [data[start : start + length].decode("utf8", "replace") for start, length in spans]


@dataclass(frozen=True, kw_only=True)
class Synset:
    """A concept of WordNet: its words, definition, example sentences and the kinds of it."""

    words: list[str]
    definition: str
    examples: list[str]
    kinds: list[str]


def synset(line: str) -> Synset:
    """A concept from a line of WordNet's data files."""
    fields, _, gloss = line.partition("|")
    parts = fields.split()
    count = int(parts[3], 16)
    words = [word.replace("_", " ").partition("(")[0] for word in parts[4 : 4 + 2 * count : 2]]
    pointers = parts[5 + 2 * count : 5 + 2 * count + 4 * int(parts[4 + 2 * count])]
    kinds = [
        place + offset
        for symbol, offset, place in zip(*(pointers[n::4] for n in range(3)), strict=True)
        if symbol == "~"
    ]
    definition = re.sub(r"(; )+", "; ", squash(re.sub(r'"[^"]*"', "", gloss)).strip(" ;:"))
    examples = re.findall(r'"([^"]+)"', gloss)
    return Synset(words=words, definition=re.sub(r"[;: ]+$", "", definition), examples=examples, kinds=kinds)
