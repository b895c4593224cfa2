"""One kernel over many tensors: a pointwise program applied to every row of a table of arrays.

A row holds the addresses of one tensor's arrays (a parameter, its gradient, its state), its size
and the number of its first piece; pieces of `PIECE` items are what threads take. All rows share one
small array of scalars.
"""

import ctypes
import functools
from collections.abc import Sequence

import numpy as np

from flambeau.backends.llvm import calls, jit, pool
from flambeau.backends.llvm.emit import Emitter, Value
from flambeau.backends.llvm.printer import (
    KERNEL,
    STORED,
    Span,
    lanes_for,
    load_vector,
    module_text,
    run_steps,
    splat_item,
    store_vector,
)
from flambeau.backends.llvm.program import Pointwise

PIECE = 4096
# pieces that a thread takes at once: fewer in all are done by the caller alone
PIECES_AT_ONCE = 8
WRITEABLE = 0x0400
RAN, MOVED, REFUSED = 0, 1, 2

_ENTRY = f"""
declare void @parallel_for(ptr, ptr, i64, i64)
declare ptr @PyLong_FromSsize_t(i64)
declare ptr @PyEval_SaveThread()
declare void @PyEval_RestoreThread(ptr)
@ndarray = external global i8

define ptr @run_table(ptr %self, ptr %args, i64 %nargs) {{
entry:
  %context = alloca [3 x i64]
  %plan_object = load ptr, ptr %args
  %plan_place = getelementptr i8, ptr %plan_object, i64 {calls.HEAD}
  %plan = load ptr, ptr %plan_place
  %kernel = load ptr, ptr %plan
  %width_place = getelementptr i64, ptr %plan, i64 1
  %width = load i64, ptr %width_place
  %mask_place = getelementptr i64, ptr %plan, i64 2
  %mask = load i64, ptr %mask_place
  %dtype_place = getelementptr i64, ptr %plan, i64 3
  %dtype = load i64, ptr %dtype_place
  %scalars_arg = getelementptr ptr, ptr %args, i64 1
  %scalars_object = load ptr, ptr %scalars_arg
  %scalars_place = getelementptr i8, ptr %scalars_object, i64 {calls.HEAD}
  %scalars = load i64, ptr %scalars_place
  %table_arg = getelementptr ptr, ptr %args, i64 2
  %table_object = load ptr, ptr %table_arg
  %table_place = getelementptr i8, ptr %table_object, i64 {calls.HEAD}
  %table = load ptr, ptr %table_place
  br label %next
next:
  %i = phi i64 [3, %entry], [%i1, %keep]
  %column = phi i64 [0, %entry], [%column1, %keep]
  %slot = phi ptr [%table, %entry], [%slot1, %keep]
  %size0 = phi i64 [0, %entry], [%size, %keep]
  %start = phi i64 [0, %entry], [%start1, %keep]
  %moved = phi i1 [false, %entry], [%moved1, %keep]
  %more = icmp slt i64 %i, %nargs
  br i1 %more, label %read, label %filled
read:
  %place = getelementptr ptr, ptr %args, i64 %i
  %item = load ptr, ptr %place
  %type_place = getelementptr i8, ptr %item, i64 {calls.HEAD - 8}
  %type = load ptr, ptr %type_place
  %is_array = icmp eq ptr %type, @ndarray
  br i1 %is_array, label %array, label %refuse
array:
  %bits = lshr i64 %mask, %column
  %bit = and i64 %bits, 1
  %written = icmp ne i64 %bit, 0
  %wanted = select i1 %written, i32 {calls.NEEDED_FLAGS | WRITEABLE}, i32 {calls.NEEDED_FLAGS}
  %flags_place = getelementptr i8, ptr %item, i64 {calls.FLAGS}
  %flags = load i32, ptr %flags_place
  %kept = and i32 %flags, %wanted
  %usable = icmp eq i32 %kept, %wanted
  %own_place = getelementptr i8, ptr %item, i64 {calls.DTYPE}
  %own = load i64, ptr %own_place
  %same_dtype = icmp eq i64 %own, %dtype
  %fine = and i1 %usable, %same_dtype
  br i1 %fine, label %measure, label %refuse
measure:
  %rank_place = getelementptr i8, ptr %item, i64 {calls.RANK}
  %rank = load i32, ptr %rank_place
  %sizes_place = getelementptr i8, ptr %item, i64 {calls.SIZES}
  %sizes = load ptr, ptr %sizes_place
  br label %dims
dims:
  %d = phi i32 [0, %measure], [%d1, %dim]
  %size = phi i64 [1, %measure], [%product, %dim]
  %another = icmp slt i32 %d, %rank
  br i1 %another, label %dim, label %measured
dim:
  %length_place = getelementptr i64, ptr %sizes, i32 %d
  %length = load i64, ptr %length_place
  %product = mul i64 %size, %length
  %d1 = add i32 %d, 1
  br label %dims
measured:
  %first = icmp eq i64 %column, 0
  %agrees = icmp eq i64 %size, %size0
  %fits = or i1 %first, %agrees
  br i1 %fits, label %note, label %refuse
note:
  %data_place = getelementptr i8, ptr %item, i64 {calls.HEAD}
  %data = load i64, ptr %data_place
  %before = load i64, ptr %slot
  store i64 %data, ptr %slot
  %differs = icmp ne i64 %data, %before
  %matters = and i1 %differs, %written
  %moved2 = or i1 %moved, %matters
  %column2 = add i64 %column, 1
  %slot2 = getelementptr i64, ptr %slot, i64 1
  %last = icmp eq i64 %column2, %width
  br i1 %last, label %end_row, label %keep
end_row:
  %size_before = load i64, ptr %slot2
  store i64 %size, ptr %slot2
  %resized = icmp ne i64 %size, %size_before
  %moved3 = or i1 %moved2, %resized
  %start_slot = getelementptr i64, ptr %slot2, i64 1
  store i64 %start, ptr %start_slot
  %padded = add i64 %size, {PIECE - 1}
  %pieces = sdiv i64 %padded, {PIECE}
  %start2 = add i64 %start, %pieces
  %slot3 = getelementptr i64, ptr %slot2, i64 2
  br label %keep
keep:
  %column1 = phi i64 [%column2, %note], [0, %end_row]
  %slot1 = phi ptr [%slot2, %note], [%slot3, %end_row]
  %start1 = phi i64 [%start, %note], [%start2, %end_row]
  %moved1 = phi i1 [%moved2, %note], [%moved3, %end_row]
  %i1 = add i64 %i, 1
  br label %next
filled:
  %beyond = getelementptr i64, ptr %slot, i64 %width
  %sentinel = getelementptr i64, ptr %beyond, i64 1
  store i64 %start, ptr %sentinel
  br i1 %moved, label %ask, label %run
ask:
  %moved_code = call ptr @PyLong_FromSsize_t(i64 {MOVED})
  ret ptr %moved_code
run:
  store ptr %table, ptr %context
  %context1 = getelementptr i64, ptr %context, i64 1
  store i64 %scalars, ptr %context1
  %state = call ptr @PyEval_SaveThread()
  call void @parallel_for(ptr %kernel, ptr %context, i64 %start, i64 {PIECES_AT_ONCE})
  call void @PyEval_RestoreThread(ptr %state)
  %ran_code = call ptr @PyLong_FromSsize_t(i64 {RAN})
  ret ptr %ran_code
refuse:
  %refused_code = call ptr @PyLong_FromSsize_t(i64 {REFUSED})
  ret ptr %refused_code
}}
"""
_API = ("PyLong_FromSsize_t", "PyEval_SaveThread", "PyEval_RestoreThread")


@functools.cache
def _entry() -> calls.Callable[..., int]:
    if not calls.layout_is_known():
        return _run_table_by_ctypes
    return calls.direct_entry(_ENTRY, "run_table", _API)


def _run_table_by_ctypes(
    plan: np.ndarray, scalars: np.ndarray, table: np.ndarray, *arrays: np.ndarray
) -> int:
    """The entry for interpreters whose objects lie in memory some other way."""
    kernel, width, mask, dtype = plan.tolist()
    words: list[int] = []
    start = size = 0
    for number, array in enumerate(arrays):
        flags, column = array.flags, number % width
        if column == 0:
            size = array.size
        fits = type(array) is np.ndarray and flags.c_contiguous and flags.aligned
        if not (fits and id(array.dtype) == dtype and array.size == size):
            return REFUSED
        if mask >> column & 1 and not flags.writeable:
            return REFUSED
        words.append(array.ctypes.data)
        if column == width - 1:
            words += [size, start]
            start += -(-size // PIECE)
    before = table.copy()
    table[: len(words)] = words
    table[len(words) + width + 1] = start
    rows = slice(0, len(words))
    steady = [c for c in range(width + 2) if c == width or (c < width and mask >> c & 1)]
    if (table[rows].reshape(-1, width + 2) != before[rows].reshape(-1, width + 2))[:, steady].any():
        return MOVED
    context = (ctypes.c_int64 * 2)(table.ctypes.data, scalars.ctypes.data)
    types = (None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
    parallel_for = ctypes.CFUNCTYPE(*types)(pool.parallel_for_address())
    parallel_for(kernel, ctypes.addressof(context), start, PIECES_AT_ONCE)
    return RAN


class Tables:
    """What a caller keeps between runs: where the arrays were, so that only news is checked."""

    __slots__ = ("_kept",)

    def __init__(self) -> None:
        self._kept: dict[tuple, np.ndarray] = {}

    def take(self, key: tuple, words: int) -> np.ndarray:
        """Return the table of these rows, as the last run left it; zeros at first."""
        found = self._kept.get(key)
        if found is None:
            if len(self._kept) >= 16:
                self._kept.clear()
            found = self._kept[key] = np.zeros(words, np.int64)
        return found


class MultiKernel:
    """A program compiled to run over rows of arrays; its inputs are arrays first, then scalars.

    The result numbered `program.outputs[k]` is written to column `written[k]` of the row.
    """

    def __init__(self, program: Pointwise, written: tuple[int, ...]) -> None:
        self.width = sum(item.layout == "array" for item in program.inputs)
        self.written = written
        self.dtype = calls.DTYPES[program.inputs[0].kind]
        text = print_multi(program, written, jit.host().vector_bytes)
        mask = sum(1 << column for column in written)
        address = jit.load(text, (KERNEL,)).address(KERNEL)
        self._plan = np.array([address, self.width, mask, id(self.dtype)], np.int64)

    def run(self, arrays: Sequence[np.ndarray], scalars: np.ndarray, tables: Tables) -> bool:
        """Update the arrays, `width` for every row, row after row; whether that could be done.

        Nothing is written where it could not: an array is not plain (C-contiguous, of the
        program's dtype, as large as its row), or two that are written share memory.
        """
        pool.ensure_started()
        words = (len(arrays) // self.width + 1) * (self.width + 2)
        table = tables.take((id(self), words), words)
        code = _entry()(self._plan, scalars, table, *arrays)
        if code == MOVED:
            if self._overlap(table):
                table[:] = 0
                return False
            code = _entry()(self._plan, scalars, table, *arrays)
        elif code == REFUSED:
            table[:] = 0
        return code == RAN

    def _overlap(self, table: np.ndarray) -> bool:
        """Whether the written memory of any two arrays has bytes in common."""
        rows = table.reshape(-1, self.width + 2)[:-1]
        sizes = rows[:, self.width] * self.dtype.itemsize
        starts = np.concatenate([rows[:, column] for column in self.written])
        ends = np.concatenate([rows[:, column] + sizes for column in self.written])
        order = np.argsort(starts, kind="stable")
        starts, ends = starts[order], ends[order]
        filled = ends > starts
        return bool((starts[filled][1:] < ends[filled][:-1]).any())


@functools.cache
def multi_kernel(program: Pointwise, written: tuple[int, ...]) -> MultiKernel:
    """Return the kernel of a program, compiled when first asked for."""
    return MultiKernel(program, written)


def print_multi(program: Pointwise, written: tuple[int, ...], vector_bytes: int) -> str:
    """Return the module of a kernel that walks pieces of the rows of a table."""
    width = sum(item.layout == "array" for item in program.inputs)
    e = Emitter(lanes_for(program.kinds, vector_bytes))
    e.label("entry")
    table = e.assign("load ptr, ptr %context")
    place = e.assign("getelementptr i64, ptr %context, i64 1")
    scalars = e.assign(f"load ptr, ptr {place}")
    fixed = [
        splat_item(e, item.kind, scalars, str(number))
        for number, item in enumerate(program.inputs[width:])
    ]
    e.line("br label %pieces")
    e.label("pieces")
    e.line("%piece = phi i64 [%begin, %entry], [%piece.next, %span.done]")
    e.line("%row = phi i64 [0, %entry], [%row.found, %span.done]")
    more = e.assign("icmp slt i64 %piece, %end")
    e.line(f"br i1 {more}, label %find, label %pieces.done")
    row = _find_row(e, table, width)
    pointers, length = _enter_piece(e, program, row, width)
    span = Span(e, "span", "piece.body", "0", length)
    span.enter_body()
    _print_items(e, program, written, pointers, fixed, span.index, None)
    mask = span.enter_tail()
    _print_items(e, program, written, pointers, fixed, span.stop, mask)
    span.leave()
    e.line("%piece.next = add i64 %piece, 1")
    e.line("br label %pieces")
    e.label("pieces.done")
    e.line("ret void")
    return module_text(e, vector_bytes)


def _find_row(e: Emitter, table: str, width: int) -> str:
    """From the last row on, the one that holds the piece; returns where it starts."""
    e.label("find")
    e.line("%row.found = phi i64 [%row, %pieces], [%row.after, %find]")
    e.line("%row.after = add i64 %row.found, 1")
    place = e.assign(f"mul i64 %row.after, {width + 2}")
    slot = e.assign(f"add i64 {place}, {width + 1}")
    following = e.assign(f"getelementptr i64, ptr {table}, i64 {slot}")
    start = e.assign(f"load i64, ptr {following}")
    passed = e.assign(f"icmp sle i64 {start}, %piece")
    e.line(f"br i1 {passed}, label %find, label %piece.body")
    e.label("piece.body")
    here = e.assign(f"mul i64 %row.found, {width + 2}")
    return e.assign(f"getelementptr i64, ptr {table}, i64 {here}")


def _enter_piece(
    e: Emitter, program: Pointwise, row: str, width: int
) -> tuple[list[str], str]:
    """Where the piece starts in each of the row's arrays, and how many items it has."""
    words = []
    for column in range(width + 2):
        place = e.assign(f"getelementptr i64, ptr {row}, i64 {column}")
        kind = "ptr" if column < width else "i64"
        words.append(e.assign(f"load {kind}, ptr {place}"))
    number = e.assign(f"sub i64 %piece, {words[width + 1]}")
    offset = e.assign(f"mul i64 {number}, {PIECE}")
    left = e.assign(f"sub i64 {words[width]}, {offset}")
    short = e.assign(f"icmp slt i64 {left}, {PIECE}")
    length = e.assign(f"select i1 {short}, i64 {left}, i64 {PIECE}")
    pointers = [
        e.assign(f"getelementptr {STORED[item.kind]}, ptr {base}, i64 {offset}")
        for base, item in zip(words[:width], program.inputs[:width], strict=True)
    ]
    return pointers, length


def _print_items(
    e: Emitter,
    program: Pointwise,
    written: tuple[int, ...],
    pointers: list[str],
    fixed: list[Value],
    index: str,
    mask: str | None,
) -> None:
    """All is read before anything is written: outputs may be inputs."""
    values = [
        load_vector(e, item.kind, base, index, mask)
        for base, item in zip(pointers, program.inputs[: len(pointers)], strict=True)
    ]
    values += fixed
    run_steps(e, program.steps, values)
    for column, number in zip(written, program.outputs, strict=True):
        store_vector(e, values[number], pointers[column], index, mask)
