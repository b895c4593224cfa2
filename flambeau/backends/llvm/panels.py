"""LLVM text of a product of few rows with a matrix that is packed once and used many times.

A packed matrix (depth, columns) lies in panels of a few vectors' width: panel after panel, row
after row within it, zeros where the last panel goes beyond the columns. Tiles of up to six rows
and one panel stay in registers while they run through the depth.
"""

import numpy as np

from flambeau.backends.llvm.emit import Emitter, Value
from flambeau.backends.llvm.printer import STORED, load_vector, splat_item, store_vector
from flambeau.backends.llvm.program import ITEM_BYTES

__all__ = ["PRODUCT", "pack", "panel_columns", "product_text"]

PRODUCT = "product"
HEIGHTS = (6, 4, 2, 1)  # rows of a tile: the best, and what is left in the end
# Vectors of a panel: with six rows they take 12 of 16 registers, or 24 of 32.
FEW_REGISTERS, MANY_REGISTERS = 2, 4


def panel_vectors(vector_bytes: int) -> int:
    """How many vectors a panel is wide."""
    return MANY_REGISTERS if vector_bytes == 64 else FEW_REGISTERS


def panel_columns(kind: str, vector_bytes: int) -> int:
    """How many columns a panel has."""
    return panel_vectors(vector_bytes) * vector_bytes // ITEM_BYTES[kind]


def pack(matrix: np.ndarray, width: int) -> np.ndarray:
    """A matrix (depth, columns) in panels of ``width`` columns: (panels, depth, width).

    >>> pack(np.arange(6.0).reshape(2, 3), 2)[:, 0].tolist()
    [[0.0, 1.0], [2.0, 0.0]]
    """
    depth, columns = matrix.shape
    panels = -(-columns // width)
    packed = np.zeros((panels, depth, width), matrix.dtype)
    whole = columns // width
    if whole:
        inside = matrix[:, :whole * width].reshape(depth, whole, width)
        packed[:whole] = inside.transpose(1, 0, 2)
    if whole < panels:
        packed[whole, :, :columns - whole * width] = matrix[:, whole * width:]
    return packed


def _masks(e: Emitter, count: int) -> list[str]:
    """Per vector of a panel, which lanes are columns."""
    name = f"@llvm.get.active.lane.mask.v{e.lanes}i1.i64"
    e.declarations.add(f"declare {e.type('bool')} {name}(i64, i64)")
    return [e.assign(f"call {e.type('bool')} {name}(i64 {v * e.lanes}, i64 %columns)")
            for v in range(count)]


def _tile(kind: str, lanes: int, vectors: int, height: int) -> Emitter:
    """``tile<height>``: c = a @ b, or c + a @ b, for rows of a and one panel of b."""
    e = Emitter(lanes)
    stored, rows = STORED[kind], range(height)
    e.label("entry")
    masks = _masks(e, vectors)
    a = [_row(e, stored, "%a", i, "%lda") for i in rows]
    c = [_row(e, stored, "%c", i, "%ldc") for i in rows]
    e.line("br i1 %add, label %load, label %loop")
    e.label("load")
    before = [[load_vector(e, kind, c[i], str(v * lanes), masks[v]) for v in range(vectors)]
              for i in rows]
    e.line("br label %loop")
    e.label("loop")
    e.line("%k = phi i64 [0, %entry], [0, %load], [%k.next, %loop]")
    e.line("%panel = phi ptr [%b, %entry], [%b, %load], [%panel.next, %loop]")
    vector, start = e.type(kind), len(e.lines)
    right = [load_vector(e, kind, "%panel", str(v * lanes), None) for v in range(vectors)]
    sums, phis = [], []
    for i in rows:
        left = splat_item(e, kind, a[i], "%k")
        for v in range(vectors):
            total = e.fma(left, right[v], Value(f"%s{i}.{v}", kind))
            sums.append((i, v, total))
            phis.append(f"  %s{i}.{v} = phi {vector} [zeroinitializer, %entry], "
                        f"[{before[i][v].text}, %load], [{total.text}, %loop]")
    e.lines[start:start] = phis
    e.line("%k.next = add i64 %k, 1")
    e.line(f"%panel.next = getelementptr {stored}, ptr %panel, i64 {vectors * lanes}")
    more = e.assign("icmp slt i64 %k.next, %depth")
    e.line(f"br i1 {more}, label %loop, label %done")
    e.label("done")
    for i, v, total in sums:
        store_vector(e, total, c[i], str(v * lanes), masks[v])
    e.line("ret void")
    return e


def _row(e: Emitter, stored: str, base: str, number: int, step: str) -> str:
    """Where a row starts."""
    if not number:
        return base
    offset = e.assign(f"mul i64 {number}, {step}")
    return e.assign(f"getelementptr {stored}, ptr {base}, i64 {offset}")


def _product(kind: str, width: int) -> str:
    """``product``: the tiles of a product, panel by panel; depth is 1 or more."""
    stored = STORED[kind]
    tiles, follow = [], []
    for at, height in enumerate(HEIGHTS):
        after = f"try{HEIGHTS[at + 1]}" if at + 1 < len(HEIGHTS) else "next.panel"
        tiles.append(f"""
try{height}:
  %fits{height} = icmp sge i64 %left, {height}
  br i1 %fits{height}, label %run{height}, label %{after}
run{height}:
  call void @tile{height}(ptr %c.at, i64 %ldc, ptr %a.at, i64 %lda, ptr %b.at, i64 %depth,
                          i64 %columns.left, i1 %add)
  %row{height} = add i64 %row, {height}
  br label %rows""")
        follow.append(f"[%row{height}, %run{height}]")
    return f"""
define internal void @{PRODUCT}(ptr %c, i64 %ldc, ptr %a, i64 %lda, ptr %b, i64 %depth,
                                i64 %columns, i64 %rows.all, i1 %add) #0 {{
entry:
  %size = mul i64 %depth, {width}
  br label %panels
panels:
  %column = phi i64 [0, %entry], [%column.next, %next.panel]
  %b.at = phi ptr [%b, %entry], [%b.next, %next.panel]
  %columns.left = sub i64 %columns, %column
  %some = icmp sgt i64 %columns.left, 0
  br i1 %some, label %panel, label %done
panel:
  %c.panel = getelementptr {stored}, ptr %c, i64 %column
  br label %rows
rows:
  %row = phi i64 [0, %panel], {", ".join(follow)}
  %left = sub i64 %rows.all, %row
  %c.skip = mul i64 %row, %ldc
  %c.at = getelementptr {stored}, ptr %c.panel, i64 %c.skip
  %a.skip = mul i64 %row, %lda
  %a.at = getelementptr {stored}, ptr %a, i64 %a.skip
  br label %try{HEIGHTS[0]}
{"".join(tiles)}
next.panel:
  %column.next = add i64 %column, {width}
  %b.next = getelementptr {stored}, ptr %b.at, i64 %size
  br label %panels
done:
  ret void
}}
"""


def product_text(kind: str, vector_bytes: int) -> tuple[str, set[str]]:
    """Return the functions of a product, and what they declare.

    ``void @product(ptr c, i64 ldc, ptr a, i64 lda, ptr packed, i64 depth, i64 columns, i64 rows,
    i1 add)``; ld is how many items lie from one row to the next.
    """
    lanes, vectors = vector_bytes // ITEM_BYTES[kind], panel_vectors(vector_bytes)
    texts, declarations = [], set()
    for height in HEIGHTS:
        e = _tile(kind, lanes, vectors, height)
        head = (f"define internal void @tile{height}(ptr %c, i64 %ldc, ptr %a, i64 %lda, ptr %b, "
                "i64 %depth, i64 %columns, i1 %add) #0 {")
        texts.append("\n".join([head, *e.lines, "}"]))
        declarations |= e.declarations
    texts.append(_product(kind, lanes * vectors))
    return "\n".join(texts), declarations
