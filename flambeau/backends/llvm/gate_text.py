"""LLVM text of `step`: checks what a compiled step depends on, then runs its table of kernels.

`step(table, pool, *lives, *arguments)` returns the tuple of the arrays that it made when the step
has run, False where a check inside of it failed, and None, with nothing done, where what the table
says does not hold any more. ``pool`` is the list of arrays that `take_arrays` may use again. The
table's first words, and the instructions of its checks, are those of `compiler.gate`.
"""

from flambeau.backends.llvm.calls import HEAD
from flambeau.backends.llvm.check_text import check_text
from flambeau.backends.llvm.chores import ALONE, TABLE_TEXT

__all__ = ["gate_text"]

_STEP = f"""
define ptr @step(ptr %self, ptr %args, i64 %nargs) {{
entry:
  %table_object = load ptr, ptr %args
  %table_place = getelementptr i8, ptr %table_object, i64 {HEAD}
  %table = load ptr, ptr %table_place
  %wanted_args = load i64, ptr %table
  %h1 = getelementptr i64, ptr %table, i64 1
  %checks_word = load i64, ptr %h1
  %h2 = getelementptr i64, ptr %table, i64 2
  %slots = load i64, ptr %h2
  %h3 = getelementptr i64, ptr %table, i64 3
  %objects_word = load i64, ptr %h3
  %objects = getelementptr i64, ptr %table, i64 %objects_word
  %h4 = getelementptr i64, ptr %table, i64 4
  %arrays_word = load i64, ptr %h4
  %arrays = getelementptr i64, ptr %table, i64 %arrays_word
  %h5 = getelementptr i64, ptr %table, i64 5
  %lives = load i64, ptr %h5
  %h6 = getelementptr i64, ptr %table, i64 6
  %none_word = load ptr, ptr %h6
  %h7 = getelementptr i64, ptr %table, i64 7
  %leaf = load ptr, ptr %h7
  %h8 = getelementptr i64, ptr %table, i64 8
  %off_a = load i64, ptr %h8
  %h9 = getelementptr i64, ptr %table, i64 9
  %off_node = load i64, ptr %h9
  %h10 = getelementptr i64, ptr %table, i64 10
  %off_x = load i64, ptr %h10
  %h11 = getelementptr i64, ptr %table, i64 11
  %off_grad = load i64, ptr %h11
  %h12 = getelementptr i64, ptr %table, i64 12
  %spans_word = load i64, ptr %h12
  %spans = getelementptr i64, ptr %table, i64 %spans_word
  %h13 = getelementptr i64, ptr %table, i64 13
  %run_word = load i64, ptr %h13
  %run = getelementptr i64, ptr %table, i64 %run_word
  %h14 = getelementptr i64, ptr %table, i64 14
  %turn = load i64, ptr %h14
  %h15 = getelementptr i64, ptr %table, i64 15
  %made_word = load i64, ptr %h15
  %made_words = getelementptr i64, ptr %table, i64 %made_word
  %made_count = load i64, ptr %made_words
  %pool_at = getelementptr ptr, ptr %args, i64 1
  %pool = load ptr, ptr %pool_at
  %h16 = getelementptr i64, ptr %table, i64 16
  %false_object = load ptr, ptr %h16
  %checks = getelementptr i64, ptr %table, i64 %checks_word
  %right_args = icmp eq i64 %nargs, %wanted_args
  br i1 %right_args, label %begin_making, label %refuse
begin_making:
  %made = call ptr @take_arrays(ptr %made_words, ptr %pool, i64 %turn)
  %unmade = icmp eq ptr %made, null
  br i1 %unmade, label %fail, label %take
take:
  %f = phi i64 [0, %begin_making], [%f1, %taken]
  %f_more = icmp slt i64 %f, %lives
  br i1 %f_more, label %taken, label %check
taken:
  %f1 = add i64 %f, 1
  %f2 = add i64 %f, 2
  %live_at = getelementptr ptr, ptr %args, i64 %f2
  %live_array = load ptr, ptr %live_at
  %live_slot = add i64 %slots, %f
  %live_place = getelementptr ptr, ptr %arrays, i64 %live_slot
  store ptr %live_array, ptr %live_place
  br label %take

check:
  %w = phi ptr [%checks, %take], [%w_next, %passed]
  %code = load i64, ptr %w
  %length_at = getelementptr i64, ptr %w, i64 1
  %length = load i64, ptr %length_at
  %w_next = getelementptr i64, ptr %w, i64 %length
  %object_at = getelementptr i64, ptr %w, i64 2
  %object = load ptr, ptr %object_at
  %rest = getelementptr i64, ptr %w, i64 3
  switch i64 %code, label %miss [i64 0, label %spread_out
    i64 1, label %items
    i64 2, label %dict
    i64 3, label %list
    i64 4, label %cell
    i64 5, label %attribute
    i64 6, label %argument
    i64 7, label %held
    i64 8, label %grad
    i64 9, label %no_grad
    i64 10, label %size
    i64 11, label %identity
    i64 12, label %some_grad
    i64 13, label %no_hooks
    i64 14, label %word
    i64 15, label %set]
items:
  %items_hold = call i1 @has_items(ptr %object, ptr %rest)
  br i1 %items_hold, label %passed, label %miss
dict:
  %dict_holds = call i1 @is_dict(ptr %object, ptr %rest)
  br i1 %dict_holds, label %passed, label %miss
list:
  %list_holds = call i1 @is_list(ptr %object, ptr %rest)
  br i1 %list_holds, label %passed, label %miss
set:
  %set_holds = call i1 @is_set(ptr %object, ptr %rest)
  br i1 %set_holds, label %passed, label %miss
cell:
  %cell_new = call ptr @PyCell_Get(ptr %object)
  %cell_now = call ptr @borrowed(ptr %cell_new)
  %cell_want = load ptr, ptr %rest
  %cell_same = icmp eq ptr %cell_now, %cell_want
  br i1 %cell_same, label %passed, label %miss
attribute:
  %name = load ptr, ptr %rest
  %attribute_new = call ptr @PyObject_GetAttr(ptr %object, ptr %name)
  %attribute_now = call ptr @borrowed(ptr %attribute_new)
  %attribute_want_at = getelementptr i64, ptr %rest, i64 1
  %attribute_want = load ptr, ptr %attribute_want_at
  %attribute_same = icmp eq ptr %attribute_now, %attribute_want
  br i1 %attribute_same, label %passed, label %miss
word:
  %word_now = load i64, ptr %object
  %word_want = load i64, ptr %rest
  %word_same = icmp eq i64 %word_now, %word_want
  br i1 %word_same, label %passed, label %miss
size:
  %size_now = call i64 @PyDict_Size(ptr %object)
  %size_want = load i64, ptr %rest
  %size_same = icmp eq i64 %size_now, %size_want
  br i1 %size_same, label %passed, label %miss

argument:
  %arg_number = load i64, ptr %object_at
  %arg_base = add i64 %arg_number, 2
  %arg_index = add i64 %arg_base, %lives
  %arg_at = getelementptr ptr, ptr %args, i64 %arg_index
  %arg = load ptr, ptr %arg_at
  br label %tensor
held:
  br label %tensor
grad:
  %of = load i64, ptr %object_at
  %of_at = getelementptr ptr, ptr %objects, i64 %of
  %of_tensor = load ptr, ptr %of_at
  %grad_found = call ptr @fact_of(ptr %of_tensor, i64 %off_x, i64 %off_grad)
  %grad_missing = icmp eq ptr %grad_found, null
  br i1 %grad_missing, label %miss, label %tensor
tensor:
  %t = phi ptr [%arg, %argument], [%object, %held], [%grad_found, %grad]
  %slot = load i64, ptr %rest
  %type_want_at = getelementptr i64, ptr %rest, i64 1
  %type_want = load ptr, ptr %type_want_at
  %node_want_at = getelementptr i64, ptr %rest, i64 2
  %node_want = load i64, ptr %node_want_at
  %like = getelementptr i64, ptr %rest, i64 3
  %type_at = getelementptr i8, ptr %t, i64 {HEAD - 8}
  %type_now = load ptr, ptr %type_at
  %type_same = icmp eq ptr %type_now, %type_want
  br i1 %type_same, label %node, label %miss
node:
  %node_at = getelementptr i8, ptr %t, i64 %off_node
  %node_now = load ptr, ptr %node_at
  %node_none = icmp eq ptr %node_now, @none
  %node_leaf = icmp eq ptr %node_now, %leaf
  %node_or = select i1 %node_leaf, i64 1, i64 2
  %node_kind = select i1 %node_none, i64 0, i64 %node_or
  %node_same = icmp eq i64 %node_kind, %node_want
  br i1 %node_same, label %placed, label %miss
placed:
  %has_slot = icmp sge i64 %slot, 0
  br i1 %has_slot, label %array, label %passed
array:
  %a_at = getelementptr i8, ptr %t, i64 %off_a
  %a = load ptr, ptr %a_at
  %a_fits = call i1 @is_like(ptr %a, ptr %like)
  br i1 %a_fits, label %keep, label %miss
keep:
  %object_slot = getelementptr ptr, ptr %objects, i64 %slot
  store ptr %t, ptr %object_slot
  %array_slot = getelementptr ptr, ptr %arrays, i64 %slot
  store ptr %a, ptr %array_slot
  br label %passed
no_grad:
  %without = load i64, ptr %object_at
  %without_at = getelementptr ptr, ptr %objects, i64 %without
  %without_tensor = load ptr, ptr %without_at
  %there = call ptr @fact_of(ptr %without_tensor, i64 %off_x, i64 %off_grad)
  %absent = icmp eq ptr %there, null
  br i1 %absent, label %passed, label %miss
no_hooks:
  %hooked = load i64, ptr %object_at
  %hooked_at = getelementptr ptr, ptr %objects, i64 %hooked
  %hooked_tensor = load ptr, ptr %hooked_at
  %off_hooks = load i64, ptr %rest
  %hooks = call ptr @fact_of(ptr %hooked_tensor, i64 %off_x, i64 %off_hooks)
  %unhooked = icmp eq ptr %hooks, null
  br i1 %unhooked, label %passed, label %miss
some_grad:
  %with = load i64, ptr %object_at
  %with_at = getelementptr ptr, ptr %objects, i64 %with
  %with_tensor = load ptr, ptr %with_at
  %here = call ptr @fact_of(ptr %with_tensor, i64 %off_x, i64 %off_grad)
  %present = icmp ne ptr %here, null
  br i1 %present, label %passed, label %miss
identity:
  %id_number = load i64, ptr %object_at
  %id_base = add i64 %id_number, 2
  %id_index = add i64 %id_base, %lives
  %id_at = getelementptr ptr, ptr %args, i64 %id_index
  %id_now = load ptr, ptr %id_at
  %id_want = load ptr, ptr %rest
  %id_same = icmp eq ptr %id_now, %id_want
  br i1 %id_same, label %passed, label %miss
passed:
  br label %check

; spans: per slot (bytes, group, is written, where it was)
spread_out:
  %i = phi i64 [0, %check], [%i1, %spread_next]
  %i_more = icmp slt i64 %i, %slots
  br i1 %i_more, label %span, label %settle
span:
  %i4 = mul i64 %i, 4
  %i_words = getelementptr i64, ptr %spans, i64 %i4
  %i_bytes = load i64, ptr %i_words
  %i_group_at = getelementptr i64, ptr %i_words, i64 1
  %i_group = load i64, ptr %i_group_at
  %i_written_at = getelementptr i64, ptr %i_words, i64 2
  %i_written = load i64, ptr %i_written_at
  %i_was_at = getelementptr i64, ptr %i_words, i64 3
  %i_was = load i64, ptr %i_was_at
  %i_array_at = getelementptr ptr, ptr %arrays, i64 %i
  %i_array = load ptr, ptr %i_array_at
  %i_data_at = getelementptr i8, ptr %i_array, i64 {HEAD}
  %i_data = load i64, ptr %i_data_at
  %i_end = add i64 %i_data, %i_bytes
  %i_still = icmp eq i64 %i_data, %i_was
  br i1 %i_still, label %spread_next, label %others
others:
  %j = phi i64 [0, %span], [%j1, %apart]
  %j_more = icmp slt i64 %j, %slots
  br i1 %j_more, label %pair, label %spread_next
pair:
  %j1 = add i64 %j, 1
  %j4 = mul i64 %j, 4
  %j_words = getelementptr i64, ptr %spans, i64 %j4
  %j_bytes = load i64, ptr %j_words
  %j_group_at = getelementptr i64, ptr %j_words, i64 1
  %j_group = load i64, ptr %j_group_at
  %j_written_at = getelementptr i64, ptr %j_words, i64 2
  %j_written = load i64, ptr %j_written_at
  %either = or i64 %i_written, %j_written
  %harmless = icmp eq i64 %either, 0
  %itself = icmp eq i64 %i, %j
  %skip = or i1 %harmless, %itself
  br i1 %skip, label %apart, label %compare
compare:
  %j_array_at = getelementptr ptr, ptr %arrays, i64 %j
  %j_array = load ptr, ptr %j_array_at
  %j_data_at = getelementptr i8, ptr %j_array, i64 {HEAD}
  %j_data = load i64, ptr %j_data_at
  %j_end = add i64 %j_data, %j_bytes
  %one_group = icmp eq i64 %i_group, %j_group
  br i1 %one_group, label %together, label %disjoint
together:
  %one_place = icmp eq i64 %i_data, %j_data
  br i1 %one_place, label %apart, label %miss
disjoint:
  %below = icmp sle i64 %i_end, %j_data
  %above = icmp sle i64 %j_end, %i_data
  %free = or i1 %below, %above
  br i1 %free, label %apart, label %miss
apart:
  br label %others
spread_next:
  %i1 = add i64 %i, 1
  br label %spread_out
settle:
  %s = phi i64 [0, %spread_out], [%s1, %settled]
  %s_more = icmp slt i64 %s, %slots
  br i1 %s_more, label %settled, label %enlist
settled:
  %s_array_at = getelementptr ptr, ptr %arrays, i64 %s
  %s_array = load ptr, ptr %s_array_at
  %s_data_at = getelementptr i8, ptr %s_array, i64 {HEAD}
  %s_data = load i64, ptr %s_data_at
  %s4 = mul i64 %s, 4
  %s3 = add i64 %s4, 3
  %s_was_at = getelementptr i64, ptr %spans, i64 %s3
  store i64 %s_data, ptr %s_was_at
  %s1 = add i64 %s, 1
  br label %settle

enlist:
  %n = phi i64 [0, %settle], [%n1, %enlisted]
  %n_more = icmp slt i64 %n, %made_count
  br i1 %n_more, label %enlisted, label %patch
enlisted:
  %made_array = call ptr @PyTuple_GetItem(ptr %made, i64 %n)
  %after_lives = add i64 %slots, %lives
  %made_slot = add i64 %after_lives, %n
  %made_place = getelementptr ptr, ptr %arrays, i64 %made_slot
  store ptr %made_array, ptr %made_place
  %n1 = add i64 %n, 1
  br label %enlist
patch:
  call void @patch_table(ptr %run, ptr %arrays)
  %alone_at = getelementptr i64, ptr %run, i64 {ALONE}
  %alone = load i64, ptr %alone_at
  br label %begin

; other threads may run meanwhile: nobody may free the arrays
begin:
  %releases = icmp ne i64 %alone, 0
  br i1 %releases, label %hold, label %locked
hold:
  %k = phi i64 [0, %begin], [%k1, %holding]
  %k_more = icmp slt i64 %k, %slots
  br i1 %k_more, label %holding, label %release
holding:
  %k_at = getelementptr ptr, ptr %arrays, i64 %k
  %k_array = load ptr, ptr %k_at
  call void @Py_IncRef(ptr %k_array)
  %k1 = add i64 %k, 1
  br label %hold
release:
  %state = call ptr @PyEval_SaveThread()
  %good_released = call i1 @run_entries(ptr %run)
  call void @PyEval_RestoreThread(ptr %state)
  br label %drop
locked:
  %good_locked = call i1 @run_entries(ptr %run)
  br label %ran
drop:
  %q = phi i64 [0, %release], [%q1, %dropping]
  %q_more = icmp slt i64 %q, %slots
  br i1 %q_more, label %dropping, label %ran
dropping:
  %q_at = getelementptr ptr, ptr %arrays, i64 %q
  %q_array = load ptr, ptr %q_at
  call void @Py_DecRef(ptr %q_array)
  %q1 = add i64 %q, 1
  br label %drop
ran:
  %good = phi i1 [%good_locked, %locked], [%good_released, %drop]
  %runs1 = add i64 %turn, 1
  store i64 %runs1, ptr %h14
  br i1 %good, label %give, label %off
give:
  ret ptr %made
off:
  call void @Py_DecRef(ptr %made)
  call void @Py_IncRef(ptr %false_object)
  ret ptr %false_object
miss:
  call void @Py_DecRef(ptr %made)
  br label %refuse
refuse:
  call void @Py_IncRef(ptr %none_word)
  ret ptr %none_word
fail:
  ret ptr null
}}
"""


def gate_text() -> str:
    """The module of `step`."""
    return TABLE_TEXT + check_text() + _STEP
