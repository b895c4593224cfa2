"""Evenly spaced numbers on the pool: every item is computed from its place alone."""

import functools

import numpy as np

from flambeau.backends.llvm import calls, conv_text, jit
from flambeau.backends.llvm import lanes as ln
from flambeau.backends.llvm.conv_text import Writer
from flambeau.backends.llvm.emit import FLOATS, Value
from flambeau.backends.llvm.printer import Span, load_pointers, splat_item, store_vector
from flambeau.backends.llvm.program import ITEM_BYTES

CHUNK_BYTES = 1 << 17
# places are counted in 32 bits
MOST_ITEMS = (1 << 31) - 64


def print_range(kind: str, turn: int, vector_bytes: int) -> str:
    """The kernel: context out, start and step, the first place. Places rise, or fall (`turn`).

    An item is start + step * place, of floats with two roundings in float64, then one to its kind.
    """
    wide = "f64" if kind in FLOATS else "i64"
    w = Writer(2 * vector_bytes // ITEM_BYTES[wide])
    e = w.e
    out, line = load_pointers(e, 2)
    start, step = (splat_item(e, wide, line, str(at)) for at in range(2))
    first = w.read("%context", 2)
    span = Span(e, "items", "entry", "%begin", "%end")

    def item(index: str) -> Value:
        at = ln.numbers_from(e, index, "i32")
        item_first = ln.spread_item(e, Value(e.assign(f"trunc i64 {first} to i32"), "i32"))
        at = e.add(item_first, at) if turn > 0 else e.sub(item_first, at)
        return e.convert(e.add(start, e.mul(step, e.convert(at, wide))), kind)

    span.enter_body()
    store_vector(e, item(span.index), out, span.index, None)
    mask = span.enter_tail()
    store_vector(e, item(span.stop), out, span.stop, mask)
    span.leave()
    function = w.function("void @kernel(ptr %context, i64 %begin, i64 %end)")
    return conv_text.module([(function, e.declarations)], vector_bytes)


@functools.cache
def _address(kind: str, turn: int) -> int:
    text = print_range(kind, turn, jit.host().vector_bytes)
    return jit.load(text, ("kernel",)).address("kernel")


def fill(out: np.ndarray, start: float, step: float, first: int, turn: int) -> None:
    """Fill `out`, flat and dense, with start + step * place for the places from the first one on.

    turn: 1 where places rise, -1 where they fall.
    """
    kind = calls.KINDS[out.dtype]
    line = np.array([start, step], np.float64 if kind in FLOATS else np.int64)
    chunk = CHUNK_BYTES // out.itemsize
    calls.launch(_address(kind, turn), out.size, chunk, out, line, first)
