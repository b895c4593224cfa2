"""What a compiled step does beside its kernels: copies, sums of partial results, checks, products.

Each is a kernel, `void (ptr context, i64 begin, i64 end)`; its context is listed with it.
`run_table` is a Python function that runs a whole list of kernels.
"""

import ctypes
import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from flambeau.backends.lapack import bundled_blas
from flambeau.backends.llvm import axis_text, calls, index_text, jit, piece_text, walk_text
from flambeau.backends.llvm.conv_text import Writer
from flambeau.backends.llvm.loops import Loop
from flambeau.backends.llvm.printer import load_pointers, load_vector, store_vector
from flambeau.backends.llvm.shared import module

__all__ = ["ALONE", "ENTRIES", "HEAD_WORDS", "TABLE_TEXT", "address", "chore", "run_table",
           "table_words"]

# where a table's words are
PATCHES, ENTRIES, END, ALONE, HEAD_WORDS = 0, 1, 2, 3, 4
# what all programs need a few of
_COPIES = ("copy", "zero", "range_i64")
# columns whose partial results are added up side by side
SUM_LANES = 16

# What every reader of such a table does. patch_table writes the address of array i, plus an offset,
# where the table's patches (word, i, offset) say. run_entries runs its entries (kernel, count,
# chunk, words, context...); one without kernel ends it with false where the item that it points at
# is not 0.
TABLE_TEXT = f"""
declare void @parallel_for(ptr, ptr, i64, i64)

define internal void @patch_table(ptr %table, ptr %arrays) {{
entry:
  %patches = load i64, ptr %table
  br label %patch
patch:
  %p = phi i64 [0, %entry], [%p1, %patched]
  %p_more = icmp slt i64 %p, %patches
  br i1 %p_more, label %patched, label %over
patched:
  %p3 = mul i64 %p, 3
  %p_at = add i64 %p3, {HEAD_WORDS}
  %word_place = getelementptr i64, ptr %table, i64 %p_at
  %word = load i64, ptr %word_place
  %which_place = getelementptr i64, ptr %word_place, i64 1
  %which = load i64, ptr %which_place
  %offset_place = getelementptr i64, ptr %word_place, i64 2
  %offset = load i64, ptr %offset_place
  %array_place = getelementptr ptr, ptr %arrays, i64 %which
  %array = load ptr, ptr %array_place
  %data_place = getelementptr i8, ptr %array, i64 {calls.HEAD}
  %data = load i64, ptr %data_place
  %moved = add i64 %data, %offset
  %target = getelementptr i64, ptr %table, i64 %word
  store i64 %moved, ptr %target
  %p1 = add i64 %p, 1
  br label %patch
over:
  ret void
}}

define internal i1 @run_entries(ptr %table) {{
entry:
  %entries_place = getelementptr i64, ptr %table, i64 {ENTRIES}
  %entries = load i64, ptr %entries_place
  %end_place = getelementptr i64, ptr %table, i64 {END}
  %end = load i64, ptr %end_place
  br label %next
next:
  %at = phi i64 [%entries, %entry], [%at1, %done]
  %more = icmp slt i64 %at, %end
  br i1 %more, label %one, label %over
one:
  %place = getelementptr i64, ptr %table, i64 %at
  %kernel = load ptr, ptr %place
  %count_place = getelementptr i64, ptr %place, i64 1
  %count = load i64, ptr %count_place
  %chunk_place = getelementptr i64, ptr %place, i64 2
  %chunk = load i64, ptr %chunk_place
  %words_place = getelementptr i64, ptr %place, i64 3
  %words = load i64, ptr %words_place
  %context = getelementptr i64, ptr %place, i64 4
  %is_kernel = icmp ne ptr %kernel, null
  br i1 %is_kernel, label %call, label %test
call:
  %few = icmp sle i64 %count, %chunk
  br i1 %few, label %straight, label %spread
straight:
  call void %kernel(ptr %context, i64 0, i64 %count)
  br label %done
spread:
  call void @parallel_for(ptr %kernel, ptr %context, i64 %count, i64 %chunk)
  br label %done
test:
  %flag_place = load ptr, ptr %context
  %flag = load i64, ptr %flag_place
  %bad = icmp ne i64 %flag, 0
  br i1 %bad, label %over, label %done
done:
  %longer = add i64 %words, 4
  %at1 = add i64 %at, %longer
  br label %next
over:
  %good = phi i1 [true, %next], [false, %test]
  ret i1 %good
}}
"""

# run_table(table, *arrays): patches the table, then runs it; False where an entry ended it.
_RUN = f"""
@type_error = external global ptr
declare void @PyErr_SetString(ptr, ptr)
declare ptr @PyEval_SaveThread()
declare void @PyEval_RestoreThread(ptr)
declare ptr @PyBool_FromLong(i64)
@ndarray = external global i8
@message = private constant [30 x i8] c"expected C-contiguous ndarray\\00"

define ptr @run_table(ptr %self, ptr %args, i64 %nargs) {{
entry:
  %table_object = load ptr, ptr %args
  %table_place = getelementptr i8, ptr %table_object, i64 {calls.HEAD}
  %table = load ptr, ptr %table_place
  %alone_place = getelementptr i64, ptr %table, i64 {ALONE}
  %alone = load i64, ptr %alone_place
  br label %check
check:
  %c = phi i64 [1, %entry], [%c1, %checked]
  %c_more = icmp slt i64 %c, %nargs
  br i1 %c_more, label %look, label %begin
look:
  %c_place = getelementptr ptr, ptr %args, i64 %c
  %c_item = load ptr, ptr %c_place
  %type_place = getelementptr i8, ptr %c_item, i64 {calls.HEAD - 8}
  %type = load ptr, ptr %type_place
  %is_array = icmp eq ptr %type, @ndarray
  br i1 %is_array, label %checked, label %refuse
checked:
  %c1 = add i64 %c, 1
  br label %check
begin:
  %arrays = getelementptr ptr, ptr %args, i64 1
  call void @patch_table(ptr %table, ptr %arrays)
  %releases = icmp ne i64 %alone, 0
  br i1 %releases, label %release, label %held
held:
  %good_held = call i1 @run_entries(ptr %table)
  br label %return
release:
  %state = call ptr @PyEval_SaveThread()
  %good_released = call i1 @run_entries(ptr %table)
  call void @PyEval_RestoreThread(ptr %state)
  br label %return
return:
  %good = phi i1 [%good_held, %held], [%good_released, %release]
  %code = zext i1 %good to i64
  %result = call ptr @PyBool_FromLong(i64 %code)
  ret ptr %result
refuse:
  %class = load ptr, ptr @type_error
  call void @PyErr_SetString(ptr %class, ptr @message)
  ret ptr null
}}
"""

# copy: to, from, bytes
_COPY = """
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)
define void @copy(ptr %context, i64 %begin, i64 %end) {
  %to = load ptr, ptr %context
  %p1 = getelementptr ptr, ptr %context, i64 1
  %from = load ptr, ptr %p1
  %n = sub i64 %end, %begin
  %to1 = getelementptr i8, ptr %to, i64 %begin
  %from1 = getelementptr i8, ptr %from, i64 %begin
  call void @llvm.memcpy.p0.p0.i64(ptr %to1, ptr %from1, i64 %n, i1 false)
  ret void
}
define void @zero(ptr %context, i64 %begin, i64 %end) {
  %to = load ptr, ptr %context
  %n = sub i64 %end, %begin
  %to1 = getelementptr i8, ptr %to, i64 %begin
  call void @llvm.memset.p0.i64(ptr %to1, i8 0, i64 %n, i1 false)
  ret void
}
"""

# range_i64: flag, data, low, high, ignored; begin and end number the items. The flag is set where
# one is outside, else left as it is
_RANGE = """
define void @range_i64(ptr %context, i64 %begin, i64 %end) {
entry:
  %flag = load ptr, ptr %context
  %p1 = getelementptr ptr, ptr %context, i64 1
  %data = load ptr, ptr %p1
  %p2 = getelementptr i64, ptr %context, i64 2
  %low = load i64, ptr %p2
  %p3 = getelementptr i64, ptr %context, i64 3
  %high = load i64, ptr %p3
  %p4 = getelementptr i64, ptr %context, i64 4
  %ignored = load i64, ptr %p4
  %span = sub i64 %high, %low
  %low1 = insertelement <8 x i64> poison, i64 %low, i64 0
  %lows = shufflevector <8 x i64> %low1, <8 x i64> poison, <8 x i32> zeroinitializer
  %span1 = insertelement <8 x i64> poison, i64 %span, i64 0
  %spans = shufflevector <8 x i64> %span1, <8 x i64> poison, <8 x i32> zeroinitializer
  %ignored1 = insertelement <8 x i64> poison, i64 %ignored, i64 0
  %ignores = shufflevector <8 x i64> %ignored1, <8 x i64> poison, <8 x i32> zeroinitializer
  %count = sub i64 %end, %begin
  %whole = and i64 %count, -8
  %stop = add i64 %begin, %whole
  br label %next
next:
  %i = phi i64 [%begin, %entry], [%i1, %several]
  %bads = phi <8 x i64> [zeroinitializer, %entry], [%bads1, %several]
  %more = icmp slt i64 %i, %stop
  br i1 %more, label %several, label %rest
several:
  %places = getelementptr i64, ptr %data, i64 %i
  %xs = load <8 x i64>, ptr %places, align 8
  %aboves = sub <8 x i64> %xs, %lows
  %outs = icmp uge <8 x i64> %aboves, %spans
  %count_here = icmp ne <8 x i64> %xs, %ignores
  %wrongs = and <8 x i1> %outs, %count_here
  %wides = sext <8 x i1> %wrongs to <8 x i64>
  %bads1 = or <8 x i64> %bads, %wides
  %i1 = add i64 %i, 8
  br label %next
rest:
  %any = icmp ne <8 x i64> %bads, zeroinitializer
  %bits = bitcast <8 x i1> %any to i8
  %found = icmp ne i8 %bits, 0
  br label %single
single:
  %j = phi i64 [%stop, %rest], [%j1, %one]
  %bad = phi i1 [%found, %rest], [%bad1, %one]
  %left = icmp slt i64 %j, %end
  br i1 %left, label %one, label %over
one:
  %place = getelementptr i64, ptr %data, i64 %j
  %x = load i64, ptr %place
  %above = sub i64 %x, %low
  %out = icmp uge i64 %above, %span
  %counts = icmp ne i64 %x, %ignored
  %wrong = and i1 %out, %counts
  %bad1 = or i1 %bad, %wrong
  %j1 = add i64 %j, 1
  br label %single
over:
  br i1 %bad, label %mark, label %done
mark:
  store i64 1, ptr %flag
  br label %done
done:
  ret void
}
"""

# pow_f64: to, a, b, whether a and b move; begin and end number the items
_POW = """
declare double @pow(double, double)
define void @pow_f64(ptr %context, i64 %begin, i64 %end) {
entry:
  %to = load ptr, ptr %context
  %p1 = getelementptr ptr, ptr %context, i64 1
  %a = load ptr, ptr %p1
  %p2 = getelementptr ptr, ptr %context, i64 2
  %b = load ptr, ptr %p2
  %p3 = getelementptr i64, ptr %context, i64 3
  %a_moves = load i64, ptr %p3
  %p4 = getelementptr i64, ptr %context, i64 4
  %b_moves = load i64, ptr %p4
  br label %next
next:
  %i = phi i64 [%begin, %entry], [%i1, %one]
  %more = icmp slt i64 %i, %end
  br i1 %more, label %one, label %over
one:
  %a_at = mul i64 %i, %a_moves
  %a_place = getelementptr double, ptr %a, i64 %a_at
  %x = load double, ptr %a_place
  %b_at = mul i64 %i, %b_moves
  %b_place = getelementptr double, ptr %b, i64 %b_at
  %y = load double, ptr %b_place
  %r = call double @pow(double %x, double %y)
  %place = getelementptr double, ptr %to, i64 %i
  store double %r, ptr %place
  %i1 = add i64 %i, 1
  br label %next
over:
  ret void
}
"""

# gemm_f32, gemm_f64: c, a, b, m, n, k, lda, ldb, turned a, turned b, steps of a, b, c per product,
# slices of a product, rows of a slice, columns of a slice (one of them is all of the result's);
# begin and end number the slices of all products
_GEMM = """
declare void @cblas_NAME(i32, i32, i32, i64, i64, i64, TYPE, ptr, i64, ptr, i64, TYPE, ptr, i64)
define void @gemm_NAME(ptr %context, i64 %begin, i64 %end) {
entry:
  %c = load ptr, ptr %context
LOADS
  br label %next
next:
  %i = phi i64 [%begin, %entry], [%i1, %go]
  %more = icmp slt i64 %i, %end
  br i1 %more, label %one, label %over
one:
  %product = sdiv i64 %i, %slices
  %slice = srem i64 %i, %slices
  %tall = icmp slt i64 %height, %m
  %row_slice = select i1 %tall, i64 %slice, i64 0
  %column_slice = select i1 %tall, i64 0, i64 %slice
  %row = mul i64 %row_slice, %height
  %column = mul i64 %column_slice, %width
  %rows_left = sub i64 %m, %row
  %few_rows = icmp slt i64 %rows_left, %height
  %rows = select i1 %few_rows, i64 %rows_left, i64 %height
  %columns_left = sub i64 %n, %column
  %few_columns = icmp slt i64 %columns_left, %width
  %columns = select i1 %few_columns, i64 %columns_left, i64 %width
  %turned_a = icmp ne i64 %ta, 0
  %a_along = select i1 %turned_a, i64 1, i64 %lda
  %a_row = mul i64 %row, %a_along
  %a_step = mul i64 %product, %sa
  %a_at = add i64 %a_row, %a_step
  %a1 = getelementptr TYPE, ptr %a, i64 %a_at
  %turned_b = icmp ne i64 %tb, 0
  %b_along = select i1 %turned_b, i64 %ldb, i64 1
  %b_column = mul i64 %column, %b_along
  %b_step = mul i64 %product, %sb
  %b_at = add i64 %b_column, %b_step
  %b1 = getelementptr TYPE, ptr %b, i64 %b_at
  %c_row = mul i64 %row, %n
  %c_step = mul i64 %product, %sc
  %c_first = add i64 %c_row, %c_step
  %c_at = add i64 %c_first, %column
  %c1 = getelementptr TYPE, ptr %c, i64 %c_at
  %ta_wide = add i64 %ta, 111
  %ta_code = trunc i64 %ta_wide to i32
  %tb_wide = add i64 %tb, 111
  %tb_code = trunc i64 %tb_wide to i32
  br label %go
go:
  call void @cblas_NAME(i32 101, i32 %ta_code, i32 %tb_code, i64 %rows, i64 %columns, i64 %k,
                        TYPE 1.0, ptr %a1, i64 %lda, ptr %b1, i64 %ldb,
                        TYPE 0.0, ptr %c1, i64 %n)
  %i1 = add i64 %i, 1
  br label %next
over:
  ret void
}
"""
# blas_threads: how many threads products use from now on
_THREADS = """
declare void @set_threads(i32)
define void @blas_threads(ptr %context, i64 %begin, i64 %end) {
  %wide = load i64, ptr %context
  %count = trunc i64 %wide to i32
  call void @set_threads(i32 %count)
  ret void
}
"""
_GEMM_WORDS = ("m", "n", "k", "lda", "ldb", "ta", "tb", "sa", "sb", "sc", "slices", "height",
               "width")


def _gemm_text(name: str, kind: str) -> str:
    loads = []
    for at, word in enumerate(("a", "b", *_GEMM_WORDS), 1):
        llvm_type = "ptr" if at < 3 else "i64"
        loads.append(f"  %w{at} = getelementptr {llvm_type}, ptr %context, i64 {at}")
        loads.append(f"  %{word} = load {llvm_type}, ptr %w{at}")
    return (_GEMM.replace("LOADS", "\n".join(loads)).replace("NAME", name)
            .replace("TYPE", kind))


def _sum_of(kind: str) -> tuple[str, set[str]]:
    """sum_f32, sum_f64: to, partial results (units, columns), units; pieces number the columns."""
    w = Writer(SUM_LANES)
    e = w.e
    to, source = load_pointers(e, 2)
    units, columns = w.read("%context", 2), w.read("%context", 3)
    rest = w.op("urem", w.op("sub", "%end", "%begin"), SUM_LANES)
    stop = w.op("sub", "%end", rest)
    for lanes, first, last in ((SUM_LANES, "%begin", stop), (1, stop, "%end")):
        with e.width(lanes):
            some = Loop(e, first, last, lanes)
            each = Loop(e, 0, units, 1, [e.const("f64", 0.0)])
            at = w.add(w.mul(each.index, columns), some.index)
            item = e.convert(load_vector(e, kind, source, at, None), "f64")
            (total,) = each.close([e.add(each.values[0], item)])
            store_vector(e, e.convert(total, kind), to, some.index, None)
            some.close()
    return w.function(f"void @sum_{kind}(ptr %context, i64 %begin, i64 %end)"), e.declarations


@functools.cache
def _copies() -> jit.Library:
    return jit.load(_COPY + _RANGE, _COPIES)


@functools.cache
def _products() -> jit.Library | None:
    """The matrix products of NumPy's BLAS; None where it brings none."""
    wanted = {"cblas_f32": "scipy_cblas_sgemm64_", "cblas_f64": "scipy_cblas_dgemm64_",
              "set_threads": "scipy_openblas_set_num_threads64_"}
    for library in bundled_blas():
        if all([hasattr(library, name) for name in wanted.values()]):
            found = {ours: ctypes.cast(getattr(library, name), ctypes.c_void_p).value or 0
                     for ours, name in wanted.items()}
            text = _gemm_text("f32", "float") + _gemm_text("f64", "double") + _THREADS
            return jit.load(text, ("gemm_f32", "gemm_f64", "blas_threads"), found)
    return None


def address(name: str) -> int | None:
    """Where the chore's code is; None for products where there is no BLAS to call."""
    if name.startswith(("gemm", "blas")):
        products = _products()
        return None if products is None else products.address(name)
    return chore(name)


def chore(name: str) -> int:
    """Where the code of a chore is that calls no BLAS."""
    return _copies().address(name) if name in _COPIES else _alone(name)


@functools.cache
def _alone(name: str) -> int:
    """Where the code of a chore is that has a module of its own: few programs need many."""
    return jit.load(_text_of(name), (name,)).address(name)


def _text_of(name: str) -> str:
    vector_bytes = jit.host().vector_bytes
    if name == "pow_f64":
        return _POW
    if name in piece_text.NAMES:
        return piece_text.text_of(name)
    if name in index_text.NAMES:
        return module([index_text.function_of(name)], 16)
    if name in axis_text.NAMES:
        return module([axis_text.function_of(name)], vector_bytes)
    if name == "walk":
        return walk_text.walk_text()
    return module([_sum_of(name.removeprefix("sum_"))], vector_bytes)


@functools.cache
def run_table() -> Callable[..., Any] | None:
    """``run_table(table, *arrays)``; None where objects lie in memory some other way."""
    if not calls.layout_is_known():
        return None
    functions = ("PyErr_SetString", "PyEval_SaveThread", "PyEval_RestoreThread",
                 "PyBool_FromLong")
    return calls.direct_entry(TABLE_TEXT + _RUN, "run_table", functions)


def table_words(patches: list[tuple[int, int, int]], entries: list[list[int]],
                releases: bool) -> np.ndarray:
    """A table: patches (entry's word counted from the first entry, array, offset), then entries."""
    start = HEAD_WORDS + 3 * len(patches)
    words = [len(patches), start, 0, int(releases)]
    for word, which, offset in patches:
        words += [start + word, which, offset]
    for entry in entries:
        words += entry
    words[END] = len(words)
    return np.array(words, np.int64)
