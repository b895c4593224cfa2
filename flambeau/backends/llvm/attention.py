"""Attention on the pool: scores of a block of queries at a time, never all of them.

Matrices are (heads, rows, width), where heads are all leading dimensions together.
"""

import functools

import numpy as np

from flambeau.backends import memory, threads
from flambeau.backends.llvm import attention_back_text, attention_text, calls, jit
from flambeau.backends.llvm.conv import registers
from flambeau.backends.llvm.tiles import Tile, best_tile

# units of work that give threads enough to share
UNITS = 8


@functools.cache
def _kernel(tile: Tile) -> int:
    text = attention_text.print_attend(tile, jit.host().vector_bytes)
    return jit.load(text, ("kernel",)).address("kernel")


def tile_for(dtype: np.dtype) -> Tile:
    """The tile whose columns are the queries of a block."""
    return best_tile(calls.KINDS[dtype], jit.host().vector_bytes, registers(), True)


class Layout:
    """Areas of a thread's scratch memory, in items; each starts on a cache line."""

    def __init__(self) -> None:
        self.items = 0

    def area(self, size: int) -> int:
        first = self.items
        self.items += -(-size // 16) * 16
        return first


def rounded(n: int, step: int) -> int:
    """The next multiple of `step`."""
    return -(-n // step) * step


def prepared_mask(mask: np.ndarray | None, like: np.ndarray) -> tuple[np.ndarray, int, int]:
    """A mask as what is added, (.., keys, queries), and its steps for outer and inner heads.

    mask: None, or (L, S) or (B, H, L, S) with sizes of 1 where it is shared; boolean or additive.
    """
    if mask is None:
        return np.zeros(1, like.dtype), 0, 0
    if mask.dtype.kind == "b":
        mask = np.where(mask, like.dtype.type(0), like.dtype.type(-np.inf))
    size = mask.shape[-1] * mask.shape[-2]
    outer, inner = mask.shape[:2] if mask.ndim == 4 else (1, 1)
    turned = np.ascontiguousarray(mask.swapaxes(-1, -2), dtype=like.dtype)
    return turned, (inner * size if outer > 1 else 0), (size if inner > 1 else 0)


def forward(
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    mask: np.ndarray | None,
    scale: float,
    causal: bool,
    inner_heads: int,
) -> np.ndarray:
    """softmax(q @ k.T * scale + mask) @ v for q (heads, L, E), k (heads, S, E), v (heads, S, V).

    mask: as `prepared_mask` takes it, for heads of (outer, inner_heads). Causal: query i sees keys
    up to i. A query that sees no key gives zeros.
    """
    turned, outer, inner = prepared_mask(mask, q)
    tile = tile_for(q.dtype)
    layout, places = _places(q, v, tile)
    heads, queries = q.shape[:2]
    parts = min(max(1, -(-UNITS // heads)), -(-queries // tile.columns))
    settings = {"causal": int(causal), "parts": parts, "mask_outer": outer, "mask_inner": inner,
                "masked": int(mask is not None), "inner_heads": inner_heads}
    slots = threads.get_num_threads() + 1
    out = memory.empty((heads, queries, v.shape[2]), q.dtype)
    calls.launch(_kernel(tile), heads * parts, 1, out, q, k, v, turned,
                 np.array([scale], q.dtype), _sizes(q, v, {**places, **settings}, layout.items),
                 memory.empty((slots * layout.items,), q.dtype), np.zeros(slots, np.int64))
    return out


def _places(q: np.ndarray, v: np.ndarray, tile: Tile) -> tuple[Layout, dict[str, int]]:
    """The areas of scratch memory that both kernels have."""
    keys, value_width = v.shape[1:]
    widest = rounded(max(q.shape[2], value_width), tile.rows) + tile.lanes
    layout = Layout()
    places = {
        "left_at": layout.area(rounded(keys, tile.rows) * q.shape[2]),
        "right_at": layout.area(rounded(value_width, tile.rows) * keys),
        "panel_at": layout.area(widest * tile.columns),
        "scores_at": layout.area(rounded(keys, tile.rows) * tile.columns),
        "result_at": layout.area(widest * tile.columns),
    }
    return layout, places


def _sizes(q: np.ndarray, v: np.ndarray, settings: dict[str, int], items: int) -> np.ndarray:
    heads, queries, width = q.shape
    named = {"heads": heads, "queries": queries, "keys": v.shape[1], "width": width,
             "value_width": v.shape[2], "slot_items": items, **settings}
    return np.array([named[name] for name in attention_text.SIZES], np.int64)


@functools.cache
def _gradient_kernel(tile: Tile) -> int:
    text = attention_back_text.print_gradients(tile, jit.host().vector_bytes)
    return jit.load(text, ("kernel",)).address("kernel")


def gradients(
    g: np.ndarray,
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    mask: np.ndarray | None,
    scale: float,
    causal: bool,
    inner_heads: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The gradients of q, k and v of `forward`, for g (heads, L, V)."""
    turned, outer, inner = prepared_mask(mask, q)
    tile = tile_for(q.dtype)
    layout, places = _places(q, v, tile)
    keys, value_width = v.shape[1:]
    width, columns = q.shape[2], tile.columns
    pitch = rounded(keys, columns)
    sums = [rounded(n, tile.rows) * pitch + columns for n in (width, value_width)]
    areas = {
        "value_left": layout.area(rounded(keys, tile.rows) * value_width),
        "key_right": layout.area(rounded(width, tile.rows) * keys),
        "gradient_panel": layout.area((value_width + tile.lanes) * columns),
        "slopes": layout.area(rounded(keys, tile.rows) * columns),
        "turned": layout.area(columns * columns),
        "query_left": layout.area(rounded(width, tile.rows) * columns),
        "gradient_left": layout.area(rounded(value_width, tile.rows) * columns),
        "key_sums": layout.area(sums[0]),
        "value_sums": layout.area(sums[1]),
        "pitch": pitch,
    }
    settings = {"causal": int(causal), "parts": 1, "mask_outer": outer, "mask_inner": inner,
                "masked": int(mask is not None), "inner_heads": inner_heads}
    slots = threads.get_num_threads() + 1
    outs = tuple([memory.empty(a.shape, a.dtype) for a in (q, k, v)])
    calls.launch(_gradient_kernel(tile), q.shape[0], 1, *outs, q, k, v, g, turned,
                 np.array([scale], q.dtype), _sizes(q, v, {**places, **settings}, layout.items),
                 memory.empty((slots * layout.items,), q.dtype), np.zeros(slots, np.int64),
                 np.array([areas[name] for name in attention_back_text.AREAS], np.int64))
    return outs  # type: ignore[return-value]
