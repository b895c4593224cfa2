"""Recurrent layers as one kernel each way: every piece of the batch runs all steps by itself.

A kernel's context holds pointers to arrays, in the order of `ARRAYS`, then to the steps (pairs of
first row and number of rows, i64), then how many steps there are and the width of the state. Rows
of a batch do not see each other, so that threads meet only in the end.
"""

import functools
from collections.abc import Callable

import numpy as np

from flambeau.backends.llvm import calls, jit, panels
from flambeau.backends.llvm import vector_math as vm
from flambeau.backends.llvm.emit import Emitter, Value
from flambeau.backends.llvm.printer import KERNEL, STORED, Span, load_vector, store_vector
from flambeau.backends.llvm.program import ITEM_BYTES

__all__ = ["ARRAYS", "run"]

# What each kernel works on. "state" arrays have a row for each element of the batch, others one
# for each row of the sequence; the number is how many widths a row has.
ARRAYS: dict[str, dict[str, tuple[str, int]]] = {
    "lstm": {"gates": ("rows", 4), "part": ("state", 4), "h": ("state", 1), "c": ("state", 1),
             "before_h": ("rows", 1), "before_c": ("rows", 1), "out": ("rows", 1)},
    "lstm_back": {"gates": ("rows", 4), "before_c": ("rows", 1), "g_out": ("rows", 1),
                  "h": ("state", 1), "c": ("state", 1), "d_gates": ("rows", 4)},
    "gru": {"gates": ("rows", 3), "part": ("state", 3), "h": ("state", 1), "bias": ("one", 1),
            "news": ("rows", 1), "before_h": ("rows", 1), "out": ("rows", 1)},
    "gru_back": {"gates": ("rows", 3), "news": ("rows", 1), "before_h": ("rows", 1),
                 "g_out": ("rows", 1), "h": ("state", 1), "d_in": ("rows", 3),
                 "d_gates": ("rows", 3)},
    "rnn_tanh": {"gates": ("rows", 1), "part": ("state", 1), "h": ("state", 1),
                 "before_h": ("rows", 1), "out": ("rows", 1)},
    "rnn_tanh_back": {"gates": ("rows", 1), "g_out": ("rows", 1), "h": ("state", 1),
                      "d_gates": ("rows", 1)},
}
for _suffix in ("", "_back"):
    ARRAYS[f"rnn_relu{_suffix}"] = ARRAYS[f"rnn_tanh{_suffix}"]


class Row:
    """One row of every array, at a vector of columns: what a cell reads and writes."""

    def __init__(self, e: Emitter, kind: str, places: dict[str, str], index: str,
                 mask: str | None) -> None:
        self.e, self.kind, self.places = e, kind, places
        self.index, self.mask = index, mask

    def _place(self, name: str, part: int) -> tuple[str, str]:
        if not part:
            return self.places[name], self.index
        skip = self.e.assign(f"mul i64 %width, {part}")
        return self.places[name], self.e.assign(f"add i64 {self.index}, {skip}")

    def get(self, name: str, part: int = 0) -> Value:
        """The items of one part of a row."""
        return load_vector(self.e, self.kind, *self._place(name, part), self.mask)

    def gate(self, part: int) -> Value:
        """A gate before its activation: what the inputs and the state add to it."""
        return self.e.add(self.get("gates", part), self.get("part", part))

    def put(self, value: Value, name: str, part: int = 0) -> None:
        """Write one part of a row."""
        store_vector(self.e, value, *self._place(name, part), self.mask)


def _lstm(e: Emitter, row: Row) -> None:
    i, f, o = (vm.sigmoid(e, row.gate(part)) for part in (0, 1, 3))
    g = vm.tanh(e, row.gate(2))
    for part, value in enumerate((i, f, g, o)):
        row.put(value, "gates", part)
    c = e.fma(f, row.get("c"), e.mul(i, g))
    h = e.mul(o, vm.tanh(e, c))
    row.put(c, "c")
    row.put(h, "h")
    row.put(h, "out")


def _sigmoid_slope(e: Emitter, s: Value) -> Value:
    return e.mul(s, e.sub(1.0, s))


def _tanh_slope(e: Emitter, t: Value) -> Value:
    return e.sub(1.0, e.mul(t, t))


def _lstm_back(e: Emitter, row: Row) -> None:
    i, f, g, o = (row.get("gates", part) for part in range(4))
    before = row.get("before_c")
    dh = e.add(row.get("h"), row.get("g_out"))
    ended = vm.tanh(e, e.fma(f, before, e.mul(i, g)))
    dc = e.fma(e.mul(dh, o), _tanh_slope(e, ended), row.get("c"))
    row.put(e.mul(e.mul(dc, g), _sigmoid_slope(e, i)), "d_gates", 0)
    row.put(e.mul(e.mul(dc, before), _sigmoid_slope(e, f)), "d_gates", 1)
    row.put(e.mul(e.mul(dc, i), _tanh_slope(e, g)), "d_gates", 2)
    row.put(e.mul(e.mul(dh, ended), _sigmoid_slope(e, o)), "d_gates", 3)
    row.put(e.mul(dc, f), "c")


def _gru(e: Emitter, row: Row) -> None:
    r, z = (vm.sigmoid(e, row.gate(part)) for part in (0, 1))
    new = e.add(row.get("part", 2), row.get("bias"))
    n = vm.tanh(e, e.fma(r, new, row.get("gates", 2)))
    for part, value in enumerate((r, z, n)):
        row.put(value, "gates", part)
    row.put(new, "news")
    h = e.fma(e.sub(row.get("h"), n), z, n)
    row.put(h, "h")
    row.put(h, "out")


def _gru_back(e: Emitter, row: Row) -> None:
    r, z, n = (row.get("gates", part) for part in range(3))
    dh = e.add(row.get("h"), row.get("g_out"))
    d_new = e.mul(e.mul(dh, e.sub(1.0, z)), _tanh_slope(e, n))
    d_reset = e.mul(e.mul(d_new, row.get("news")), _sigmoid_slope(e, r))
    d_update = e.mul(e.mul(dh, e.sub(row.get("before_h"), n)), _sigmoid_slope(e, z))
    for name, last in (("d_in", d_new), ("d_gates", e.mul(d_new, r))):
        for part, value in enumerate((d_reset, d_update, last)):
            row.put(value, name, part)
    row.put(e.mul(dh, z), "h")


def _plain(activation: Callable[[Emitter, Value], Value]) -> Callable[[Emitter, Row], None]:
    def cell(e: Emitter, row: Row) -> None:
        h = activation(e, row.gate(0))
        for name in ("gates", "h", "out"):
            row.put(h, name)

    return cell


def _plain_back(slope: Callable[[Emitter, Value], Value]) -> Callable[[Emitter, Row], None]:
    def cell(e: Emitter, row: Row) -> None:
        dh = e.add(row.get("h"), row.get("g_out"))
        row.put(e.mul(dh, slope(e, row.get("gates"))), "d_gates")

    return cell


def _relu(e: Emitter, x: Value) -> Value:
    return e.select(e.compare("olt", x, 0.0), 0.0, x)


def _relu_slope(e: Emitter, x: Value) -> Value:
    return e.select(e.compare("ogt", x, 0.0), e.const(x.kind, 1.0), 0.0)


CELLS: dict[str, Callable[[Emitter, Row], None]] = {
    "lstm": _lstm, "lstm_back": _lstm_back, "gru": _gru, "gru_back": _gru_back,
    "rnn_tanh": _plain(vm.tanh), "rnn_tanh_back": _plain_back(_tanh_slope),
    "rnn_relu": _plain(_relu), "rnn_relu_back": _plain_back(_relu_slope),
}


class _Text:
    """The text of one kernel."""

    def __init__(self, name: str, kind: str, vector_bytes: int) -> None:
        self.name, self.kind, self.vector_bytes = name, kind, vector_bytes
        self.stored = STORED[kind]
        self.arrays = ARRAYS[name]
        self.e = Emitter(2 * vector_bytes // ITEM_BYTES[kind])

    def _word(self, number: int) -> str:
        place = self.e.assign(f"getelementptr i64, ptr %context, i64 {number}")
        return self.e.assign(f"load i64, ptr {place}")

    def _row(self, name: str, row: str, pointers: dict[str, str]) -> str:
        """Where a row of an array starts."""
        e, (_, parts) = self.e, self.arrays[name]
        size = e.assign(f"mul i64 %width, {parts}")
        skip = e.assign(f"mul i64 {row}, {size}")
        return e.assign(f"getelementptr {self.stored}, ptr {pointers[name]}, i64 {skip}")

    def whole(self) -> str:
        """The module."""
        self._steps()
        product, declared = panels.product_text(self.kind, self.vector_bytes)
        width = f'"prefer-vector-width"="{8 * self.vector_bytes}"'
        head = f"define void @{KERNEL}(ptr %context, i64 %begin, i64 %end.all) #0 {{"
        declared |= self.e.declarations
        declared.add("declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1 immarg)")
        return "\n".join([*sorted(declared), product, head, *self.e.lines, "}",
                          f"attributes #0 = {{ nounwind {width} }}", ""])

    def _steps(self) -> None:
        """The loop over steps, from the last one to the first on the way back."""
        e, forward = self.e, not self.name.endswith("_back")
        e.label("entry")
        pointers = {name: e.assign(f"inttoptr i64 {self._word(at)} to ptr")
                    for at, name in enumerate([*self.arrays, "packed", "steps"])}
        count = len(pointers)
        steps = self._word(count)
        e.line(f"%width = add i64 {self._word(count + 1)}, 0")
        e.line("br label %steps")
        e.label("steps")
        e.line("%turn = phi i64 [0, %entry], [%turn.next, %step.done]")
        more = e.assign(f"icmp slt i64 %turn, {steps}")
        e.line(f"br i1 {more}, label %step, label %end")
        e.label("step")
        turn = "%turn"
        if not forward:
            turn = e.assign(f"sub i64 {e.assign(f'sub i64 {steps}, 1')}, %turn")
        first, rows = self._step(pointers["steps"], turn)
        e.label("work")
        if forward:
            self._move_on(first, rows, pointers)
        self._cells(first, rows, pointers)
        if not forward:
            self._move_back(first, rows, pointers)
        e.line("br label %step.done")
        e.label("step.done")
        e.line("%turn.next = add i64 %turn, 1")
        e.line("br label %steps")
        e.label("end")
        e.line("ret void")

    def _step(self, steps: str, turn: str) -> tuple[str, str]:
        """The first row of this piece in a step and how many rows; on to `work`, or past it."""
        e = self.e
        at = e.assign(f"getelementptr [2 x i64], ptr {steps}, i64 {turn}")
        row = e.assign(f"load i64, ptr {at}")
        last = e.assign(f"load i64, ptr {e.assign(f'getelementptr i64, ptr {at}, i64 1')}")
        less = e.assign(f"icmp slt i64 {last}, %end.all")
        stop = e.assign(f"select i1 {less}, i64 {last}, i64 %end.all")
        rows = e.assign(f"sub i64 {stop}, %begin")
        first = e.assign(f"add i64 {row}, %begin")
        some = e.assign(f"icmp sgt i64 {rows}, 0")
        e.line(f"br i1 {some}, label %work, label %step.done")
        return first, rows

    def _copy(self, target: str, source: str, rows: str) -> None:
        e = self.e
        items = e.assign(f"mul i64 {rows}, %width")
        size = e.assign(f"mul i64 {items}, {ITEM_BYTES[self.kind]}")
        e.line(f"call void @llvm.memcpy.p0.p0.i64(ptr {target}, ptr {source}, i64 {size}, "
               "i1 false)")

    def _multiply(self, c: str, a: str, packed: str, sizes: tuple[int, int], rows: str,
                  add: bool) -> None:
        """c (+)= a @ packed, for sizes (depth, columns) in widths."""
        e = self.e
        depth, columns = (e.assign(f"mul i64 %width, {n}") for n in sizes)
        e.line(f"call void @{panels.PRODUCT}(ptr {c}, i64 {columns}, ptr {a}, i64 {depth}, "
               f"ptr {packed}, i64 {depth}, i64 {columns}, i64 {rows}, i1 {str(add).lower()})")

    def _move_on(self, first: str, rows: str, pointers: dict[str, str]) -> None:
        """Keep the states for backward; make the state's part of the gates.

        It stays apart from the inputs' part, which is not in the caches yet: cells read that in
        the order of memory.
        """
        before = self._row("before_h", first, pointers)
        self._copy(before, self._row("h", "%begin", pointers), rows)
        if "before_c" in self.arrays:
            self._copy(self._row("before_c", first, pointers),
                       self._row("c", "%begin", pointers), rows)
        self._multiply(self._row("part", "%begin", pointers), before, pointers["packed"],
                       (1, self.arrays["gates"][1]), rows, False)

    def _move_back(self, first: str, rows: str, pointers: dict[str, str]) -> None:
        """The gradient of the state before: what comes through the gates."""
        self._multiply(self._row("h", "%begin", pointers), self._row("d_gates", first, pointers),
                       pointers["packed"], (self.arrays["gates"][1], 1), rows,
                       self.name.startswith("gru"))

    def _cells(self, first: str, rows: str, pointers: dict[str, str]) -> None:
        """The loop over rows around the loop over columns."""
        e = self.e
        e.line("br label %rows")
        e.label("rows")
        e.line("%row = phi i64 [0, %work], [%row.next, %span.done]")
        more = e.assign(f"icmp slt i64 %row, {rows}")
        e.line(f"br i1 {more}, label %cells, label %rows.done")
        e.label("cells")
        of_sequence = e.assign(f"add i64 {first}, %row")
        of_state = e.assign("add i64 %begin, %row")
        numbers = {"rows": of_sequence, "state": of_state, "one": "0"}
        places = {name: self._row(name, numbers[where], pointers)
                  for name, (where, _) in self.arrays.items()}
        span = Span(e, "span", "cells", "0", "%width")
        span.enter_body()
        CELLS[self.name](e, Row(e, self.kind, places, span.index, None))
        mask = span.enter_tail()
        CELLS[self.name](e, Row(e, self.kind, places, span.stop, mask))
        span.leave()
        e.line("%row.next = add i64 %row, 1")
        e.line("br label %rows")
        e.label("rows.done")


@functools.cache
def _kernel(name: str, kind: str) -> int:
    text = _Text(name, kind, jit.host().vector_bytes).whole()
    return jit.load(text, (KERNEL,)).address(KERNEL)


def run(name: str, arrays: dict[str, np.ndarray], weight: np.ndarray, steps: np.ndarray,
        batch: int, threads: int) -> None:
    """Run the kernel ``name`` over a batch, in place.

    ``arrays`` are those that `ARRAYS` lists for it, C-contiguous and of one dtype; ``weight``
    is what each row is multiplied with, (depth, columns); ``steps`` (count, 2) of int64. Raises
    ValueError where a shape or dtype does not fit.
    """
    held = weight.dtype
    kind = calls.KINDS[held]
    parts = ARRAYS[name]["gates"][1]
    width = arrays["h"].shape[1]
    expected = (width * parts, width) if name.endswith("_back") else (width, width * parts)
    rows = len(arrays["gates"])
    sizes = {"rows": rows, "state": batch, "one": 1}
    for key, (where, count) in ARRAYS[name].items():
        if arrays[key].dtype != held or arrays[key].size != sizes[where] * count * width:
            raise ValueError(f"{key} does not fit: {arrays[key].shape}, {arrays[key].dtype}")
    if weight.shape != expected or steps.dtype != np.int64 or (
            len(steps) and (steps.min() < 0 or steps.sum(1).max() > rows
                            or steps[:, 1].max() > batch)):
        raise ValueError("the weight or the steps do not fit")
    packed = panels.pack(weight, panels.panel_columns(kind, jit.host().vector_bytes))
    listed = [arrays[key] for key in ARRAYS[name]]
    calls.launch(_kernel(name, kind), batch, -(-batch // threads), *listed, packed, steps,
                 len(steps), width)
