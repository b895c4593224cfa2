"""LLVM text of kernels that change weights for Winograd's convolution, and gradients back.

Weights are (rows, channels, 3, 3) in any steps between rows and channels; the nine taps lie side by
side.
"""

from flambeau.backends.llvm import conv_text
from flambeau.backends.llvm import lanes as ln
from flambeau.backends.llvm.conv_text import Writer
from flambeau.backends.llvm.emit import LLVM_TYPE, Value
from flambeau.backends.llvm.loops import Branch, Loop
from flambeau.backends.llvm.packing_text import negated, turn
from flambeau.backends.llvm.printer import load_pointers, load_vector, store_vector
from flambeau.backends.llvm.program import ITEM_BYTES
from flambeau.backends.llvm.tiles import Tile
from flambeau.backends.llvm.turned_planes import turned_lanes
from flambeau.backends.llvm.winograd_text import PLACES, SIDE

TAPS, WINDOW = 9, 3
# channels of a unit of work
CHANNELS = 64
# Rows and channels, items from one to the next, units of work of a strip, and how far apart places
# are in the changed weights
CHANGE = ("rows", "channels", "row_step", "channel_step", "blocks", "pitch")
# Rows and channels, channels that are kept, and how many sums there are to be added, each so large
RESTORE = ("rows", "channels", "kept", "sums", "sum_items")


def print_change(tile: Tile, turned: bool, vector_bytes: int) -> str:
    """The kernel of (G w G'): context changed, weights, and the numbers of CHANGE.

    changed[strip][place][channel][column], where columns of a strip are a tile's rows of weights;
    those beyond the last row repeat it. Windows are `turned` by half a circle where so asked.
    """
    w = Writer(turned_lanes(tile))
    e, kind = w.e, tile.kind
    changed, weights = load_pointers(e, 2)
    t = w.named("%context", CHANGE, 2)
    units = Loop(e, "%begin", "%end")
    strip = w.op("udiv", units.index, t["blocks"])
    first = w.mul(w.op("urem", units.index, t["blocks"]), CHANNELS)
    lines = []
    for column in range(tile.columns):
        row = w.add(w.mul(strip, tile.columns), column)
        row = ln.least(e, row, w.op("sub", t["rows"], 1))
        lines.append(w.place(kind, weights, w.mul(row, t["row_step"])))
    target = w.place(kind, changed, w.mul(strip, w.mul(t["pitch"], PLACES)))
    channels = Loop(e, first, ln.least(e, w.add(first, CHANNELS), t["channels"]))
    source = w.mul(channels.index, t["channel_step"])
    for start in range(0, tile.columns, e.lanes):
        taps = _taps(w, kind, lines[start:start + e.lanes], source)
        values = _windows(w, taps[::-1] if turned else taps)
        at = w.add(w.mul(channels.index, tile.columns), start)
        for place, value in enumerate(values):
            store_vector(e, value, target, w.add(at, w.mul(t["pitch"], place)), None)
    channels.close()
    units.close()
    function = w.function("void @kernel(ptr %context, i64 %begin, i64 %end)")
    return conv_text.module([(function, e.declarations)], vector_bytes)


def _taps(w: Writer, kind: str, lines: list[str], at: str) -> list[Value]:
    """The taps of as many rows as there are lanes, a vector each."""
    e = w.e
    taps: list[Value] = []
    while len(taps) + e.lanes <= TAPS:
        here = w.add(at, len(taps))
        taps += turn(w, [load_vector(e, kind, line, here, None) for line in lines])
    while len(taps) < TAPS:
        text, here = "poison", w.add(at, len(taps))
        for lane, line in enumerate(lines):
            place = w.place(kind, line, here)
            item = e.assign(f"load {LLVM_TYPE[kind]}, ptr {place}, align {ITEM_BYTES[kind]}")
            text = e.assign(f"insertelement {e.type(kind)} {text}, {LLVM_TYPE[kind]} {item}, "
                            f"i64 {lane}")
        taps.append(Value(text, kind))
    return taps


def _windows(w: Writer, taps: list[Value]) -> list[Value]:
    """G w G', place by place."""
    columns = [_grown(w, taps[x::WINDOW]) for x in range(WINDOW)]
    return [value for y in range(SIDE) for value in _grown(w, [column[y] for column in columns])]


def _grown(w: Writer, g: list[Value]) -> list[Value]:
    """G g of three items."""
    e = w.e
    ends = e.mul(e.add(g[0], g[2]), 0.5)
    middle = e.mul(g[1], 0.5)
    return [g[0], e.add(ends, middle), e.sub(ends, middle), g[2]]


def print_restore(tile: Tile, vector_bytes: int) -> str:
    """The kernel of (G' m G): context gradient, sums, seen, and the numbers of RESTORE.

    sums[sum][place][row][channel] are added up. `seen` has 0 for every row, or NaN where something
    is not finite.
    """
    w = Writer(turned_lanes(tile))
    e, kind = w.e, tile.kind
    gradient, sums, seen = load_pointers(e, 3)
    t = w.named("%context", RESTORE, 3)
    pitch = w.mul(t["rows"], t["kept"])
    rows = Loop(e, "%begin", "%end")
    channels = Loop(e, 0, t["channels"], e.lanes, [e.const(kind, 0.0)])
    at = w.add(w.mul(rows.index, t["kept"]), channels.index)
    each = Loop(e, 0, t["sums"], 1, [e.const(kind, 0.0)] * PLACES)
    here = w.add(at, w.mul(each.index, t["sum_items"]))
    changed = each.close([
        e.add(total, load_vector(e, kind, sums, w.add(here, w.mul(pitch, place)), None))
        for place, total in enumerate(each.values)])
    taps = _restored(w, changed)
    (flaw,) = channels.values
    for tap in taps:
        flaw = e.fma(tap, 0.0, flaw)
    target = w.add(w.mul(rows.index, t["channels"]), channels.index)
    target = w.place(kind, gradient, w.mul(target, TAPS))
    left = w.op("sub", t["channels"], channels.index)
    whole = w.test("sge", left, e.lanes)
    full = Branch(e, whole)
    _store_taps(w, kind, taps, target, None)
    full.close()
    part = Branch(e, negated(w, whole))
    _store_taps(w, kind, taps, target, left)
    part.close()
    (flaw,) = channels.close([flaw])
    ln.store_item(e, ln.fold_lanes(e, "sum", flaw), seen, rows.index)
    rows.close()
    function = w.function("void @kernel(ptr %context, i64 %begin, i64 %end)")
    return conv_text.module([(function, e.declarations)], vector_bytes)


def _restored(w: Writer, changed: list[Value]) -> list[Value]:
    """G' m G of the places of a tile, tap by tap."""
    columns = [_shrunk(w, changed[x::SIDE]) for x in range(SIDE)]
    return [value for y in range(WINDOW) for value in _shrunk(w, [c[y] for c in columns])]


def _shrunk(w: Writer, m: list[Value]) -> list[Value]:
    """G' m of four items."""
    e = w.e
    inner, outer = e.mul(e.add(m[1], m[2]), 0.5), e.mul(e.sub(m[1], m[2]), 0.5)
    return [e.add(m[0], inner), outer, e.add(inner, m[3])]


def _store_taps(w: Writer, kind: str, taps: list[Value], target: str, left: str | None) -> None:
    """The taps of a vector of channels, or of the `left` first, to their places."""
    e = w.e
    done = 0
    while done + e.lanes <= TAPS:
        for lane, value in enumerate(turn(w, taps[done:done + e.lanes])):
            some = None if left is None else Branch(e, w.test("slt", lane, left))
            store_vector(e, value, target, str(lane * TAPS + done), None)
            if some is not None:
                some.close()
        done += e.lanes
    for tap in range(done, TAPS):
        for lane in range(e.lanes):
            some = None if left is None else Branch(e, w.test("slt", lane, left))
            item = e.assign(f"extractelement {e.type(kind)} {taps[tap].text}, i64 {lane}")
            ln.store_item(e, Value(item, kind), target, str(lane * TAPS + tap))
            if some is not None:
                some.close()
