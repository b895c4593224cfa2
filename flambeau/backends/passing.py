"""Whether what a program computes now is passing: computed once or twice, by no kernel later."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

__all__ = ["PASSING", "in_passing", "is_brief"]

# Bytes of an array up to which NumPy is done before a kernel is compiled, or loaded.
BRIEF = 1 << 20


class _Passing:
    """Set while a step is traced: what it computes then compiled code computes from then on."""

    now = False


PASSING = _Passing()


@contextmanager
def in_passing() -> Iterator[None]:
    """Take what is computed meanwhile for passing."""
    before, PASSING.now = PASSING.now, True
    try:
        yield
    finally:
        PASSING.now = before


def is_brief(array: np.ndarray) -> bool:
    """Whether an array is not worth a kernel now, where NumPy gives the same bits.

    >>> is_brief(np.zeros(100_000))
    False
    """
    return PASSING.now and array.nbytes <= BRIEF
