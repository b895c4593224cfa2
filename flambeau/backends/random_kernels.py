"""Many random numbers at once, by kernels: MT19937's words, uniforms and normals made of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau.backends import large, memory, small

BLOCK = 624
# numbers that NumPy makes while a plain function of small arrays runs
_IN_ONE_CALL = 256


def worth(count: int) -> bool:
    """Whether kernels make so many numbers sooner: few, too, once there are any.

    A program that often draws few gets kernels in time.
    """
    if count >= large.MIN_ITEMS or large.started():
        return large.available()
    small.note(1 + count // _IN_ONE_CALL)
    return False


def _kernels() -> Any:
    """The kernels, which there are."""
    # with llvmlite, once kernels are there
    from flambeau.backends.llvm import random_words

    return random_words


def words(key: np.ndarray, out: np.ndarray) -> None:
    """Fill `out`, dense and of whole blocks, with the words after `key`, which goes on; by kernels.
    """
    _kernels().words(key, out)


def floats(words: np.ndarray) -> bool:
    """Make words, dense, float32 uniforms in their place; False with nothing done."""
    if not worth(words.size):
        return False
    _kernels().floats(words)
    return True


def doubles(words: np.ndarray) -> np.ndarray | None:
    """Pairs of words, dense, as float64 uniforms."""
    if not worth(words.size):
        return None
    out = memory.empty((words.size // 2,), np.dtype(np.float64))
    _kernels().doubles(out, words)
    return out


def integers(out: np.ndarray, words: np.ndarray, low: int, span: int) -> bool:
    """Let `out`, dense int64, be ``low + words % span``, for `span` below 2**28.

    False with nothing done.
    """
    if not worth(words.size):
        return False
    _kernels().integers(out, words, low, span)
    return True


def shuffle(order: np.ndarray, words: np.ndarray) -> bool:
    """Let item i of n change places with item ``i + words[i] % (n - i)``, one after another.

    order: int64 and dense, with one more item than there are words. False with nothing done.
    """
    if not worth(words.size):
        return False
    _kernels().shuffle(order, words)
    return True


def normals(words: np.ndarray, mean: float, deviation: float) -> bool:
    """Make words, dense and whole groups of 16, float32 normals in their place; False if not."""
    return worth(words.size) and _kernels().normals(words, mean, deviation)
