"""Random numbers on the pool: MT19937's words, one thread's work, and what is made of them."""

import functools
from collections.abc import Callable

import numpy as np

from flambeau.backends.llvm import calls, host, jit, random_text

BLOCK, GROUP = random_text.BLOCK, random_text.GROUP
# numbers in one piece of work, whole groups
PIECE = 1 << 14
_TEXTS: dict[str, Callable[[], str]] = {
    "words": random_text.words_text, "floats": random_text.floats_text,
    "doubles": random_text.doubles_text, "normals": random_text.normals_text,
    "integers": random_text.integers_text, "shuffle": random_text.shuffle_text}


@functools.cache
def _address(name: str) -> int:
    return jit.load(_TEXTS[name](), ("kernel",)).address("kernel")


def words(state: np.ndarray, out: np.ndarray) -> None:
    """Fill `out`, whole blocks, with the words that follow a state; the state goes on."""
    blocks = out.size // BLOCK
    calls.launch(_address("words"), blocks, blocks, state, out)


def floats(words: np.ndarray) -> None:
    """Make words float32 uniforms in their place."""
    calls.launch(_address("floats"), words.size, PIECE, words)


def doubles(out: np.ndarray, words: np.ndarray) -> None:
    """Make float64 uniforms of pairs of words."""
    calls.launch(_address("doubles"), out.size, PIECE, out, words)


def integers(out: np.ndarray, words: np.ndarray, low: int, span: int) -> None:
    """Make int64 numbers ``low + word % span``, for `span` below 2**31."""
    line = np.array([span, 1 / span])
    calls.launch(_address("integers"), out.size, PIECE, out, words, line, low)


def shuffle(order: np.ndarray, words: np.ndarray) -> None:
    """Let every int64 item but the last change places with one that its word chooses."""
    calls.launch(_address("shuffle"), words.size, words.size, order, words)


def normals(words: np.ndarray, mean: float, deviation: float) -> bool:
    """Make words, whole groups of them, float32 normals in their place.

    False, with nothing done, on machines that round sums of products twice.
    """
    if not host.fuses():
        return False
    line = np.array([mean, deviation], np.float32)
    calls.launch(_address("normals"), words.size // GROUP, PIECE // GROUP, words, line)
    return True
