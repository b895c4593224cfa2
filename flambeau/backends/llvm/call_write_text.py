"""LLVM text of `quick_write`: a change of a tensor in place as one call.

`quick_write(state, args, kwargs)` computes as `quick_call_by_name` and writes the result into the
first argument, which it gives. None, with nothing changed, where there is no plan, a history is to
be kept, or the tensor is a view, has facts of its own, or may not be written into.
"""

from __future__ import annotations

from collections.abc import Mapping

from flambeau.backends.llvm.calls import NEEDED_FLAGS
from flambeau.backends.llvm.object_text import placed

__all__ = ["write_text"]

# As an NPY_ARRAY_ flag; and the word of a plan that has the result's bytes.
WRITEABLE = 0x0400
BYTES_WORD = 11

_WRITE = """
declare void @llvm.memmove.p0.p0.i64(ptr, ptr, i64, i1)

; Whether a tensor may be written into, and nothing else than its counter of changes is to follow.
define internal i1 @is_open(ptr %t) {
entry:
  %plain = call i1 @is_plain_tensor(ptr %t)
  br i1 %plain, label %facts, label %no
facts:
  %node = call ptr @slot(ptr %t, i64 {NODE})
  %x = call ptr @slot(ptr %t, i64 {X})
  %no_node = icmp eq ptr %node, @none
  %no_x = icmp eq ptr %x, @none
  %alone = and i1 %no_node, %no_x
  br i1 %alone, label %counter, label %no
counter:
  %v = call ptr @slot(ptr %t, i64 {V})
  %uncounted = icmp eq ptr %v, @none
  %type = call ptr @type_of(ptr %v)
  %counted = icmp eq ptr %type, @list
  %countable = or i1 %uncounted, %counted
  br i1 %countable, label %array, label %no
array:
  %a = call ptr @slot(ptr %t, i64 {A})
  %open = call i1 @has_flags(ptr %a, i32 {OPEN})
  ret i1 %open
no:
  ret i1 false
}
; Counts a change: 0, or -1 with an error set.
define internal i32 @count_change(ptr %t) {
entry:
  %v = call ptr @slot(ptr %t, i64 {V})
  %uncounted = icmp eq ptr %v, @none
  br i1 %uncounted, label %first, label %again
first:
  %list = call ptr @PyList_New(i64 1)
  %no_list = icmp eq ptr %list, null
  br i1 %no_list, label %error, label %one
one:
  call void @give(ptr %t, i64 {V}, ptr %list)
  call void @Py_DecRef(ptr @none)
  br label %store
again:
  %old = call ptr @PyList_GetItem(ptr %v, i64 0)
  %before = call i64 @PyLong_AsSsize_t(ptr %old)
  br label %store
store:
  %into = phi ptr [%list, %one], [%v, %again]
  %count = phi i64 [0, %one], [%before, %again]
  %count1 = add i64 %count, 1
  %number = call ptr @PyLong_FromSsize_t(i64 %count1)
  %no_number = icmp eq ptr %number, null
  br i1 %no_number, label %error, label %set
set:
  %answer = call i32 @PyList_SetItem(ptr %into, i64 0, ptr %number)
  ret i32 %answer
error:
  ret i32 -1
}
define ptr @quick_write(ptr %self, ptr %args, i64 %nargs) {
entry:
  %used = alloca ptr
  %given = call ptr @item(ptr %args, i64 1)
  %n = call i64 @PyTuple_Size(ptr %given)
  %some = icmp sgt i64 %n, 0
  br i1 %some, label %first, label %refuse
first:
  %items = getelementptr i8, ptr %given, i64 {TUPLE_ITEMS}
  %t = load ptr, ptr %items
  %open = call i1 @is_open(ptr %t)
  br i1 %open, label %call, label %refuse
call:
  %found = call ptr @called_by_name(ptr %args, ptr %used)
  %failed = icmp eq ptr %found, null
  %refused = icmp eq ptr %found, @none
  %over = or i1 %failed, %refused
  br i1 %over, label %hand_on, label %look
hand_on:
  ret ptr %found
look:
  %node = call ptr @slot(ptr %found, i64 {NODE})
  %unrecorded = icmp eq ptr %node, @none
  br i1 %unrecorded, label %write, label %drop
write:
  %a = call ptr @slot(ptr %t, i64 {A})
  %to = call ptr @slot(ptr %a, i64 {HEAD})
  %r = call ptr @slot(ptr %found, i64 {A})
  %from = call ptr @slot(ptr %r, i64 {HEAD})
  %plan = load ptr, ptr %used
  %bytes = call i64 @word(ptr %plan, i64 {BYTES_WORD})
  call void @llvm.memmove.p0.p0.i64(ptr %to, ptr %from, i64 %bytes, i1 false)
  call void @Py_DecRef(ptr %found)
  %counted = call i32 @count_change(ptr %t)
  %uncounted = icmp slt i32 %counted, 0
  br i1 %uncounted, label %error, label %done
done:
  call void @Py_IncRef(ptr %t)
  ret ptr %t
drop:
  call void @Py_DecRef(ptr %found)
  br label %refuse
refuse:
  call void @Py_IncRef(ptr @none)
  ret ptr @none
error:
  ret ptr null
}
"""


def write_text(places: Mapping[str, int]) -> str:
    """The functions, given offsets as `view_text` takes them, and TUPLE_ITEMS."""
    return placed(_WRITE, {"OPEN": WRITEABLE | NEEDED_FLAGS, "BYTES_WORD": BYTES_WORD, **places})
