"""PyTorch's CPU random engine: the MT19937 word stream, its cached normal and its state bytes."""

from __future__ import annotations

import struct
import threading

import numpy as np

from . import memory, random_kernels

BLOCK = 624
_U32 = np.dtype(np.uint32)
STATE_SIZE = 5056
_HEAD = struct.Struct("<QiiQ")
_TAIL = struct.Struct("<dddi4x8s")
_KEY_END = _HEAD.size + 8 * BLOCK
_SEED_MASK = 2**64 - 1
_NO_FLOAT_CACHE = bytes(8)

DEFAULT_SEED = 67280421310721  # a fresh Generator has this seed in PyTorch too
_FLOAT_BITS = np.uint32(2**24 - 1)
_DOUBLE_BITS = np.uint64(2**53 - 1)
_HALF_WORD = np.uint64(32)
_UNIT_FLOAT = np.float32(2.0**-24)
_UNIT_DOUBLE = 2.0**-53


class _Blocks:
    """MT19937's words, whole blocks at a time: NumPy's, or kernels' once there are any.

    >>> blocks, out = _Blocks(), np.empty(624, np.uint32)
    >>> blocks.seed(0)
    >>> blocks.fill(out)
    >>> out[:2]
    array([2357136044, 2546248239], dtype=uint32)
    """

    __slots__ = ("_bits", "_key", "_lock", "_wanted")

    def __init__(self) -> None:
        # where to put the state before the next block, for those who may go back to it
        self._wanted: list[np.ndarray] | None = None
        self._bits = np.random.MT19937(0)
        # the state, where kernels make the words
        self._key: np.ndarray | None = None
        self._lock = threading.Lock()

    def seed(self, n: int) -> None:
        self._leave()
        self._bits._legacy_seeding(n)
        self._key = None

    def fill(self, out: np.ndarray) -> None:
        """Fill `out`, dense and of whole blocks, with the words that follow."""
        with self._lock:
            self._leave()
            if self._key is None and random_kernels.worth(out.size):
                state = self._bits.state["state"]
                if state["pos"] == BLOCK:
                    self._key = np.array(state["key"], np.uint32)
            if self._key is not None:
                random_kernels.words(self._key, out)
            elif out.size == BLOCK:
                out[...] = self._bits.random_raw(BLOCK)
            else:
                # It costs 20 us to start, but delivers 32-bit words.
                draw = np.random.Generator(self._bits).integers
                out[...] = draw(0, 2**32, size=out.size, dtype=np.uint32)

    def key(self) -> np.ndarray:
        """The state that the last block was made of."""
        return self._bits.state["state"]["key"] if self._key is None else self._key

    def before_next(self) -> list[np.ndarray]:
        """What gets the state that there is now as its only item, when there is another."""
        if self._wanted is None:
            self._wanted = []
        return self._wanted

    def _leave(self) -> None:
        if self._wanted is not None:
            self._wanted.append(np.array(self.key(), np.uint32))
            self._wanted = None

    def restart(self, key: np.ndarray) -> None:
        """Let the next block be the one made of a state."""
        self._leave()
        # at position 0 the next words are its own: nothing is twisted yet
        self._bits.state = {"bit_generator": "MT19937", "state": {"key": key, "pos": 0}}
        self._key = None


class Mark:
    """A place in an engine's stream; ``keys`` gets the state there once there is another."""

    __slots__ = ("block", "cached", "fresh", "keys", "pos", "seed")

    def __init__(self, block: np.ndarray, pos: int, fresh: bool, seed: int,
                 cached: tuple[float | None, bytes], keys: list[np.ndarray]) -> None:
        self.block, self.pos, self.fresh, self.seed, self.cached = block, pos, fresh, seed, cached
        self.keys = keys


class Engine:
    """A stream of 32-bit words equal to that of a PyTorch CPU generator with the same seed.

    Words are drawn a block of 624 ahead; `get_state` reports the position that was consumed.
    `cached_normal` is the second value of the last Box-Muller pair, or None.

    >>> engine = Engine(0)
    >>> engine.words(2)
    array([2357136044, 2546248239], dtype=uint32)
    """

    __slots__ = (
        "_blocks", "_block", "_ints", "_floats", "_doubles", "_pos", "_fresh", "_float_cache",
        "_seed", "cached_normal",
    )  # fmt: skip

    def __init__(self, seed: int = DEFAULT_SEED) -> None:
        self._blocks = _Blocks()
        self.seed(seed)

    def seed(self, n: int) -> None:
        """Restart the stream from the low 32 bits of `n`; a negative `n` wraps to 64 bits."""
        self._seed = n & _SEED_MASK
        self._blocks.seed(self._seed & 0xFFFFFFFF)
        self._set_block(np.empty(BLOCK, np.uint32), BLOCK)
        self._fresh = True
        self._float_cache = _NO_FLOAT_CACHE
        self.cached_normal: float | None = None

    @property
    def initial_seed(self) -> int:
        """The seed given last, as an unsigned 64-bit number."""
        return self._seed

    def _set_block(self, block: np.ndarray, pos: int) -> None:
        self._block = block
        self._pos = pos
        self._ints: list[int] | None = None
        self._floats: np.ndarray | None = None
        # from an even and from an odd position on
        self._doubles: list[np.ndarray | None] = [None, None]

    def _next_block(self) -> None:
        block = np.empty(BLOCK, np.uint32)
        self._blocks.fill(block)
        self._set_block(block, 0)
        self._fresh = False

    def words(self, n: int, out: np.ndarray | None = None) -> np.ndarray:
        """The next `n` 32-bit words, shape (n,), uint32; a new array the caller may overwrite.

        Where `out` is given, a dense array of that shape, they are written there.
        """
        end = self._pos + n
        if end <= BLOCK:
            taken = self._block[self._pos : end]
            self._pos = end
            if out is None:
                return taken.copy()
            out[...] = taken
            return out
        left = BLOCK - self._pos
        missing = n - left
        whole = missing - missing % BLOCK
        if out is None:
            out = memory.empty((n,), _U32)
        out[:left] = self._block[self._pos :]
        if whole:
            drawn = out[left : left + whole]
            self._blocks.fill(drawn)
            self._set_block(drawn[-BLOCK:].copy(), BLOCK)
            self._fresh = False
        if missing > whole:
            self._next_block()
            self._pos = missing - whole
            out[left + whole :] = self._block[: self._pos]
        return out

    def random64(self, n: int) -> np.ndarray:
        """The next `n` 64-bit numbers, shape (n,), uint64; the first word is the high half."""
        return _pairs(self.words(2 * n))

    def floats(self, n: int, out: np.ndarray | None = None) -> np.ndarray:
        """The next `n` uniforms of [0, 1), shape (n,), float32; one word each.

        They are written to `out`, a dense float32 array of that shape, where it is given.
        """
        end = self._pos + n
        if end > BLOCK:
            return unit_floats(self.words(n, None if out is None else out.view(_U32)))
        found = self._floats
        if found is None:
            # All of a block at once: then small draws only copy.
            found = self._floats = unit_floats(self._block.copy())
        made = found[self._pos : end]
        self._pos = end
        if out is None:
            return made.copy()
        out[...] = made
        return out

    def doubles(self, n: int) -> np.ndarray:
        """The next `n` uniforms of [0, 1), shape (n,), float64; two words each."""
        pos = self._pos
        end = pos + 2 * n
        if end > BLOCK:
            return unit_doubles(self.words(2 * n))
        odd = pos & 1
        found = self._doubles[odd]
        if found is None:
            found = self._doubles[odd] = unit_doubles(self._block[odd : BLOCK - odd])
        self._pos = end
        return found[pos >> 1 : end - odd >> 1].copy()

    def ints(self, n: int) -> list[int]:
        """The next `n` 32-bit words as Python's integers."""
        end = self._pos + n
        if end > BLOCK:
            return self.words(n).tolist()
        if self._ints is None:
            self._ints = self._block.tolist()
        found = self._ints[self._pos : end]
        self._pos = end
        return found

    def word(self) -> int:
        """The next 32-bit word."""
        return self.ints(1)[0]

    def double(self) -> float:
        """The next uniform of [0, 1); two words."""
        high, low = self.ints(2)
        return ((high & 0x1FFFFF) << 32 | low) * _UNIT_DOUBLE

    def get_state(self) -> np.ndarray:
        """The state as PyTorch's `Generator.get_state()` lays it out: uint8, shape (5056,)."""
        left = BLOCK + 1 - self._pos
        head = _HEAD.pack(self._seed, left, 1, 0 if self._fresh else self._pos)
        key = self._blocks.key().astype("<u8")
        cached = self.cached_normal
        valid = cached is not None
        tail = _TAIL.pack(0.0, cached if valid else 0.0, 0.0, valid, self._float_cache)
        return np.frombuffer(bytearray(head + key.tobytes() + tail), np.uint8)

    def set_state(self, state: np.ndarray | bytes) -> None:
        """Continue from a state that `get_state`, or PyTorch, returned.

        Raises RuntimeError when the size is not 5056 bytes or the position is impossible.
        """
        data = bytes(state)
        if len(data) != STATE_SIZE:
            raise RuntimeError(
                f"Expected a CPUGeneratorImplState of size {STATE_SIZE} "
                f"but found the input RNG state size to be {len(data)}"
            )
        seed, left, seeded, following = _HEAD.unpack_from(data)
        if seeded != 1 or not 0 < left <= BLOCK or following > BLOCK:
            raise RuntimeError("Invalid mt19937 state")
        key = np.frombuffer(data[_HEAD.size : _KEY_END], "<u8").astype(np.uint32)
        self._blocks.restart(key)
        self._next_block()
        self._pos = BLOCK if left == 1 else following
        self._fresh = left == 1 and following == 0
        self._seed = seed
        _, cached, _, valid, self._float_cache = _TAIL.unpack_from(data, _KEY_END)
        self.cached_normal = cached if valid else None

    def mark(self) -> Mark:
        """The place in the stream, to `go_back` to; quicker than `get_state`.

        >>> engine = Engine(0)
        >>> mark, first = engine.mark(), engine.words(2000)
        >>> engine.go_back(mark)
        >>> (engine.words(2000) == first).all()
        np.True_
        """
        return Mark(self._block, self._pos, self._fresh, self._seed,
                    (self.cached_normal, self._float_cache), self._blocks.before_next())

    def go_back(self, mark: Mark) -> None:
        """Continue from a mark."""
        if mark.keys:
            self._blocks.restart(mark.keys[0])
            self._blocks.fill(np.empty(BLOCK, np.uint32))
        if mark.block is not self._block:
            self._set_block(mark.block, mark.pos)
        self._pos, self._fresh, self._seed = mark.pos, mark.fresh, mark.seed
        self.cached_normal, self._float_cache = mark.cached

    def clone(self) -> Engine:
        """An independent engine at the same place in the stream."""
        other = Engine()
        other.set_state(self.get_state())
        return other


def unit_doubles(words: np.ndarray) -> np.ndarray:
    """Pairs of words as float64 uniforms of [0, 1)."""
    out = random_kernels.doubles(words)
    if out is not None:
        return out
    return (_pairs(words) & _DOUBLE_BITS).view(np.int64) * _UNIT_DOUBLE


def _pairs(words: np.ndarray) -> np.ndarray:
    """Words, an even number, as 64-bit numbers; the first of each two is the high half."""
    out = words[0::2].astype(np.uint64)
    out <<= _HALF_WORD
    out |= words[1::2]
    return out


def unit_floats(words: np.ndarray) -> np.ndarray:
    """Words as float32 uniforms of [0, 1), in their place."""
    out = words.view(np.float32)
    if not random_kernels.floats(words):
        words &= _FLOAT_BITS
        np.multiply(words.view(np.int32).astype(np.float32), _UNIT_FLOAT, out=out)
    return out
