"""Attention on the pool: scores of a block of queries at a time, never all of them.

Arrays are (batch, heads, rows, width), of any strides but the last, which is one item.
"""

import functools
from collections.abc import Sequence

import numpy as np

from flambeau.backends import memory, threads
from flambeau.backends.llvm import ahead, attention_back_text, attention_text, calls, jit
from flambeau.backends.llvm.conv import registers
from flambeau.backends.llvm.shared import Shared
from flambeau.backends.llvm.strided_tiles import tallest
from flambeau.backends.llvm.tiles import Tile

# units of work that give threads enough to share
UNITS = 8
# rows that lie this many bytes apart share their places in the caches
CONFLICT = 256


@functools.cache
def _kernel(tile: Tile) -> int:
    ahead.expect(functools.partial(_gradient_kernel, tile))
    return _loaded(*attention_text.print_attend(tile, jit.host().vector_bytes))


@functools.cache
def _gradient_kernel(tile: Tile) -> int:
    return _loaded(*attention_back_text.print_gradients(tile, jit.host().vector_bytes))


def _loaded(text: str, imported: Sequence[Shared]) -> int:
    modules = [(x.text, x.exports) for x in imported]
    return jit.load(text, ("kernel",), modules=modules).address("kernel")


def tile_for(dtype: np.dtype) -> Tile:
    """The tile whose columns are the queries of a block."""
    return tallest(calls.KINDS[dtype], jit.host().vector_bytes, registers())


class Layout:
    """Areas of a thread's scratch memory, in items; each starts on a cache line."""

    def __init__(self) -> None:
        self.items = 0

    def area(self, size: int) -> int:
        """Where an area of so many items starts."""
        first = self.items
        self.items += -(-size // 16) * 16
        return first


def rounded(n: int, step: int) -> int:
    """The next multiple of `step`."""
    return -(-n // step) * step


def pitch_of(width: int, tile: Tile, itemsize: int) -> int:
    """How far apart copied rows lie."""
    pitch = rounded(width, tile.lanes)
    return pitch + 2 * tile.lanes if pitch * itemsize % CONFLICT == 0 else pitch


def prepared_mask(mask: np.ndarray | None, dtype: np.dtype) -> tuple[np.ndarray, int, int]:
    """A mask as what is added, (.., keys, queries), and its steps for outer and inner heads.

    mask: None, or (L, S) or (B, H, L, S) with sizes of 1 where it is shared; boolean or additive.
    """
    if mask is None:
        return np.zeros(1, dtype), 0, 0
    if mask.dtype.kind == "b":
        mask = np.where(mask, dtype.type(0), dtype.type(-np.inf))
    size = mask.shape[-1] * mask.shape[-2]
    outer, inner = mask.shape[:2] if mask.ndim == 4 else (1, 1)
    turned = np.ascontiguousarray(mask.swapaxes(-1, -2), dtype=dtype)
    return turned, (inner * size if outer > 1 else 0), (size if inner > 1 else 0)


class Call:
    """What both kernels are called with: sizes, scratch memory, and how their matrices lie."""

    def __init__(self, q: np.ndarray, v: np.ndarray, causal: bool, together: int = 1) -> None:
        """For blocks of queries of which so many lie side by side."""
        self.tile = tile = tile_for(q.dtype)
        self.dtype, self.layout = q.dtype, Layout()
        (batch, heads, queries, width), (keys, value_width) = q.shape, v.shape[2:]
        self.heads = batch * heads
        self.sizes = {
            "inner_heads": heads, "queries": queries, "keys": keys, "width": width,
            "value_width": value_width, "causal": int(causal), "parts": 1,
            "key_pitch": pitch_of(width, tile, q.itemsize),
            "value_pitch": pitch_of(value_width, tile, q.itemsize)}
        area = self.layout.area
        # panels are written, and results read, in whole squares of vectors
        widest = rounded(max(width, value_width), tile.lanes)
        self.areas = [
            area(keys * self.sizes["key_pitch"]), area(keys * self.sizes["value_pitch"]),
            area(widest * tile.columns), area(keys * tile.columns * together),
            area(widest * tile.columns)]

    def launch(self, kernel: int, matrices: list[np.ndarray], mask: np.ndarray | None,
               scale: float) -> None:
        """Run a kernel; the first of its matrices is a new array."""
        turned, outer, inner = prepared_mask(mask, self.dtype)
        items = self.layout.items
        sizes = {**self.sizes, "mask_outer": outer, "mask_inner": inner,
                 "masked": int(mask is not None), "slot_items": items}
        strides = [step // a.itemsize for a in matrices for step in a.strides[:3]]
        slots = threads.get_num_threads() + 1
        places = [a.__array_interface__["data"][0] for a in matrices[1:]]
        calls.launch(kernel, self.heads * sizes["parts"], 1, matrices[0], *places, turned,
                     np.array([scale], self.dtype),
                     np.array([sizes[name] for name in attention_text.SIZES], np.int64),
                     np.array(strides, np.int64), np.array(self.areas, np.int64),
                     memory.empty((slots * items,), self.dtype), np.zeros(slots, np.int64))


def forward(q: np.ndarray, k: np.ndarray, v: np.ndarray, mask: np.ndarray | None, scale: float,
            causal: bool) -> np.ndarray:
    """softmax(q @ k.T * scale + mask) @ v for q (B, H, L, E), k (B, H, S, E), v (B, H, S, V).

    mask: as `prepared_mask` takes it. Causal: query i sees keys up to i. A query that sees no key
    gives zeros.
    """
    call = Call(q, v, causal)
    blocks = -(-q.shape[2] // call.tile.columns)
    call.sizes["parts"] = min(max(1, -(-UNITS // max(call.heads, 1))), blocks)
    out = memory.empty((*q.shape[:3], v.shape[3]), q.dtype)
    call.launch(_kernel(call.tile), [out, q, k, v], mask, scale)
    return out


def gradients(g: np.ndarray, q: np.ndarray, k: np.ndarray, v: np.ndarray, mask: np.ndarray | None,
              scale: float, causal: bool) -> list[np.ndarray]:
    """The gradients of q, k and v of `forward`, for g (B, H, L, V)."""
    together = attention_back_text.TOGETHER
    call = Call(q, v, causal, together)
    area, columns = call.layout.area, call.tile.columns
    keys, value_width = v.shape[2:]
    widths = [rounded(n, columns) for n in (q.shape[3], value_width)]
    call.areas += [
        area(rounded(value_width, call.tile.lanes) * columns), area(keys * columns * together),
        area(widths[0] * columns * together), area(widths[1] * columns * together),
        area(keys * widths[0]), area(keys * widths[1])]
    outs = [memory.empty(a.shape, a.dtype) for a in (q, k, v)]
    call.launch(_gradient_kernel(call.tile), [*outs, q, k, v, g], mask, scale)
    return outs
