"""Triangles of matrices on the pool: of every row one part is copied, the other one is zeros."""

import functools

import numpy as np

from flambeau.backends.llvm import calls, conv_text, jit
from flambeau.backends.llvm import lanes as ln
from flambeau.backends.llvm.conv_text import Writer
from flambeau.backends.llvm.loops import Loop
from flambeau.backends.llvm.printer import load_pointers

CHUNK_BYTES = 1 << 16
TABLE = ("rows", "columns", "bytes", "diagonal")


def print_triangle(lower: bool) -> str:
    """The kernel: context out, source, and the numbers of TABLE; a unit of work is a row."""
    w = Writer(1)
    e = w.e
    e.declarations.add("declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)")
    e.declarations.add("declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)")
    out, source = load_pointers(e, 2)
    t = w.named("%context", TABLE, 2)
    units = Loop(e, "%begin", "%end")
    row = w.op("urem", units.index, t["rows"])
    # the first column behind the lower triangle, or of the upper one
    border = w.add(w.add(row, t["diagonal"]), 1 if lower else 0)
    border = w.choose(w.test("sgt", border, 0), border, 0)
    left = w.mul(ln.least(e, border, t["columns"]), t["bytes"])
    width = w.mul(t["columns"], t["bytes"])
    right = w.op("sub", width, left)
    line = w.mul(units.index, width)
    first = {name: e.assign(f"getelementptr i8, ptr {base}, i64 {line}")
             for name, base in (("out", out), ("source", source))}
    second = {name: e.assign(f"getelementptr i8, ptr {base}, i64 {left}")
              for name, base in first.items()}
    kept, count = (first, left) if lower else (second, right)
    blank, rest = (second, right) if lower else (first, left)
    e.line(f"call void @llvm.memcpy.p0.p0.i64(ptr {kept['out']}, ptr {kept['source']}, "
           f"i64 {count}, i1 false)")
    e.line(f"call void @llvm.memset.p0.i64(ptr {blank['out']}, i8 0, i64 {rest}, i1 false)")
    units.close()
    function = w.function("void @kernel(ptr %context, i64 %begin, i64 %end)")
    return conv_text.module([(function, e.declarations)], 16)


@functools.cache
def _address(lower: bool) -> int:
    return jit.load(print_triangle(lower), ("kernel",)).address("kernel")


def run(out: np.ndarray, source: np.ndarray, diagonal: int, lower: bool) -> None:
    """Copy triangles of C-contiguous matrices, and write zeros elsewhere."""
    rows, columns = source.shape[-2:]
    item = source.itemsize
    chunk = max(1, CHUNK_BYTES // (columns * item))
    calls.launch(_address(lower), source.size // columns, chunk, out, source, rows, columns, item,
                 diagonal)
