"""Calls of kernels, as they are before a table has them: operands by place, work in pieces."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Call", "Place", "Word"]


class Place(NamedTuple):
    """Where a value's elements are: "arena" (a byte), "slot" (an array of the call), "const"."""

    kind: str
    at: int


# A number, or a place and a number of bytes from it.
Word = int | tuple[Place, int]


class Call(NamedTuple):
    """A kernel over [0, ``items``), ``chunk`` at once if it runs by itself.

    Pieces may be of any multiple of ``grain``; ``work`` is about the bytes it moves.
    """

    kernel: int
    items: int
    chunk: int
    words: list[Word]
    work: int
    grain: int = 1
