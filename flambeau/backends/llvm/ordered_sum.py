"""The sum of a dense array in PyTorch's order of additions, as one function of Python's.

`ordered_sum(out, array, divisor)` puts the sum, divided by the divisor, into the one item of `out`.
Both are C-contiguous ndarrays of one dtype; they are not checked. The order is that of
`flambeau.backends.numpy.total`, whose results it equals bit for bit.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from flambeau.backends.llvm import calls

__all__ = ["ordered_sum", "total_text"]

# Blocks of 16 rows, of 256, of 4096: what three levels above the rows hold.
_LEVELS = 3

_LEVEL = """  %s{j} = load {V4}, ptr %acc{j}
  %t{j} = load {V4}, ptr %acc{i}
  %u{j} = fadd {V4} %s{j}, %t{j}
  store {V4} %u{j}, ptr %acc{j}
  store {V4} zeroinitializer, ptr %acc{i}
  %m{j} = and i64 %r1, {mask}
  %full{j} = icmp eq i64 %m{j}, 0
  br i1 %full{j}, label %level{next}, label %rows
level{next}:"""

_TOTAL = """
define internal {T} @total(ptr %a, i64 %n) {{
entry:
  %acc0 = alloca {V4}
  %acc1 = alloca {V4}
  %acc2 = alloca {V4}
  %acc3 = alloca {V4}
  store {V4} zeroinitializer, ptr %acc0
  store {V4} zeroinitializer, ptr %acc1
  store {V4} zeroinitializer, ptr %acc2
  store {V4} zeroinitializer, ptr %acc3
  %short = icmp ult i64 %n, {L}
  br i1 %short, label %first, label %many
first:
  %v0 = load {T}, ptr %a
  br label %few
few:
  %f = phi i64 [4, %first], [%f1, %few_one], [1, %few_turn], [%h1, %few_low]
  %low = phi i1 [false, %first], [false, %few_one], [true, %few_turn], [true, %few_low]
  %fs = phi {T} [%v0, %first], [%fs1, %few_one], [%fs, %few_turn], [%fs2, %few_low]
  br i1 %low, label %few_test_low, label %few_test
few_test:
  %few_more = icmp ult i64 %f, %n
  br i1 %few_more, label %few_one, label %few_turn
few_one:
  %few_place = getelementptr {T}, ptr %a, i64 %f
  %few_v = load {T}, ptr %few_place
  %fs1 = fadd {T} %fs, %few_v
  %f1 = add i64 %f, 1
  br label %few
few_turn:
  br label %few
few_test_low:
  %in_four = icmp ult i64 %f, 4
  %in_all = icmp ult i64 %f, %n
  %low_more = and i1 %in_four, %in_all
  br i1 %low_more, label %few_low, label %few_done
few_low:
  %low_place = getelementptr {T}, ptr %a, i64 %f
  %low_v = load {T}, ptr %low_place
  %fs2 = fadd {T} %fs, %low_v
  %h1 = add i64 %f, 1
  br label %few
few_done:
  ret {T} %fs
many:
  %vectors = udiv i64 %n, {L}
  %count = udiv i64 %vectors, 4
  br label %rows
rows:
  %r = phi i64 [0, %many], [%r1, %row], {incoming}
  %more = icmp ult i64 %r, %count
  br i1 %more, label %row, label %rows_done
row:
  %at = mul i64 %r, {L4}
  %place = getelementptr {T}, ptr %a, i64 %at
  %v = load {V4}, ptr %place, align {A}
  %old = load {V4}, ptr %acc0
  %new = fadd {V4} %old, %v
  store {V4} %new, ptr %acc0
  %r1 = add i64 %r, 1
  %in_block = and i64 %r1, 15
  %full = icmp eq i64 %in_block, 0
  br i1 %full, label %level1, label %rows
level1:
{levels}
  br label %rows
rows_done:
  %a0 = load {V4}, ptr %acc0
  %a1 = load {V4}, ptr %acc1
  %a2 = load {V4}, ptr %acc2
  %a3 = load {V4}, ptr %acc3
  %b1 = fadd {V4} %a0, %a1
  %b2 = fadd {V4} %b1, %a2
  %b3 = fadd {V4} %b2, %a3
{parts}
  %after = mul i64 %count, 4
  br label %rest
rest:
  %k = phi i64 [%after, %rows_done], [%k1, %rest_one]
  %p = phi {V} [%p0, %rows_done], [%p_next, %rest_one]
  %more_rest = icmp ult i64 %k, %vectors
  br i1 %more_rest, label %rest_one, label %rest_done
rest_one:
  %rest_at = mul i64 %k, {L}
  %rest_place = getelementptr {T}, ptr %a, i64 %rest_at
  %rest_v = load {V}, ptr %rest_place, align {A}
  %p_next = fadd {V} %p, %rest_v
  %k1 = add i64 %k, 1
  br label %rest
rest_done:
  %q1 = fadd {V} %p, %p1
  %q2 = fadd {V} %q1, %p2
  %q3 = fadd {V} %q2, %p3
  %used = mul i64 %vectors, {L}
  br label %items
items:
  %x = phi i64 [%used, %rest_done], [%x1, %item]
  %l0 = phi {T} [0.0, %rest_done], [%s_next, %item]
  %more_items = icmp ult i64 %x, %n
  br i1 %more_items, label %item, label %lanes
item:
  %item_place = getelementptr {T}, ptr %a, i64 %x
  %item_v = load {T}, ptr %item_place
  %s_next = fadd {T} %l0, %item_v
  %x1 = add i64 %x, 1
  br label %items
lanes:
{lanes}
  ret {T} %l{L}
}}
"""

_ENTRY = """
@none = external global i8
declare i64 @PyLong_AsSsize_t(ptr)
declare void @Py_IncRef(ptr)

define ptr @ordered_sum(ptr %self, ptr %args, i64 %nargs) {{
entry:
  %out = load ptr, ptr %args
  %array_place = getelementptr ptr, ptr %args, i64 1
  %array = load ptr, ptr %array_place
  %divisor_place = getelementptr ptr, ptr %args, i64 2
  %divisor = load ptr, ptr %divisor_place
  %by = call i64 @PyLong_AsSsize_t(ptr %divisor)
  %to_place = getelementptr i8, ptr %out, i64 {data}
  %to = load ptr, ptr %to_place
  %data_place = getelementptr i8, ptr %array, i64 {data}
  %data = load ptr, ptr %data_place
  %rank_place = getelementptr i8, ptr %array, i64 {rank}
  %rank = load i32, ptr %rank_place
  %sizes_place = getelementptr i8, ptr %array, i64 {sizes}
  %sizes = load ptr, ptr %sizes_place
  br label %size
size:
  %d = phi i32 [0, %entry], [%d1, %one]
  %n = phi i64 [1, %entry], [%n1, %one]
  %more = icmp slt i32 %d, %rank
  br i1 %more, label %one, label %sum
one:
  %size_place = getelementptr i64, ptr %sizes, i32 %d
  %size_of = load i64, ptr %size_place
  %n1 = mul i64 %n, %size_of
  %d1 = add i32 %d, 1
  br label %size
sum:
  %total = call {T} @total(ptr %data, i64 %n)
  %denominator = sitofp i64 %by to {T}
  %result = fdiv {T} %total, %denominator
  store {T} %result, ptr %to
  call void @Py_IncRef(ptr @none)
  ret ptr @none
}}
"""


def total_text(single: bool) -> str:
    """`@total(ptr, i64)`, the sum of dense items of float32 (``single``) or float64."""
    kind, lanes, item = ("float", 8, 4) if single else ("double", 4, 8)
    vector, four = f"<{lanes} x {kind}>", f"<{4 * lanes} x {kind}>"
    levels = [_LEVEL.format(j=j, i=j - 1, next=j + 1, mask=15 << 4 * j, V4=four)
              for j in range(1, _LEVELS + 1)]
    parts = []
    for p in range(4):
        picked = ", ".join([f"i32 {p * lanes + lane}" for lane in range(lanes)])
        parts.append(f"  %p{p} = shufflevector {four} %b3, {four} poison, <{lanes} x i32> "
                     f"<{picked}>")
    added = []
    for lane in range(lanes):
        added.append(f"  %e{lane} = extractelement {vector} %q3, i32 {lane}")
        added.append(f"  %l{lane + 1} = fadd {kind} %l{lane}, %e{lane}")
    incoming = ", ".join([f"[%r1, %level{j}]" for j in range(1, _LEVELS + 2)])
    return _TOTAL.format(T=kind, V=vector, V4=four, L=lanes, L4=4 * lanes, A=item,
                         levels="\n".join(levels), parts="\n".join(parts),
                         lanes="\n".join(added), incoming=incoming)


@functools.cache
def ordered_sum(single: bool) -> Callable[[np.ndarray, np.ndarray, int], None] | None:
    """The function for float32 (``single``) or float64; None where it cannot read arrays."""
    if not calls.layout_is_known():
        return None
    entry = _ENTRY.format(T="float" if single else "double", data=calls.HEAD, rank=calls.RANK,
                          sizes=calls.SIZES)
    text = total_text(single) + entry
    return calls.direct_entry(text, "ordered_sum", ("PyLong_AsSsize_t", "Py_IncRef"))
