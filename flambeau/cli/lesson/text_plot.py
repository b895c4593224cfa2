"""A plot made of characters, for a terminal without pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["plot"]

Series = tuple[Sequence[float], Sequence[float], str]

_LABEL = 8


def plot(series: Sequence[Series], x_label: str = "", width: int = 64, height: int = 14,
         log: bool = False) -> str:
    """The series in one frame of ``width`` by ``height`` characters, and the ends of both axes.

    A series is its x, its y and the character that marks it; a later one covers an earlier one.
    With ``log`` the y axis is logarithmic, and every y must be positive (ValueError otherwise).

    >>> print(plot([([0, 1, 2], [0, 1, 4], "o")], width=5, height=3))
           4 |    o
             |
           0 |o o
             +-----
              0   2
    """
    xs = [x for some, _, _ in series for x in some]
    ys = [y for _, some, _ in series for y in some]
    left, right, low, high = min(xs), max(xs), min(ys), max(ys)
    canvas = [[" "] * width for _ in range(height)]
    for some_x, some_y, mark in series:
        for x, y in zip(some_x, some_y):
            column = round(_share(x, left, right) * (width - 1))
            if log:
                share = _share(math.log(y), math.log(low), math.log(high))
            else:
                share = _share(y, low, high)
            canvas[height - 1 - round(share * (height - 1))][column] = mark
    labels = [_number(high), *[""] * (height - 2), _number(low)]
    rows = [f"{label:>{_LABEL}} |{''.join(row)}".rstrip() for label, row in zip(labels, canvas)]
    edge = " " * (_LABEL + 1)
    ends = _number(left) + x_label.center(width - len(_number(left)) - len(_number(right)))
    return "\n".join([*rows, edge + "+" + "-" * width, f"{edge} {ends}{_number(right)}"])


def _share(value: float, low: float, high: float) -> float:
    """Where ``value`` lies between ``low`` (0) and ``high`` (1)."""
    return (value - low) / (high - low) if high > low else 0.5


def _number(value: float) -> str:
    return f"{value:.4g}"
