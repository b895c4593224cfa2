"""LLVM text of `quick_call`: a function of tensors as one call, where its plan is known.

`quick_call(state, *args)` and `quick_call_by_name(state, args, kwargs)` give what the function
gives, by the first of the plans in `state[0]` that is for arguments such as these; None where there
is none. `quick_write(state, args, kwargs)` writes that into the first of the arguments
(`call_write_text`). A plan is an array of int64: PLAN_WORDS words, which refer to further ones. It
says what the arguments must be, which loops compute the results (`replay_text`), and which nodes
record them. `flambeau.core.call_plan` writes it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from flambeau.backends.llvm.call_nodes_text import NODE_WORDS, call_nodes_text
from flambeau.backends.llvm.call_write_text import write_text
from flambeau.backends.llvm.object_text import placed
from flambeau.backends.llvm.replay_text import PLACES, steps_text
from flambeau.backends.llvm.view_text import view_text

__all__ = ["EXPORTS", "FLOAT", "FUNCTIONS", "INT", "PLAN_WORDS", "SAME", "SEQUENCE",
           "TENSOR", "call_text"]

EXPORTS = ("quick_call", "quick_call_by_name", "quick_write")
# Of Python's own, beside those of `object_text`.
FUNCTIONS = ("PyDict_Size",)
# How many arguments come by place, and by name; where they are described; what recording must be
# (0: anything, 1: on, 2: off); how often the plan was used; the plan of `replay_text`; how many
# nodes, and where they are described; the class of what is returned (0: one tensor), how many
# tensors are in it, and where their numbers are; the bytes of the first of them.
PLAN_WORDS = 12
# What an argument is. TENSOR: its dtype, how many sizes, the address of sizes and strides, whether
# it has a history, its class.
# SAME: the object. FLOAT: its bits. INT: its value. SEQUENCE: its class, whether that is list, how
# many items, which follow.
TENSOR, SAME, FLOAT, INT, SEQUENCE = range(5)
_MATCH = """
define internal i1 @same_words(ptr %a, ptr %b, i64 %n) {
entry:
  br label %next
next:
  %i = phi i64 [0, %entry], [%i1, %one]
  %more = icmp slt i64 %i, %n
  br i1 %more, label %one, label %yes
one:
  %x = call i64 @word(ptr %a, i64 %i)
  %y = call i64 @word(ptr %b, i64 %i)
  %i1 = add i64 %i, 1
  %same = icmp eq i64 %x, %y
  br i1 %same, label %next, label %no
yes:
  ret i1 true
no:
  ret i1 false
}
define internal i64 @fits_tensor(ptr %item, ptr %at, ptr %taken) {
entry:
  %plain = call i1 @is_plain_tensor(ptr %item)
  br i1 %plain, label %array, label %no
array:
  %own = call ptr @slot(ptr %item, i64 {A})
  %described = getelementptr i64, ptr %at, i64 1
  %such = call i1 @is_such(ptr %own, ptr %described)
  br i1 %such, label %strides, label %no
strides:
  ; those of dimensions of one element may differ, and results take after them
  %rank = call i64 @rank_of(ptr %own)
  %have_strides = call ptr @slot(ptr %own, i64 {STRIDES})
  %sizes = call ptr @item(ptr %at, i64 3)
  %want_strides = getelementptr i64, ptr %sizes, i64 %rank
  %lies_so = call i1 @same_words(ptr %have_strides, ptr %want_strides, i64 %rank)
  br i1 %lies_so, label %history, label %no
history:
  %node = call ptr @slot(ptr %item, i64 {NODE})
  %has = icmp ne ptr %node, @none
  %have = zext i1 %has to i64
  %want = call i64 @word(ptr %at, i64 4)
  %same = icmp eq i64 %have, %want
  %type = call ptr @type_of(ptr %item)
  %class = call ptr @item(ptr %at, i64 5)
  %as_such = icmp eq ptr %type, %class
  %alike = and i1 %same, %as_such
  br i1 %alike, label %take, label %no
take:
  %k = load i64, ptr %taken
  %k1 = add i64 %k, 1
  store i64 %k1, ptr %taken
  %tensor_at = getelementptr ptr, ptr %taken, i64 %k1
  store ptr %item, ptr %tensor_at
  %beyond = add i64 %k1, {PLACES}
  %place = getelementptr ptr, ptr %taken, i64 %beyond
  %data = call ptr @slot(ptr %own, i64 {HEAD})
  store ptr %data, ptr %place
  ret i64 6
no:
  ret i64 0
}
define internal i64 @fits_sequence(ptr %item, ptr %at, ptr %taken) {
entry:
  %type = call ptr @type_of(ptr %item)
  %wanted = call ptr @item(ptr %at, i64 1)
  %same = icmp eq ptr %type, %wanted
  br i1 %same, label %count, label %no
count:
  %kind = call i64 @word(ptr %at, i64 2)
  %is_list = icmp ne i64 %kind, 0
  br i1 %is_list, label %listed, label %fixed
listed:
  %n_list = call i64 @PyList_Size(ptr %item)
  br label %compare
fixed:
  %n_tuple = call i64 @PyTuple_Size(ptr %item)
  br label %compare
compare:
  %n = phi i64 [%n_list, %listed], [%n_tuple, %fixed]
  %m = call i64 @word(ptr %at, i64 3)
  %as_many = icmp eq i64 %n, %m
  br i1 %as_many, label %next, label %no
next:
  %i = phi i64 [0, %compare], [%i1, %accept]
  %used = phi i64 [4, %compare], [%used1, %accept]
  %more = icmp slt i64 %i, %n
  br i1 %more, label %one, label %done
one:
  %i1 = add i64 %i, 1
  br i1 %is_list, label %of_list, label %of_tuple
of_list:
  %list_item = call ptr @PyList_GetItem(ptr %item, i64 %i)
  br label %look
of_tuple:
  %tuple_item = call ptr @PyTuple_GetItem(ptr %item, i64 %i)
  br label %look
look:
  %each = phi ptr [%list_item, %of_list], [%tuple_item, %of_tuple]
  %from = getelementptr i64, ptr %at, i64 %used
  %words = call i64 @fits(ptr %each, ptr %from, ptr %taken)
  %bad = icmp eq i64 %words, 0
  br i1 %bad, label %no, label %accept
accept:
  %used1 = add i64 %used, %words
  br label %next
done:
  ret i64 %used
no:
  ret i64 0
}
; How many words describe an argument that is as they say; 0 where it is not. Tensors go to `taken`.
define internal i64 @fits(ptr %item, ptr %at, ptr %taken) {
entry:
  %kind = load i64, ptr %at
  %type = call ptr @type_of(ptr %item)
  switch i64 %kind, label %same [i64 {TENSOR}, label %tensor i64 {FLOAT}, label %float
                                 i64 {INT}, label %int i64 {SEQUENCE}, label %sequence]
tensor:
  %of_tensor = call i64 @fits_tensor(ptr %item, ptr %at, ptr %taken)
  ret i64 %of_tensor
sequence:
  %of_sequence = call i64 @fits_sequence(ptr %item, ptr %at, ptr %taken)
  ret i64 %of_sequence
same:
  %object = call ptr @item(ptr %at, i64 1)
  %is_same = icmp eq ptr %object, %item
  br i1 %is_same, label %yes, label %no
float:
  %is_float = icmp eq ptr %type, @float
  br i1 %is_float, label %bits, label %no
bits:
  %have = call ptr @slot(ptr %item, i64 {HEAD})
  %want = call ptr @item(ptr %at, i64 1)
  %same_bits = icmp eq ptr %have, %want
  br i1 %same_bits, label %yes, label %no
int:
  %is_int = icmp eq ptr %type, @int
  br i1 %is_int, label %value, label %no
value:
  %n = call i64 @PyLong_AsSsize_t(ptr %item)
  %m = call i64 @word(ptr %at, i64 1)
  %same_value = icmp eq i64 %n, %m
  %doubtful = icmp eq i64 %n, -1
  br i1 %doubtful, label %doubt, label %told
told:
  br i1 %same_value, label %yes, label %no
doubt:
  %error = call ptr @PyErr_Occurred()
  %clean = icmp eq ptr %error, null
  br i1 %clean, label %told, label %forget
forget:
  call void @PyErr_Clear()
  br label %no
yes:
  ret i64 2
no:
  ret i64 0
}
define internal i1 @suits(ptr %plan, ptr %items, i64 %n, ptr %named, ptr %taken) {
entry:
  store i64 0, ptr %taken
  %by_place = load i64, ptr %plan
  %by_name = call i64 @word(ptr %plan, i64 1)
  %start = call ptr @item(ptr %plan, i64 2)
  %as_many = icmp eq i64 %by_place, %n
  br i1 %as_many, label %names, label %no
names:
  %unnamed = icmp eq ptr %named, null
  br i1 %unnamed, label %count, label %sized
sized:
  %size = call i64 @PyDict_Size(ptr %named)
  br label %count
count:
  %given = phi i64 [0, %names], [%size, %sized]
  %as_many_names = icmp eq i64 %given, %by_name
  br i1 %as_many_names, label %next, label %no
next:
  %i = phi i64 [0, %count], [%i1, %accept]
  %at = phi ptr [%start, %count], [%at1, %accept]
  %more = icmp slt i64 %i, %n
  br i1 %more, label %one, label %next_name
one:
  %i1 = add i64 %i, 1
  %item = call ptr @item(ptr %items, i64 %i)
  %words = call i64 @fits(ptr %item, ptr %at, ptr %taken)
  %bad = icmp eq i64 %words, 0
  br i1 %bad, label %no, label %accept
accept:
  %at1 = getelementptr i64, ptr %at, i64 %words
  br label %next
next_name:
  %j = phi i64 [0, %next], [%j1, %accept_name]
  %to = phi ptr [%at, %next], [%to1, %accept_name]
  %more_names = icmp slt i64 %j, %by_name
  br i1 %more_names, label %one_name, label %yes
one_name:
  %j1 = add i64 %j, 1
  %name = load ptr, ptr %to
  %value = call ptr @PyDict_GetItem(ptr %named, ptr %name)
  %absent = icmp eq ptr %value, null
  br i1 %absent, label %no, label %look
look:
  %from = getelementptr i64, ptr %to, i64 1
  %used = call i64 @fits(ptr %value, ptr %from, ptr %taken)
  %wrong = icmp eq i64 %used, 0
  br i1 %wrong, label %no, label %accept_name
accept_name:
  %to1 = getelementptr i64, ptr %from, i64 %used
  br label %next_name
yes:
  ret i1 true
no:
  ret i1 false
}
; Whether this thread records as the plan supposes: 1 or 0; -1 with an error set.
define internal i32 @is_in_mode(ptr %plan) {
entry:
  %mode = call i64 @word(ptr %plan, i64 3)
  %any = icmp eq i64 %mode, 0
  br i1 %any, label %yes, label %ask
ask:
  %grad = call i32 @attribute_is(ptr @modes, ptr @grad, ptr @true)
  %unknown = icmp slt i32 %grad, 0
  br i1 %unknown, label %error, label %compare
compare:
  %on = icmp eq i32 %grad, 1
  %wanted = icmp eq i64 %mode, 1
  %alike = icmp eq i1 %on, %wanted
  br i1 %alike, label %more, label %no
more:
  br i1 %on, label %hooks, label %yes
hooks:
  %count = call i64 @PyList_Size(ptr @saved_hooks)
  %hooked = icmp ne i64 %count, 0
  br i1 %hooked, label %no, label %watched
watched:
  %quiet = call i32 @attribute_is(ptr @modes, ptr @anomaly, ptr @false)
  ret i32 %quiet
yes:
  ret i32 1
no:
  ret i32 0
error:
  ret i32 -1
}
"""

_CALL = """
declare i64 @PyDict_Size(ptr)
declare ptr @tuple_new(ptr, ptr, ptr)

; A tensor over an array, without a history; null without memory.
define internal ptr @tensor_over(ptr %array) {
entry:
  %t = call ptr @new(ptr @Tensor)
  %failed = icmp eq ptr %t, null
  br i1 %failed, label %error, label %fill
fill:
  call void @put(ptr %t, i64 {A}, ptr %array)
  call void @put(ptr %t, i64 {NODE}, ptr @none)
  call void @put(ptr %t, i64 {V}, ptr @none)
  call void @put(ptr %t, i64 {X}, ptr @none)
  ret ptr %t
error:
  ret ptr null
}
; Some of the results as a tuple, or as a class of tuples; null with an error set.
define internal ptr @packed(ptr %plan, ptr %results) {
entry:
  %class = call ptr @item(ptr %plan, i64 8)
  %n = call i64 @word(ptr %plan, i64 9)
  %which = call ptr @item(ptr %plan, i64 10)
  %all = call ptr @PyTuple_New(i64 %n)
  %failed = icmp eq ptr %all, null
  br i1 %failed, label %error, label %next
next:
  %i = phi i64 [0, %entry], [%i1, %one]
  %more = icmp slt i64 %i, %n
  br i1 %more, label %one, label %done
one:
  %i1 = add i64 %i, 1
  %k = call i64 @word(ptr %which, i64 %i)
  %t = call ptr @item(ptr %results, i64 %k)
  call void @Py_IncRef(ptr %t)
  %set = call i32 @PyTuple_SetItem(ptr %all, i64 %i, ptr %t)
  br label %next
done:
  %plain = icmp eq ptr %class, @tuple_type
  br i1 %plain, label %give, label %derive
give:
  ret ptr %all
derive:
  %args = call ptr @tuple(ptr %all, ptr null)
  call void @Py_DecRef(ptr %all)
  %no_args = icmp eq ptr %args, null
  br i1 %no_args, label %error, label %make
make:
  %made = call ptr @tuple_new(ptr %class, ptr %args, ptr null)
  call void @Py_DecRef(ptr %args)
  ret ptr %made
error:
  ret ptr null
}
; What is returned of the results; null with an error set.
define internal ptr @returned(ptr %plan, ptr %results) {
entry:
  %class = call ptr @item(ptr %plan, i64 8)
  %bare = icmp eq ptr %class, null
  br i1 %bare, label %single, label %several
single:
  %which = call ptr @item(ptr %plan, i64 10)
  %k = load i64, ptr %which
  %t = call ptr @item(ptr %results, i64 %k)
  call void @Py_IncRef(ptr %t)
  ret ptr %t
several:
  %tuple = call ptr @packed(ptr %plan, ptr %results)
  ret ptr %tuple
}
; Wraps arrays, records what gave them, and returns what the function does; null with an error set.
define internal ptr @finished(ptr %plan, ptr %taken, ptr %all) {
entry:
  %count = load i64, ptr %taken
  %tensors = getelementptr ptr, ptr %taken, i64 1
  %results = getelementptr ptr, ptr %tensors, i64 %count
  %n = call i64 @PyTuple_Size(ptr %all)
  %nodes = call i64 @word(ptr %plan, i64 6)
  %described = call ptr @item(ptr %plan, i64 7)
  br label %next
next:
  %i = phi i64 [0, %entry], [%i1, %put]
  %more = icmp slt i64 %i, %n
  br i1 %more, label %one, label %next_node
one:
  %i1 = add i64 %i, 1
  %array = call ptr @PyTuple_GetItem(ptr %all, i64 %i)
  %t = call ptr @tensor_over(ptr %array)
  %no_t = icmp eq ptr %t, null
  br i1 %no_t, label %drop, label %put
put:
  %at = getelementptr ptr, ptr %results, i64 %i
  store ptr %t, ptr %at
  br label %next
next_node:
  %j = phi i64 [0, %next], [%j1, %record]
  %more_nodes = icmp slt i64 %j, %nodes
  br i1 %more_nodes, label %record, label %answer
record:
  %j1 = add i64 %j, 1
  %from = mul i64 %j, {NODE_WORDS}
  %node_at = getelementptr i64, ptr %described, i64 %from
  %noted = call i32 @note(ptr %node_at, ptr %tensors, ptr %results, ptr %all)
  %failed = icmp slt i32 %noted, 0
  br i1 %failed, label %drop, label %next_node
answer:
  %given = call ptr @returned(ptr %plan, ptr %results)
  br label %drop
drop:
  %made = phi i64 [%i, %one], [%n, %record], [%n, %answer]
  %found = phi ptr [null, %one], [null, %record], [%given, %answer]
  br label %next_drop
next_drop:
  %k = phi i64 [0, %drop], [%k1, %let_go]
  %left = icmp slt i64 %k, %made
  br i1 %left, label %let_go, label %done
let_go:
  %k1 = add i64 %k, 1
  %old = call ptr @item(ptr %results, i64 %k)
  call void @Py_DecRef(ptr %old)
  br label %next_drop
done:
  call void @Py_DecRef(ptr %all)
  ret ptr %found
}
; What a function gives, and the plan that this was made by; None where there is none.
define internal ptr @called(ptr %state, ptr %items, i64 %n, ptr %named, ptr %used) {
entry:
  %taken = alloca [{TAKEN} x ptr]
  %inference = call i64 @PyList_Size(ptr @inference_list)
  %paused = call i64 @PyList_Size(ptr @paused)
  %hindrances = or i64 %inference, %paused
  %hindered = icmp ne i64 %hindrances, 0
  br i1 %hindered, label %refuse, label %look
look:
  %plans = call ptr @PyList_GetItem(ptr %state, i64 0)
  %count = call i64 @PyTuple_Size(ptr %plans)
  br label %next
next:
  %i = phi i64 [0, %look], [%i1, %one], [%i1, %mode]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %one, label %refuse
one:
  %i1 = add i64 %i, 1
  %array = call ptr @PyTuple_GetItem(ptr %plans, i64 %i)
  %plan = call ptr @slot(ptr %array, i64 {HEAD})
  %such = call i1 @suits(ptr %plan, ptr %items, i64 %n, ptr %named, ptr %taken)
  br i1 %such, label %mode, label %next
mode:
  %allowed = call i32 @is_in_mode(ptr %plan)
  switch i32 %allowed, label %error [i32 1, label %compute i32 0, label %next]
compute:
  %uses_at = getelementptr i64, ptr %plan, i64 4
  %uses = load i64, ptr %uses_at
  %uses1 = add i64 %uses, 1
  store i64 %uses1, ptr %uses_at
  store ptr %plan, ptr %used
  %steps = call ptr @item(ptr %plan, i64 5)
  %places = getelementptr ptr, ptr %taken, i64 {FIRST_PLACE}
  %all = call ptr @computed(ptr %steps, ptr %places)
  %failed = icmp eq ptr %all, null
  %refused = icmp eq ptr %all, @none
  %over = or i1 %failed, %refused
  br i1 %over, label %give, label %finish
give:
  ret ptr %all
finish:
  %found = call ptr @finished(ptr %plan, ptr %taken, ptr %all)
  ret ptr %found
refuse:
  call void @Py_IncRef(ptr @none)
  ret ptr @none
error:
  ret ptr null
}
define ptr @quick_call(ptr %self, ptr %args, i64 %nargs) {
  %used = alloca ptr
  %state = load ptr, ptr %args
  %items = getelementptr ptr, ptr %args, i64 1
  %n = sub i64 %nargs, 1
  %found = call ptr @called(ptr %state, ptr %items, i64 %n, ptr null, ptr %used)
  ret ptr %found
}
define internal ptr @called_by_name(ptr %args, ptr %used) {
  %state = load ptr, ptr %args
  %given = call ptr @item(ptr %args, i64 1)
  %named = call ptr @item(ptr %args, i64 2)
  %items = getelementptr i8, ptr %given, i64 {TUPLE_ITEMS}
  %n = call i64 @PyTuple_Size(ptr %given)
  %found = call ptr @called(ptr %state, ptr %items, i64 %n, ptr %named, ptr %used)
  ret ptr %found
}
define ptr @quick_call_by_name(ptr %self, ptr %args, i64 %nargs) {
  %used = alloca ptr
  %found = call ptr @called_by_name(ptr %args, ptr %used)
  ret ptr %found
}
"""

def call_text(places: Mapping[str, int], objects: Iterable[str]) -> str:
    """The module, given offsets and the names of objects as `view_text` takes them.

    ``places`` has TUPLE_ITEMS, where a tuple's items are, beside those.
    """
    words = {"TENSOR": TENSOR, "FLOAT": FLOAT, "INT": INT, "SEQUENCE": SEQUENCE, "PLACES": PLACES,
             "NODE_WORDS": NODE_WORDS, "TAKEN": 1 + 2 * PLACES, "FIRST_PLACE": 1 + PLACES, **places}
    parts = (view_text(places, objects), steps_text(), call_nodes_text(places),
             placed(_MATCH + _CALL, words), write_text(places))
    return "".join(parts)
