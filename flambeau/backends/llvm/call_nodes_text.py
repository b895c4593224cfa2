"""LLVM text of `note`, which records an operator of a quick call as the plan of the call says."""

from __future__ import annotations

from collections.abc import Mapping

from flambeau.backends.llvm.object_text import placed
from flambeau.backends.llvm.replay_text import PLACES

__all__ = ["NODE_WORDS", "SAVED_WORDS", "call_nodes_text"]

# The class; how many edges, and the numbers of the tensors that they lead to, -1 for none; how
# many values are saved, and where they are described; how many outputs, each described by the
# number of the result, its shape and dtype as a pair, and whether it is differentiable; whether
# there are several; whether the result is saved; shape and dtype.
NODE_WORDS = 11
# How (0: an object, 1: a tensor, 2: a result's array, 3: those of all results from one on), which,
# and how many.
SAVED_WORDS = 3

_NODES = """
define internal ptr @edges_of(ptr %node_at, ptr %tensors) {
entry:
  %n = call i64 @word(ptr %node_at, i64 1)
  %edges = call ptr @item(ptr %node_at, i64 2)
  %all = call ptr @PyTuple_New(i64 %n)
  %failed = icmp eq ptr %all, null
  br i1 %failed, label %error, label %next
next:
  %i = phi i64 [0, %entry], [%i1, %put]
  %more = icmp slt i64 %i, %n
  br i1 %more, label %one, label %done
one:
  %i1 = add i64 %i, 1
  %which = call i64 @word(ptr %edges, i64 %i)
  %nowhere = icmp slt i64 %which, 0
  br i1 %nowhere, label %put, label %lead
lead:
  %t = call ptr @item(ptr %tensors, i64 %which)
  %node = call ptr @slot(ptr %t, i64 {NODE})
  %is_leaf = icmp eq ptr %node, @leaf
  %there = select i1 %is_leaf, ptr %t, ptr %node
  br label %put
put:
  %to = phi ptr [@none, %one], [%there, %lead]
  call void @Py_IncRef(ptr %to)
  %set = call i32 @PyTuple_SetItem(ptr %all, i64 %i, ptr %to)
  br label %next
done:
  ret ptr %all
error:
  ret ptr null
}
; The arrays of `n` results from `first` on, as a tuple; null without memory.
define internal ptr @arrays_of(ptr %all, i64 %first, i64 %n) {
entry:
  %some = call ptr @PyTuple_New(i64 %n)
  %failed = icmp eq ptr %some, null
  br i1 %failed, label %error, label %next
next:
  %i = phi i64 [0, %entry], [%i1, %one]
  %more = icmp slt i64 %i, %n
  br i1 %more, label %one, label %done
one:
  %i1 = add i64 %i, 1
  %from = add i64 %first, %i
  %array = call ptr @PyTuple_GetItem(ptr %all, i64 %from)
  call void @Py_IncRef(ptr %array)
  %set = call i32 @PyTuple_SetItem(ptr %some, i64 %i, ptr %array)
  br label %next
done:
  ret ptr %some
error:
  ret ptr null
}
; The number of changes of a tensor's memory: borrowed.
define internal ptr @changes_of(ptr %t) {
entry:
  %v = call ptr @slot(ptr %t, i64 {V})
  %none = icmp eq ptr %v, @none
  br i1 %none, label %zero, label %counted
counted:
  %n = call ptr @PyList_GetItem(ptr %v, i64 0)
  ret ptr %n
zero:
  ret ptr @zero
}
; What is saved, as a tuple; null with an error set. Into `versions` goes the number of changes of
; each tensor that was changed.
define internal ptr @kept_by(ptr %node_at, ptr %tensors, ptr %all, ptr %versions) {
entry:
  %n = call i64 @word(ptr %node_at, i64 3)
  %described = call ptr @item(ptr %node_at, i64 4)
  %saved = call ptr @PyTuple_New(i64 %n)
  %failed = icmp eq ptr %saved, null
  br i1 %failed, label %error, label %next
next:
  %i = phi i64 [0, %entry], [%i1, %store]
  %more = icmp slt i64 %i, %n
  br i1 %more, label %one, label %done
one:
  %i1 = add i64 %i, 1
  %from = mul i64 %i, {SAVED_WORDS}
  %at = getelementptr i64, ptr %described, i64 %from
  %how = load i64, ptr %at
  %which = call i64 @word(ptr %at, i64 1)
  %version_at = getelementptr ptr, ptr %versions, i64 %i
  store ptr @zero, ptr %version_at
  switch i64 %how, label %object [i64 1, label %tensor i64 2, label %array i64 3, label %arrays]
object:
  %constant = call ptr @item(ptr %at, i64 1)
  call void @Py_IncRef(ptr %constant)
  br label %store
tensor:
  %t = call ptr @item(ptr %tensors, i64 %which)
  %changes = call ptr @changes_of(ptr %t)
  store ptr %changes, ptr %version_at
  call void @Py_IncRef(ptr %t)
  br label %store
array:
  %result = call ptr @PyTuple_GetItem(ptr %all, i64 %which)
  call void @Py_IncRef(ptr %result)
  br label %store
arrays:
  %count = call i64 @word(ptr %at, i64 2)
  %results = call ptr @arrays_of(ptr %all, i64 %which, i64 %count)
  %no_results = icmp eq ptr %results, null
  br i1 %no_results, label %drop, label %store
store:
  %value = phi ptr [%constant, %object], [%t, %tensor], [%result, %array], [%results, %arrays]
  %set = call i32 @PyTuple_SetItem(ptr %saved, i64 %i, ptr %value)
  br label %next
done:
  ret ptr %saved
drop:
  call void @Py_DecRef(ptr %saved)
  br label %error
error:
  ret ptr null
}
; Notes on a node how often what it saved was changed, where anything was; -1 with an error set.
define internal i32 @note_versions(ptr %node, ptr %versions, i64 %n) {
entry:
  br label %look
look:
  %k = phi i64 [0, %entry], [%k1, %ask]
  %any = icmp slt i64 %k, %n
  br i1 %any, label %ask, label %unchanged
ask:
  %k1 = add i64 %k, 1
  %at_k = call ptr @item(ptr %versions, i64 %k)
  %same = icmp eq ptr %at_k, @zero
  br i1 %same, label %look, label %make
unchanged:
  ret i32 0
make:
  %all = call ptr @PyTuple_New(i64 %n)
  %failed = icmp eq ptr %all, null
  br i1 %failed, label %error, label %next
next:
  %i = phi i64 [0, %make], [%i1, %one]
  %more = icmp slt i64 %i, %n
  br i1 %more, label %one, label %done
one:
  %i1 = add i64 %i, 1
  %version = call ptr @item(ptr %versions, i64 %i)
  call void @Py_IncRef(ptr %version)
  %put = call i32 @PyTuple_SetItem(ptr %all, i64 %i, ptr %version)
  br label %next
done:
  %answer = call i32 @set(ptr %node, ptr @versions, ptr %all)
  ret i32 %answer
error:
  ret i32 -1
}
; Makes a tensor lead to the node; it had no history. Takes the reference to what it leads to.
define internal void @lead_to(ptr %t, ptr %there) {
  call void @give(ptr %t, i64 {NODE}, ptr %there)
  call void @Py_DecRef(ptr @none)
  ret void
}
; Lists the outputs of a node that has several, whose results are led to it; -1 with an error set.
define internal i32 @note_outputs(ptr %node, ptr %node_at, ptr %results) {
entry:
  %n = call i64 @word(ptr %node_at, i64 5)
  %described = call ptr @item(ptr %node_at, i64 6)
  %list = call ptr @PyList_New(i64 %n)
  %failed = icmp eq ptr %list, null
  br i1 %failed, label %error, label %next
next:
  %i = phi i64 [0, %entry], [%i1, %one], [%i1, %numbered]
  %more = icmp slt i64 %i, %n
  br i1 %more, label %one, label %done
one:
  %i1 = add i64 %i, 1
  %from = mul i64 %i, 3
  %at = getelementptr i64, ptr %described, i64 %from
  %which = load i64, ptr %at
  %pair = call ptr @item(ptr %at, i64 1)
  call void @Py_IncRef(ptr %pair)
  %listed = call i32 @PyList_SetItem(ptr %list, i64 %i, ptr %pair)
  %whether = call i64 @word(ptr %at, i64 2)
  %leads = icmp ne i64 %whether, 0
  br i1 %leads, label %output, label %next
output:
  %o = call ptr @new(ptr @Output)
  %no_output = icmp eq ptr %o, null
  br i1 %no_output, label %drop, label %numbered
numbered:
  call void @put(ptr %o, i64 {OUTPUT}, ptr %node)
  %nr = call ptr @PyLong_FromSsize_t(i64 %i)
  call void @give(ptr %o, i64 {NR}, ptr %nr)
  %t = call ptr @item(ptr %results, i64 %which)
  call void @lead_to(ptr %t, ptr %o)
  br label %next
done:
  %answer = call i32 @set(ptr %node, ptr @outputs, ptr %list)
  ret i32 %answer
drop:
  call void @Py_DecRef(ptr %list)
  br label %error
error:
  ret i32 -1
}
; Notes shape and dtype of the one output, and that it is saved; -1 with an error set.
define internal i32 @note_output(ptr %node, ptr %node_at, ptr %results) {
entry:
  %described = call ptr @item(ptr %node_at, i64 6)
  %which = load i64, ptr %described
  %t = call ptr @item(ptr %results, i64 %which)
  %sizes = call ptr @item(ptr %node_at, i64 9)
  %dtype = call ptr @item(ptr %node_at, i64 10)
  %set1 = call i32 @PyObject_SetAttr(ptr %node, ptr @shape, ptr %sizes)
  %set2 = call i32 @PyObject_SetAttr(ptr %node, ptr @dtype, ptr %dtype)
  %either = or i32 %set1, %set2
  %failed = icmp ne i32 %either, 0
  br i1 %failed, label %error, label %saved
saved:
  %whether = call i64 @word(ptr %node_at, i64 8)
  %saves = icmp ne i64 %whether, 0
  br i1 %saves, label %count, label %lead
count:
  %v = call ptr @counter_of(ptr %t)
  %no_v = icmp eq ptr %v, null
  br i1 %no_v, label %error, label %keep
keep:
  %set3 = call i32 @PyObject_SetAttr(ptr %node, ptr @out_version, ptr %v)
  %lost = icmp ne i32 %set3, 0
  br i1 %lost, label %error, label %lead
lead:
  call void @Py_IncRef(ptr %node)
  call void @lead_to(ptr %t, ptr %node)
  ret i32 0
error:
  ret i32 -1
}
; Records one operator; -1 with an error set.
define internal i32 @note(ptr %node_at, ptr %tensors, ptr %results, ptr %all) {
entry:
  %versions = alloca [{PLACES} x ptr]
  %type = load ptr, ptr %node_at
  %node = call ptr @new(ptr %type)
  %no_node = icmp eq ptr %node, null
  br i1 %no_node, label %error, label %fill
fill:
  %edges = call ptr @edges_of(ptr %node_at, ptr %tensors)
  %set1 = call i32 @set(ptr %node, ptr @next, ptr %edges)
  %number = call ptr @PyIter_Next(ptr @sequence)
  %set2 = call i32 @set(ptr %node, ptr @seq, ptr %number)
  %either = or i32 %set1, %set2
  %failed = icmp ne i32 %either, 0
  br i1 %failed, label %drop, label %saving
saving:
  %count = call i64 @word(ptr %node_at, i64 3)
  %none = icmp eq i64 %count, 0
  br i1 %none, label %output, label %save
save:
  %saved = call ptr @kept_by(ptr %node_at, ptr %tensors, ptr %all, ptr %versions)
  %set3 = call i32 @set(ptr %node, ptr @saved, ptr %saved)
  %set4 = call i32 @note_versions(ptr %node, ptr %versions, i64 %count)
  %wrong = or i32 %set3, %set4
  %unsaved = icmp ne i32 %wrong, 0
  br i1 %unsaved, label %drop, label %output
output:
  %several = call i64 @word(ptr %node_at, i64 7)
  %is_one = icmp eq i64 %several, 0
  br i1 %is_one, label %single, label %multiple
single:
  %noted = call i32 @note_output(ptr %node, ptr %node_at, ptr %results)
  br label %end
multiple:
  %listed = call i32 @note_outputs(ptr %node, ptr %node_at, ptr %results)
  br label %end
end:
  %answer = phi i32 [%noted, %single], [%listed, %multiple]
  call void @Py_DecRef(ptr %node)
  ret i32 %answer
drop:
  call void @Py_DecRef(ptr %node)
  br label %error
error:
  ret i32 -1
}
"""


def call_nodes_text(places: Mapping[str, int]) -> str:
    """The functions that record, which stand on those of `view_text`."""
    return placed(_NODES, {"SAVED_WORDS": SAVED_WORDS, "PLACES": PLACES, **places})
