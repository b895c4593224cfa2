"""LLVM text of `replay`: a list of calls of inner loops, such as NumPy's ufuncs are made of.

`replay(plans, *arrays)` gives a new array, or a tuple of them, by the first of a tuple of plans
that is for arrays such as these; None where there is none. A plan is an array of int64: HEAD_WORDS
words, for every array and every result ARRAY_WORDS words, for every step STEP_WORDS.
`flambeau.backends.replay_plan` writes it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau.backends.llvm import calls
from flambeau.backends.llvm.object_text import FUNCTIONS, object_text, placed

__all__ = ["ADDRESS", "ARRAY_WORDS", "HEAD_WORDS", "MAX_OPERANDS", "PLACES", "STEP_WORDS",
           "replayer", "steps_text"]

_EXPORT = "replay"
# How many arrays go in, results come out, and steps there are; where loops say that they failed;
# whether the one result is not to be in a tuple.
HEAD_WORDS = 5
# The dtype, how many sizes, and the address of the sizes; 0 for the dtype of what is None.
ARRAY_WORDS = 3
MAX_OPERANDS = 4
# The loop, what it is given besides, how many operands; the sizes of two outer loops and the inner
# one; for every operand its place and offset, and its inner, middle and outer stride.
STEP_WORDS = 6 + 5 * MAX_OPERANDS
# Where data starts: arrays that go in, then results; the last place is address 0.
PLACES = 32
ADDRESS = PLACES - 1

_REPLAY = """
declare ptr @PyArray_NewFromDescr(ptr, ptr, i32, ptr, ptr, ptr, i32, ptr)

define internal i64 @word(ptr %at, i64 %i) {
  %place = getelementptr i64, ptr %at, i64 %i
  %word = load i64, ptr %place
  ret i64 %word
}
; Whether an array is dense and as `at` describes.
define internal i1 @is_such(ptr %array, ptr %at) {
entry:
  %type = call ptr @type_of(ptr %array)
  %is_array = icmp eq ptr %type, @ndarray
  br i1 %is_array, label %dense, label %no
dense:
  %plain = call i1 @has_flags(ptr %array, i32 {DENSE})
  br i1 %plain, label %described, label %no
described:
  %dtype = call ptr @slot(ptr %array, i64 {DTYPE})
  %wanted = load ptr, ptr %at
  %same_dtype = icmp eq ptr %dtype, %wanted
  %rank = call i64 @rank_of(ptr %array)
  %wanted_rank = call i64 @word(ptr %at, i64 1)
  %same_rank = icmp eq i64 %rank, %wanted_rank
  %alike = and i1 %same_dtype, %same_rank
  br i1 %alike, label %sizes, label %no
sizes:
  %have = call ptr @slot(ptr %array, i64 {SIZES})
  %want = call ptr @item(ptr %at, i64 2)
  br label %next
next:
  %i = phi i64 [0, %sizes], [%i1, %one]
  %more = icmp slt i64 %i, %rank
  br i1 %more, label %one, label %yes
one:
  %n = call i64 @word(ptr %have, i64 %i)
  %m = call i64 @word(ptr %want, i64 %i)
  %i1 = add i64 %i, 1
  %same = icmp eq i64 %n, %m
  br i1 %same, label %next, label %no
yes:
  ret i1 true
no:
  ret i1 false
}
; Puts the data of the arrays that go in into `places`; false where one is not as `at` describes.
define internal i1 @take(ptr %args, i64 %count, ptr %at, ptr %places) {
entry:
  br label %next
next:
  %i = phi i64 [0, %entry], [%i1, %put], [%i1, %absent]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %one, label %yes
one:
  %i1 = add i64 %i, 1
  %array = call ptr @item(ptr %args, i64 %i1)
  %from = mul i64 %i, {ARRAY_WORDS}
  %described = getelementptr i64, ptr %at, i64 %from
  %dtype = load i64, ptr %described
  %is_absent = icmp eq i64 %dtype, 0
  br i1 %is_absent, label %absent, label %present
absent:
  %none = icmp eq ptr %array, @none
  br i1 %none, label %next, label %no
present:
  %such = call i1 @is_such(ptr %array, ptr %described)
  br i1 %such, label %put, label %no
put:
  %data = call ptr @slot(ptr %array, i64 {HEAD})
  %place = getelementptr ptr, ptr %places, i64 %i
  store ptr %data, ptr %place
  br label %next
yes:
  ret i1 true
no:
  ret i1 false
}
; A new array for the result that `at` describes; null with an error set.
define internal ptr @result(ptr %at) {
  %dtype = load ptr, ptr %at
  %rank = call i64 @word(ptr %at, i64 1)
  %rank32 = trunc i64 %rank to i32
  %sizes = call ptr @item(ptr %at, i64 2)
  call void @Py_IncRef(ptr %dtype)
  %array = call ptr @PyArray_NewFromDescr(ptr @ndarray, ptr %dtype, i32 %rank32, ptr %sizes,
                                          ptr null, ptr null, i32 0, ptr null)
  ret ptr %array
}
; A tuple of new arrays, whose data goes to `places`; null with an error set.
define internal ptr @results(ptr %at, i64 %count, ptr %places) {
entry:
  %all = call ptr @PyTuple_New(i64 %count)
  %failed = icmp eq ptr %all, null
  br i1 %failed, label %error, label %next
next:
  %i = phi i64 [0, %entry], [%i1, %put]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %one, label %done
one:
  %i1 = add i64 %i, 1
  %from = mul i64 %i, {ARRAY_WORDS}
  %described = getelementptr i64, ptr %at, i64 %from
  %array = call ptr @result(ptr %described)
  %none = icmp eq ptr %array, null
  br i1 %none, label %drop, label %put
put:
  %data = call ptr @slot(ptr %array, i64 {HEAD})
  %place = getelementptr ptr, ptr %places, i64 %i
  store ptr %data, ptr %place
  %set = call i32 @PyTuple_SetItem(ptr %all, i64 %i, ptr %array)
  br label %next
done:
  ret ptr %all
drop:
  call void @Py_DecRef(ptr %all)
  br label %error
error:
  ret ptr null
}
; Where operand `k` of a step is, at these turns of the two outer loops.
define internal void @point(ptr %step, i64 %k, i64 %turn, i64 %row, ptr %places, ptr %operands) {
  %where_at = getelementptr [{STEP_WORDS} x i64], ptr %step, i64 0, i64 6
  %known = getelementptr i64, ptr %where_at, i64 %k
  %where = load i64, ptr %known
  %offset_at = getelementptr i64, ptr %known, i64 {OPERANDS1}
  %offset = load i64, ptr %offset_at
  %row_at = getelementptr i64, ptr %known, i64 {OPERANDS3}
  %row_stride = load i64, ptr %row_at
  %turn_at = getelementptr i64, ptr %known, i64 {OPERANDS4}
  %turn_stride = load i64, ptr %turn_at
  %start_at = getelementptr ptr, ptr %places, i64 %where
  %start = load ptr, ptr %start_at
  %by_row = mul i64 %row, %row_stride
  %by_turn = mul i64 %turn, %turn_stride
  %both = add i64 %by_row, %by_turn
  %all = add i64 %both, %offset
  %at = getelementptr i8, ptr %start, i64 %all
  %operand = getelementptr ptr, ptr %operands, i64 %k
  store ptr %at, ptr %operand
  ret void
}
define internal void @run(ptr %step, ptr %places) {
entry:
  %operands = alloca [{MAX_OPERANDS} x ptr]
  %loop = load ptr, ptr %step
  %besides = call ptr @item(ptr %step, i64 1)
  %count = call i64 @word(ptr %step, i64 2)
  %turns = call i64 @word(ptr %step, i64 3)
  %rows = call i64 @word(ptr %step, i64 4)
  %length = getelementptr i64, ptr %step, i64 5
  %strides = getelementptr i64, ptr %step, i64 {INNER}
  br label %next_turn
next_turn:
  %turn = phi i64 [0, %entry], [%turn1, %end_turn]
  %more_turns = icmp slt i64 %turn, %turns
  br i1 %more_turns, label %next_row, label %done
next_row:
  %row = phi i64 [0, %next_turn], [%row1, %call]
  %more_rows = icmp slt i64 %row, %rows
  br i1 %more_rows, label %next_operand, label %end_turn
next_operand:
  %k = phi i64 [0, %next_row], [%k1, %operand]
  %more_operands = icmp slt i64 %k, %count
  br i1 %more_operands, label %operand, label %call
operand:
  call void @point(ptr %step, i64 %k, i64 %turn, i64 %row, ptr %places, ptr %operands)
  %k1 = add i64 %k, 1
  br label %next_operand
call:
  call void %loop(ptr %operands, ptr %length, ptr %strides, ptr %besides)
  %row1 = add i64 %row, 1
  br label %next_row
end_turn:
  %turn1 = add i64 %turn, 1
  br label %next_turn
done:
  ret void
}
; The first plan that is for these arguments, with their data in `places`; null for none.
define internal ptr @plan_for(ptr %args, i64 %nargs, ptr %places) {
entry:
  %plans = load ptr, ptr %args
  %count = call i64 @PyTuple_Size(ptr %plans)
  br label %next
next:
  %i = phi i64 [0, %entry], [%i1, %one], [%i1, %read]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %one, label %none
one:
  %i1 = add i64 %i, 1
  %array = call ptr @PyTuple_GetItem(ptr %plans, i64 %i)
  %plan = call ptr @slot(ptr %array, i64 {HEAD})
  %takes = load i64, ptr %plan
  %given = sub i64 %nargs, 1
  %as_many = icmp eq i64 %given, %takes
  br i1 %as_many, label %read, label %next
read:
  %described = getelementptr i64, ptr %plan, i64 {HEAD_WORDS}
  %taken = call i1 @take(ptr %args, i64 %takes, ptr %described, ptr %places)
  br i1 %taken, label %found, label %next
found:
  ret ptr %plan
none:
  ret ptr null
}
; What the steps of a plan give, as a tuple of new arrays, from `places` with the data of those that
; go in; None where a loop said that it failed, null with an error set.
define internal ptr @computed(ptr %plan, ptr %places) {
entry:
  %last = getelementptr ptr, ptr %places, i64 {ADDRESS}
  store ptr null, ptr %last
  %takes = load i64, ptr %plan
  %gives = call i64 @word(ptr %plan, i64 1)
  %steps = call i64 @word(ptr %plan, i64 2)
  %failure = call ptr @item(ptr %plan, i64 3)
  %input_words = mul i64 %takes, {ARRAY_WORDS}
  %inputs = getelementptr i64, ptr %plan, i64 {HEAD_WORDS}
  %described = getelementptr i64, ptr %inputs, i64 %input_words
  %free = getelementptr ptr, ptr %places, i64 %takes
  %all = call ptr @results(ptr %described, i64 %gives, ptr %free)
  %failed = icmp eq ptr %all, null
  br i1 %failed, label %error, label %begin
begin:
  store i64 0, ptr %failure
  %result_words = mul i64 %gives, {ARRAY_WORDS}
  %first = getelementptr i64, ptr %described, i64 %result_words
  br label %next
next:
  %i = phi i64 [0, %begin], [%i1, %step]
  %more = icmp slt i64 %i, %steps
  br i1 %more, label %step, label %end
step:
  %from = mul i64 %i, {STEP_WORDS}
  %at = getelementptr i64, ptr %first, i64 %from
  call void @run(ptr %at, ptr %places)
  %i1 = add i64 %i, 1
  br label %next
end:
  %found = load i64, ptr %failure
  %wrong = icmp ne i64 %found, 0
  br i1 %wrong, label %drop, label %give
give:
  ret ptr %all
drop:
  call void @Py_DecRef(ptr %all)
  call void @Py_IncRef(ptr @none)
  ret ptr @none
error:
  ret ptr null
}
"""

_ENTRY = """
define ptr @replay(ptr %self, ptr %args, i64 %nargs) {
entry:
  %places = alloca [{PLACES} x ptr]
  %plan = call ptr @plan_for(ptr %args, i64 %nargs, ptr %places)
  %without = icmp eq ptr %plan, null
  br i1 %without, label %refuse, label %make
make:
  %all = call ptr @computed(ptr %plan, ptr %places)
  %failed = icmp eq ptr %all, null
  %nothing = icmp eq ptr %all, @none
  %over = or i1 %failed, %nothing
  br i1 %over, label %whole, label %give
give:
  %bare = call i64 @word(ptr %plan, i64 4)
  %single = icmp ne i64 %bare, 0
  br i1 %single, label %unpack, label %whole
unpack:
  %one = call ptr @PyTuple_GetItem(ptr %all, i64 0)
  call void @Py_IncRef(ptr %one)
  call void @Py_DecRef(ptr %all)
  ret ptr %one
whole:
  ret ptr %all
refuse:
  call void @Py_IncRef(ptr @none)
  ret ptr @none
}
"""

def steps_text() -> str:
    """The functions that run a plan, but for the declarations of `object_text`."""
    places = {"ARRAY_WORDS": ARRAY_WORDS, "HEAD_WORDS": HEAD_WORDS, "STEP_WORDS": STEP_WORDS,
              "MAX_OPERANDS": MAX_OPERANDS, "PLACES": PLACES, "ADDRESS": ADDRESS,
              "DENSE": calls.NEEDED_FLAGS, "INNER": 6 + 2 * MAX_OPERANDS,
              **{f"OPERANDS{n}": n * MAX_OPERANDS for n in (1, 3, 4)}}
    return placed(_REPLAY, places)


def _replay_text() -> str:
    entry = placed(_ENTRY, {"PLACES": PLACES})
    return object_text(("ndarray", "none", "no_items")) + steps_text() + entry


def replayer() -> Callable[..., Any] | None:
    """``replay(plans, *arrays)``; None where this interpreter's objects are not known so well."""
    if not calls.layout_is_known() or not calls.has_global_lock():
        return None
    functions = calls.array_functions()
    if functions is None:
        return None
    # nothing calls the maker of objects, but every symbol has an address
    addresses = {**functions, "no_items": id(()),
                 "object_new": id(object)}
    return calls.direct_entries(_replay_text(), (_EXPORT,), FUNCTIONS, addresses)[0]
