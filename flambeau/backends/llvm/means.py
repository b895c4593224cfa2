"""The transpose of means of windows: each gradient is spread; a plane is a unit of work."""

import functools
from collections.abc import Sequence

import numpy as np

from flambeau.backends import memory
from flambeau.backends.llvm import calls, conv_text, jit
from flambeau.backends.llvm import lanes as ln
from flambeau.backends.llvm.conv_text import Writer
from flambeau.backends.llvm.emit import Value
from flambeau.backends.llvm.loops import Loop
from flambeau.backends.llvm.maxima import TABLE, piece_of, window_bounds
from flambeau.backends.llvm.printer import load_pointers, load_vector, store_vector


def _plane_loops(w: Writer, t: dict[str, str]) -> tuple[list[Loop], list[tuple], str]:
    """Loops over the windows of a plane, the cells of each, and its number."""
    loops: list[Loop] = []
    bounds: list[tuple] = []
    number = "0"
    for axis in range(3):
        loops.append(Loop(w.e, 0, t[f"out{axis}"]))
        bounds.append(window_bounds(w, t, axis, loops[-1].index))
        number = w.add(w.mul(number, t[f"out{axis}"]), loops[-1].index)
    return loops, bounds, number


def _sizes(w: Writer, t: dict[str, str], name: str) -> str:
    return w.mul(w.mul(t[f"{name}0"], t[f"{name}1"]), t[f"{name}2"])


def print_spread(kind: str) -> str:
    """The kernel: context planes, gradients, divisors (one a window), table."""
    w = Writer(1)
    e = w.e
    planes, gradients, divisors, table = load_pointers(e, 4)
    t = w.named(table, TABLE)
    cells, windows = _sizes(w, t, "size"), _sizes(w, t, "out")
    units = Loop(e, "%begin", "%end")
    plane = w.place(kind, planes, w.mul(units.index, cells))
    first = w.mul(units.index, windows)
    clear = Loop(e, 0, cells)
    ln.store_item(e, Value("0.0", kind), plane, clear.index)
    clear.close()
    loops, bounds, number = _plane_loops(w, t)
    gradient = load_vector(e, kind, gradients, w.add(first, number), None)
    share = e.div(gradient, load_vector(e, kind, divisors, number, None))
    row, inner = "0", []
    for axis, limits in enumerate(bounds):
        first_cell, end, step = limits
        inner.append(Loop(e, first_cell, end, step))
        row = w.add(w.mul(row, t[f"size{axis}"]), inner[-1].index)
    store_vector(e, e.add(load_vector(e, kind, plane, row, None), share), plane, row, None)
    for loop in (*inner[::-1], *loops[::-1], units):
        loop.close()
    return _module(w)


def _module(w: Writer) -> str:
    function = w.function("void @kernel(ptr %context, i64 %begin, i64 %end)")
    return conv_text.module([(function, w.e.declarations)], 16)


@functools.cache
def _address(kind: str) -> int:
    return jit.load(print_spread(kind), ("kernel",)).address("kernel")


def spread(
    g: np.ndarray, divisors: np.ndarray, table: Sequence[int], size: Sequence[int]
) -> np.ndarray:
    """Planes (planes, *size) that each window's gradient over its divisor is added to."""
    out = memory.empty((g.shape[0], *size), g.dtype)
    calls.launch(_address(calls.KINDS[g.dtype]), g.shape[0], piece_of(out[0].size), out, g,
                 divisors, np.array(table, np.int64))
    return out
