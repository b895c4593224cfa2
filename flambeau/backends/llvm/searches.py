"""Searches in sequences that are in order, on the pool: many values at a time, several together.

Every step of a search halves what is left of the sequence, by a choice and not by a branch, so
searches that go on side by side wait for memory together.
"""

import functools

import numpy as np

from flambeau.backends.llvm import calls, conv_text, jit
from flambeau.backends.llvm.conv_text import Writer
from flambeau.backends.llvm.emit import FLOATS, LLVM_TYPE, SUFFIX, Emitter, Value
from flambeau.backends.llvm.lanes import spread_item
from flambeau.backends.llvm.loops import Loop
from flambeau.backends.llvm.printer import load_pointers, load_vector, store_vector
from flambeau.backends.llvm.program import ITEM_BYTES

# searches side by side, and values in a piece of work
TOGETHER = 8
PIECE = 1 << 12


def print_search(kind: str, right: bool, many: bool) -> str:
    """The kernel: context places, edges, values, table of the edges of a row and of its values.

    The place is how many edges of its row stand before a value: those less than it, or, where
    `right`, those that are not greater. No number is behind all. There is one row if not `many`.
    """
    w = Writer(1)
    places, edges, values, table = load_pointers(w.e, 4)
    t = w.named(table, ("edges", "values"))
    over = w.op("urem", w.op("sub", "%end", "%begin"), TOGETHER)
    middle = w.op("sub", "%end", over)
    for begin, end, count in (("%begin", middle, TOGETHER), (middle, "%end", 1)):
        several = Loop(w.e, begin, end, count)
        with w.e.width(count):
            found = _search(w, kind, right, many, (edges, values), t, several.index)
            store_vector(w.e, found, places, several.index, None)
        several.close()
    function = w.function("void @kernel(ptr %context, i64 %begin, i64 %end)")
    return conv_text.module([(function, w.e.declarations)], 16)


def _search(w: Writer, kind: str, right: bool, many: bool, bases: tuple[str, str],
            t: dict[str, str], first: str) -> Value:
    """The places of as many values as the emitter has lanes, from `first` on."""
    e, (edges, values) = w.e, bases
    sought = load_vector(e, kind, values, first, None)
    row = e.const("i64", 0)
    if many:
        steps = ", ".join(f"i64 {lane}" for lane in range(e.lanes))
        numbers = e.add(spread_item(e, Value(first, "i64")), Value(f"<{steps}>", "i64"))
        apart = spread_item(e, Value(t["values"], "i64"))
        text = f"udiv {e.type('i64')} {numbers.text}, {apart.text}"
        row = e.mul(e.value("i64", text), spread_item(e, Value(t["edges"], "i64")))
    size = spread_item(e, Value(t["edges"], "i64"))
    halving = Loop(e, 0, _steps(w, t["edges"]), 1, [size, row])
    size, at = halving.values
    half = e.value("i64", f"lshr {e.type('i64')} {size.text}, splat (i64 1)")
    middle = e.add(at, half)
    before = _stands_before(e, _picked(e, kind, edges, e.sub(middle, 1)), sought, right)
    _, at = halving.close([e.sub(size, half), e.select(before, middle, at)])
    last = _stands_before(e, _picked(e, kind, edges, at), sought, right)
    return e.sub(e.add(at, e.convert(last, "i64")), row)


def _steps(w: Writer, size: str) -> str:
    """How often a size is halved, rounded up, until it is 1."""
    w.e.declarations.add("declare i64 @llvm.ctlz.i64(i64, i1)")
    zeros = w.e.assign(f"call i64 @llvm.ctlz.i64(i64 {w.op('sub', size, 1)}, i1 false)")
    return w.op("sub", 64, zeros)


def _picked(e: Emitter, kind: str, base: str, at: Value) -> Value:
    """The items at the places that a vector holds."""
    item, pointers = LLVM_TYPE[kind], f"<{e.lanes} x ptr>"
    places = e.assign(f"getelementptr {item}, ptr {base}, {e.type('i64')} {at.text}")
    vector, mask = e.type(kind), e.type("bool")
    name = f"@llvm.masked.gather.v{e.lanes}{SUFFIX[kind]}.v{e.lanes}p0"
    e.declarations.add(f"declare {vector} {name}({pointers}, i32 immarg, {mask}, {vector})")
    return e.value(kind, f"call {vector} {name}({pointers} {places}, i32 {ITEM_BYTES[kind]}, "
                         f"{mask} splat (i1 true), {vector} poison)")


def _stands_before(e: Emitter, edge: Value, value: Value, right: bool) -> Value:
    if edge.kind in FLOATS:
        return e.compare("ule" if right else "ult", edge, value)
    return e.compare("sle" if right else "slt", edge, value)


@functools.cache
def _address(kind: str, right: bool, many: bool) -> int:
    return jit.load(print_search(kind, right, many), ("kernel",)).address("kernel")


def run(places: np.ndarray, edges: np.ndarray, values: np.ndarray, right: bool) -> None:
    """Where values, (rows, values), stand among edges, (rows, edges), all of them C-contiguous."""
    table = np.array([edges.shape[-1], values.shape[-1]], np.int64)
    kernel = _address(calls.KINDS[edges.dtype], right, len(edges) > 1)
    calls.launch(kernel, values.size, calls.piece(values.size, PIECE), places, edges, values, table)
