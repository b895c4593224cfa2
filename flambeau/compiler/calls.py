"""Calls of kernels, as they are before a table has them: operands by place, work in pieces."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from flambeau.compiler.access import Access
from flambeau.compiler.graph import Value

__all__ = ["MANY", "Call", "Place", "Single", "Word"]


# So many items of what one thread would walk are left to the kernels of eager mode.
MANY = 1 << 18


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


class Single(Protocol):
    """A node that is calls of its own, outside of fused kernels."""

    @property
    def outs(self) -> Sequence[Value]:
        """What it makes."""

    @property
    def ins(self) -> Sequence[Access]:
        """What it reads."""

    @property
    def nbytes(self) -> int:
        """How many bytes it reads and writes."""

    @property
    def scratch(self) -> list[int]:
        """Bytes of each piece of memory that it needs while it runs."""

    def calls(self, words: list[Word], scratch: list[Place]) -> list[list[Call]]:
        """Its calls on the result and the operands, one list after another."""
