"""Many random numbers at once, by kernels: MT19937's words, uniforms and normals made of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau.backends import large, memory

BLOCK = 624
_U32 = np.dtype(np.uint32)


def _kernels(count: int, least: int = large.MIN_ITEMS) -> Any:
    """The kernels, for so many numbers; None where they are few, or there are none."""
    if count < least or large.load() is None:
        return None
    # with llvmlite, once kernels are there
    from flambeau.backends.llvm import random_words

    return random_words


def more_words(bits: np.random.MT19937, out: np.ndarray) -> None:
    """Fill `out`, dense and of whole blocks, with the words after the block that `bits` is behind.

    >>> bits, out = np.random.MT19937(0), np.empty(624, np.uint32)
    >>> bits._legacy_seeding(0)
    >>> more_words(bits, out)
    >>> out[:2]
    array([2357136044, 2546248239], dtype=uint32)
    """
    kernels = _kernels(out.size)
    state = bits.state
    if kernels is None or state["state"]["pos"] != BLOCK:
        # Unlike random_raw, integers() delivers 32-bit words, but costs 20 us to start.
        drawn = np.random.Generator(bits).integers(0, 2**32, size=out.size, dtype=np.uint32)
        out[...] = drawn
        return
    key = np.ascontiguousarray(state["state"]["key"], np.uint32)
    kernels.words(key, out)
    state["state"]["key"] = key
    bits.state = state


def floats(words: np.ndarray) -> bool:
    """Make most words, dense, float32 uniforms in their place: whole groups; False where none."""
    kernels = _kernels(words.size)
    if kernels is None:
        return False
    kernels.floats(words[: words.size - words.size % kernels.GROUP])
    return True


def doubles(words: np.ndarray) -> np.ndarray | None:
    """Pairs of words, dense, as float64 uniforms, of which those behind whole groups are blank."""
    kernels = _kernels(words.size)
    if kernels is None:
        return None
    out = memory.empty((words.size // 2,), np.dtype(np.float64))
    kernels.doubles(out[: out.size - out.size % kernels.LANES], words)
    return out


def shuffle(order: np.ndarray, words: np.ndarray) -> bool:
    """Let item i of n change places with item ``i + words[i] % (n - i)``, one after another.

    order: int64 and dense, with one more item than there are words. False with nothing done.
    """
    kernels = _kernels(words.size)
    if kernels is None:
        return False
    kernels.shuffle(order, words)
    return True


def normals(words: np.ndarray, mean: float, deviation: float) -> bool:
    """Make words, dense and whole groups of 16, float32 normals in their place; False if not."""
    kernels = _kernels(words.size, 0 if large.started() else large.MIN_ITEMS)
    return kernels is not None and kernels.normals(words, mean, deviation)
