"""Prints scans as CUDA C: along rows by a block for every piece, down columns by a thread each.

Rows and columns are cut into pieces of a fixed length. Where there are several, the kernel of
`print_row_totals` or `print_column_totals` leaves every piece's total; a scan of these, of
`finishing(scan)` with `of_totals`, gives what each piece starts from. What is added to what depends
on the shape alone, never on the grid, so results repeat to the bit.

Kernels are `kernel(outputs..., items..., starts..., rows, columns, backward)`, and with `batches`
before `rows` down columns. Outputs are the totals, in the kind of the items, and for extremes their
places in int64; `starts` the scanned totals, in the kind that accumulates, and their places, which
are read only where there are several pieces. Those of totals write (rows, pieces) or (batches,
pieces, columns), and have no starts. Where `backward` is not 0 scans begin at the end. Blocks along
rows have as many threads as the kernel was printed for, others any; grids have one axis; no size is
0.
"""

from collections.abc import Sequence

from flambeau.backends.cuda_c.printer import head_lines, indent, loop_lines, strided_lines
from flambeau.backends.cuda_c.reduce import HEIGHT, PIECE
from flambeau.backends.cuda_c.scalars import COMBINE
from flambeau.backends.cuda_c.values import C_TYPE, STORED, convert, literal, load, with_helpers
from flambeau.backends.llvm.array_program import Scan
from flambeau.backends.llvm.program import FLOATS, ITEM_BYTES, Input, identity

THREADS = 256
WARP = 32
# bytes of neighbouring items that one thread takes
THREAD_BYTES = 32
PLACE = Input("i64")


def finishing(scan: Scan) -> Scan:
    """Return the scan of another's totals."""
    return Scan(scan.accumulate, scan.combine, scan.accumulate)


def threads_for(columns: int) -> int:
    """How many threads a block along rows of this length is best printed for."""
    threads = WARP
    while threads < THREADS and threads * 4 < columns:
        threads *= 2
    return threads


def print_rows(scan: Scan, threads: int = THREADS, of_totals: bool = False) -> str:
    """Return the kernel of running totals along rows.

    With `of_totals` the items are totals of pieces, which have places of their own.
    """
    items = _items_of(scan)
    body = [
        *_piece_lines("row", "columns"),
        "const long long base = row * columns + first;",
        *_start_lines(scan, of_totals, "row * pieces + before"),
        *_tile_loop(scan, threads, of_totals, stores=True),
    ]
    lines = [
        f"__shared__ {STORED[scan.kind]} held[{_padded(threads * items)}];",
        *([f"__shared__ long long held_places[{_padded(threads * items)}];"]
          if scan.has_places else []),
        *_parts(threads),
        *_pieces("columns"),
        *loop_lines("unit", "blockIdx.x", "rows * pieces", "gridDim.x", body),
    ]
    return _module(scan, of_totals, ("rows", "columns", "backward"), lines, PIECE, threads)


def print_row_totals(scan: Scan, threads: int = THREADS, of_totals: bool = False) -> str:
    """Return the kernel of the totals of pieces of rows."""
    body = [
        *_piece_lines("row", "columns"),
        "const long long base = row * columns + first;",
        "State carry = nothing();",
        *_tile_loop(scan, threads, of_totals, stores=False),
        "if (threadIdx.x == 0) {",
        *indent(_store_total(scan, "unit", "carry")),
        "}",
    ]
    lines = [
        f"__shared__ {STORED[scan.kind]} held[{_padded(threads * _items_of(scan))}];",
        *_parts(threads),
        *_pieces("columns"),
        *loop_lines("unit", "blockIdx.x", "rows * pieces", "gridDim.x", body),
    ]
    sizes = ("rows", "columns", "backward")
    return _module(scan, of_totals, sizes, lines, PIECE, threads, totals=True)


def print_columns(scan: Scan, of_totals: bool = False) -> str:
    """Return the kernel of running totals down columns, the middle one of three axes."""
    stores = [f"out0[i] = {convert('carry.value', scan.accumulate, scan.kind)};"]
    if scan.has_places:
        stores.append("out1[i] = carry.place;")
    body = [
        *_column_lines(),
        *_start_lines(scan, of_totals, "(unit * pieces + before) * columns + column"),
        *_column_walk(scan, of_totals, stores),
    ]
    return _column_module(scan, of_totals, body, totals=False)


def print_column_totals(scan: Scan, of_totals: bool = False) -> str:
    """Return the kernel of the totals of pieces of columns."""
    body = [
        *_column_lines(),
        "State carry = nothing();",
        *_column_walk(scan, of_totals, []),
        *_store_total(scan, "place", "carry"),
    ]
    return _column_module(scan, of_totals, body, totals=True)


def _items_of(scan: Scan) -> int:
    return THREAD_BYTES // max(4, ITEM_BYTES[scan.kind])


def _padded(count: int) -> int:
    return count + count // WARP


def _parts(threads: int) -> list[str]:
    return [f"__shared__ State parts[{threads // WARP}];"]


def _pieces(length: str) -> list[str]:
    return [f"const long long pieces = ({length} + PIECE - 1) / PIECE;"]


def _piece_lines(outer: str, length: str) -> list[str]:
    """Which piece of which row or batch a unit is, and its bounds."""
    return [
        f"const long long {outer} = unit / pieces, piece = unit % pieces;",
        "const long long before = backward ? piece + 1 : piece - 1;",
        "const long long first = piece * PIECE;",
        f"const long long length = first + PIECE < {length} ? PIECE : {length} - first;",
    ]


def _column_lines() -> list[str]:
    return [
        "const long long column = place % columns, outer = place / columns;",
        "const long long unit = outer / pieces, piece = outer % pieces;",
        "const long long before = backward ? piece + 1 : piece - 1;",
        "const long long first = piece * PIECE;",
        "const long long length = first + PIECE < rows ? PIECE : rows - first;",
    ]


def _start_lines(scan: Scan, of_totals: bool, place: str) -> list[str]:
    """What a piece starts from."""
    given = 2 if of_totals and scan.has_places else 1
    parts = [f"in{given}[start]"] + ([f"in{given + 1}[start]"] if scan.has_places else [])
    return [
        "State carry = nothing();",
        "if (before >= 0 && before < pieces) {",
        f"    const long long start = {place};",
        f"    carry = State{{{', '.join(parts)}}};",
        "}",
    ]


def _store_total(scan: Scan, place: str, state: str) -> list[str]:
    lines = [f"out0[{place}] = {state}.value;"]
    return lines + ([f"out1[{place}] = {state}.place;"] if scan.has_places else [])


def _state(scan: Scan, of_totals: bool, item: str, index: str, place: str) -> str:
    """The state of one item, whose place is its own where it is a total."""
    parts = [convert(item, scan.kind, scan.accumulate)]
    if scan.has_places:
        parts.append(f"in1[{index}]" if of_totals else place)
    return f"State{{{', '.join(parts)}}}"


def _column_walk(scan: Scan, of_totals: bool, stores: Sequence[str]) -> list[str]:
    body = [
        "const long long row = first + (backward ? length - 1 - step : step);",
        "const long long i = (unit * rows + row) * columns + column;",
        f"const {C_TYPE[scan.kind]} item = {load(scan.kind, 'in0', 'i')};",
        f"carry = both(carry, {_state(scan, of_totals, 'item', 'i', 'row')});",
        *stores,
    ]
    return loop_lines("step", "0", "length", "1", body)


def _tile_loop(scan: Scan, threads: int, of_totals: bool, stores: bool) -> list[str]:
    """A piece, one tile of the block's items after the other; `carry` goes from each to the next.

    Items are read side by side into shared memory, so that every thread finds neighbours there.
    """
    items = _items_of(scan)
    tile = threads * items
    index = "base + (backward ? length - 1 - at : at)"
    own = load(scan.kind, "held", "slot + slot / 32")
    body = [
        *_each(items, [
            f"const long long at = tile + n * {threads} + threadIdx.x;",
            f"const int slot = n * {threads} + threadIdx.x;",
            f"if (at < length) held[slot + slot / 32] = in0[{index}];",
        ]),
        "__syncthreads();",
        f"State own[{items}];",
        *_each(items, [
            f"const int slot = threadIdx.x * {items} + n;",
            "const long long at = tile + slot;",
            "const long long place = first + (backward ? length - 1 - at : at);",
            f"own[n] = at < length ? {_state(scan, of_totals, own, index, 'place')} : nothing();",
            "if (n > 0) own[n] = both(own[n - 1], own[n]);",
        ]),
        f"State total = own[{items - 1}];",
        *_warp_scan(scan),
        f"if (lane == {WARP - 1}) parts[warp] = total;",
        "__syncthreads();",
        "State start = carry;",
        "for (int n = 0; n < warp; ++n) start = both(start, parts[n]);",
        "if (lane > 0) start = both(start, left);",
        f"for (int n = 0; n < {threads // WARP}; ++n) carry = both(carry, parts[n]);",
    ]
    if stores:
        body += _store_tile(scan, threads, index)
    return [
        f"const int lane = threadIdx.x % {WARP}, warp = threadIdx.x / {WARP};",
        *loop_lines("tile", "0", "length", str(tile), body),
    ]


def _each(items: int, body: Sequence[str]) -> list[str]:
    return ["#pragma unroll", f"for (int n = 0; n < {items}; ++n) {{", *indent(body), "}"]


def _warp_scan(scan: Scan) -> list[str]:
    """`total` becomes that of all lanes up to this one, `left` is that of those before it."""
    return [
        "for (int apart = 1; apart < 32; apart *= 2) {",
        "    const State other = from_left(total, apart);",
        "    if (lane >= apart) total = both(other, total);",
        "}",
        "const State left = from_left(total, 1);",
    ]


def _store_tile(scan: Scan, threads: int, index: str) -> list[str]:
    """Totals go back through shared memory, where places of items read before are free again."""
    items = _items_of(scan)
    puts = [
        f"const int slot = threadIdx.x * {items} + n;",
        "const State found = both(start, own[n]);",
        f"held[slot + slot / 32] = {convert('found.value', scan.accumulate, scan.kind)};",
    ]
    takes = [
        f"const long long at = tile + n * {threads} + threadIdx.x;",
        f"const int slot = n * {threads} + threadIdx.x;",
        f"if (at < length) out0[{index}] = held[slot + slot / 32];",
    ]
    if scan.has_places:
        puts.append("held_places[slot + slot / 32] = found.place;")
        takes.append(f"if (at < length) out1[{index}] = held_places[slot + slot / 32];")
    return [*_each(items, puts), "__syncthreads();", *_each(items, takes)]


def _state_functions(scan: Scan) -> list[str]:
    """What goes from item to item, how two of it come together, and how a lane gets another's."""
    kind = scan.accumulate
    value, place = C_TYPE[kind], scan.has_places
    start = literal(kind, identity(_limit(scan), kind))
    shuffled = "__shfl_up_sync(0xffffffffu, state.{}, apart)"
    moved = [shuffled.format(name) for name in ("value", "place")[: 1 + place]]
    return [
        "struct State {",
        f"    {value} value;",
        *(["    long long place;"] if place else []),
        "};",
        "",
        "static __device__ __forceinline__ State nothing()",
        "{",
        f"    return State{{{start}{', -1' if place else ''}}};",
        "}",
        "",
        "static __device__ __forceinline__ State both(State before, State after)",
        "{",
        f"    return {_both(scan)};",
        "}",
        "",
        "static __device__ __forceinline__ State from_left(State state, int apart)",
        "{",
        f"    return State{{{', '.join(moved)}}};",
        "}",
        "",
    ]


def _limit(scan: Scan) -> str:
    return "max" if scan.combine == "logsum" else scan.combine


def _both(scan: Scan) -> str:
    kind = scan.accumulate
    if not scan.has_places:
        return f"State{{{COMBINE[scan.combine](kind, 'before.value', 'after.value')}}}"
    sign = ">=" if scan.combine == "max" else "<="
    missing = " || after.value != after.value" if kind in FLOATS else ""
    # what is nothing has no place, and may be equal to an item
    return f"after.place >= 0 && (after.value {sign} before.value{missing}) ? after : before"


def _column_module(scan: Scan, of_totals: bool, body: Sequence[str], totals: bool) -> str:
    lines = [*_pieces("rows"), *strided_lines("x", "place", "batches * pieces * columns", body)]
    sizes = ("batches", "rows", "columns", "backward")
    return _module(scan, of_totals, sizes, lines, HEIGHT, 0, totals)


def _module(scan: Scan, of_totals: bool, sizes: Sequence[str], lines: Sequence[str], piece: int,
            threads: int, totals: bool = False) -> str:
    places = [PLACE] if scan.has_places else []
    inputs = [Input(scan.kind), *(places if of_totals else [])]
    if not totals:
        inputs += [Input(scan.accumulate), *places]
    outputs = [scan.accumulate if totals else scan.kind, *[item.kind for item in places]]
    head = head_lines(outputs, inputs, sizes, apart=True, threads=threads)
    constant = f"static const long long PIECE = {piece};\n"
    parts = [constant, *_state_functions(scan), *head, *indent(lines), "}"]
    return with_helpers("\n".join(parts) + "\n")
