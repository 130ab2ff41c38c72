"""Finds sentences, and other parts that a passage should not divide, in plain text and Markdown."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_CODE: Final = re.compile(
    r"^[ \t]*+(`{3,}+|~{3,}+)[^\n`]*\n(?:.*?^[ \t]*+\1[^\n]*(?:\n|\Z)|.*\Z)", re.DOTALL | re.MULTILINE
)
_LINE: Final = re.compile(r"[^\n]*\n|[^\n]+")
_HEADING: Final = re.compile(r"[ \t]{0,3}#{1,6}(?:[ \t]|$)")
_ITEM: Final = re.compile(r"[ \t]*(?:\||(?:[-*+•]|\d{1,9}[.)])(?:\s|$))")
_WORD: Final = re.compile(r"\s*\S+\s*")
_CLOSERS: Final = "\"'”’»›)\\]}」』）】》*_"
_END: Final = re.compile(rf"(?<![.!?…])[.!?…]++[{_CLOSERS}]*+(?=\s)|[。！？｡．।॥؟۔։።၊။]+[{_CLOSERS}]*")
_ABBREVIATION: Final = re.compile(
    r"(?:^|[\s(\[\"'“„»«])(?:\w|\d{1,2}|(?:\w\.)+\w|"
    r"mrs?|ms|dr|prof|st|sr|jr|rev|gen|col|sgt|capt|lt|hon|messrs|mmes?|mlles?|vs|cf|al|etc|approx|ca|dept|est|"
    r"figs?|nos?|nr|vols?|pp?|ed|eds|ch|sec|eq|inc|ltd|co|corp|jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec|"
    r"bzw|usw|abb|bd|hrsg|vgl|evtl|ggf|inkl|zzgl|str|tel|sog|art|av|env|hr|fr|sra?|dra|ud|uds|pág|núm|"
    r"т\.е|т\.д|т\.п|г|гг|ул|стр|рис)\.$",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Unit:
    """A part of a text that stays whole if it fits into a passage.

    Attributes:
        start: The index of its first character.
        end: The index after its last character.
        heading: Whether it is a heading, which belongs with the text after it.
    """

    start: int
    end: int
    heading: bool = False


def split_sentences(text: str) -> list[Unit]:
    """Return sentences, headings, list items, table rows and blocks of code; together, they are the whole text."""
    units: list[Unit] = []
    position = 0
    for code in _CODE.finditer(text):
        units += _of_prose(text, position, code.start())
        units.append(Unit(code.start(), code.end()))
        position = code.end()
    units += _of_prose(text, position, len(text))
    whole: list[Unit] = []
    for unit in units:
        if whole and text[unit.start : unit.end].isspace():
            whole[-1] = replace(whole[-1], end=unit.end)
        else:
            whole.append(unit)
    return whole


def divide(text: str, unit: Unit) -> list[Unit]:
    """Divide a unit into lines; a line into words; or a word into halves. One character stays unchanged."""
    for pattern in (_LINE, _WORD):
        found = [Unit(*each.span()) for each in pattern.finditer(text, unit.start, unit.end)]
        if len(found) > 1:
            return found
    half = (unit.start + unit.end) // 2
    return [Unit(unit.start, half), Unit(half, unit.end)] if unit.start < half else [unit]


def _of_prose(text: str, start: int, end: int) -> Iterator[Unit]:
    """Yield the sentences between two positions, block by block."""
    block = start
    for line in _LINE.finditer(text, start, end):
        begin, stop = line.span()
        is_heading = _HEADING.match(text, begin, stop) is not None
        if is_heading or _ITEM.match(text, begin, stop):
            yield from _of_block(text, block, begin)
            block = begin
        if is_heading:
            yield Unit(begin, stop, heading=True)
            block = stop
        elif text[begin:stop].isspace():
            yield from _of_block(text, block, stop)
            block = stop
    yield from _of_block(text, block, end)


def _of_block(text: str, start: int, end: int) -> Iterator[Unit]:
    """Yield the sentences of one paragraph or list item; white space after a sentence belongs to it."""
    begin = start
    for found in _END.finditer(text, start, end):
        stop = found.end()
        if not _is_end(text, found.start(), stop, end):
            continue
        while stop < end and text[stop].isspace():
            stop += 1
        yield Unit(begin, stop)
        begin = stop
    if begin < end:
        yield Unit(begin, end)


def _is_end(text: str, start: int, stop: int, end: int) -> bool:
    """Tell whether punctuation ends a sentence: not before a small letter, or after an abbreviation or a number."""
    if text[stop : min(stop + 64, end)].lstrip()[:1].islower():
        return False
    return text[start:stop] != "." or not _ABBREVIATION.search(text, max(0, stop - 16), stop)
