"""The shape of a language's texts, and their layout on a terminal."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Catalogue", "PieceText", "StepText", "columns", "wrap"]

WIDTH = 76


@dataclass(frozen=True)
class PieceText:
    """What is said before a piece of code, after it, and of its parts one by one."""

    before: str
    why: str
    notes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class StepText:
    """A step's title and a text for each of its pieces."""

    title: str
    pieces: tuple[PieceText, ...]


@dataclass(frozen=True)
class Catalogue:
    """All that the lesson says in one language."""

    welcome: str
    goodbye: str
    words: Mapping[str, str]
    steps: Mapping[str, StepText]


# A word, or one Chinese character, with the punctuation that must not be parted from it.
_UNIT = re.compile(r"[（“]*(?:[^\s“”\u2e80-\uffff]+|[\u2e80-\uffff])[，。；：、！？）”]*|\s")


def columns(text: str) -> int:
    """The columns that ``text`` takes on a terminal, where a Chinese character takes two.

    >>> columns("ab"), columns("张量")
    (2, 4)
    """
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def wrap(text: str, indent: str = "", width: int = WIDTH) -> str:
    """``text`` in lines of at most ``width`` columns; a line that starts with a blank stays as is.

    >>> print(wrap("one two three", width=7))
    one two
    three
    """
    lines: list[str] = []
    for paragraph in text.split("\n"):
        lines += [paragraph] if paragraph.startswith(" ") else _fill(paragraph, width - len(indent))
    return "\n".join((indent + line).rstrip() for line in lines)


def _fill(paragraph: str, width: int) -> list[str]:
    lines, line = [], ""
    for unit in _UNIT.findall(paragraph):
        if line and columns(line + unit) > width and not unit.isspace():
            lines.append(line.rstrip())
            line = ""
        line += unit
    return [*lines, line.rstrip()]
