"""LLVM text of the makers of views: functions of Python's own kind, `make_view` and its kin.

Each does what the function of its name in `core.dispatch` does where source and array are plain.
Every other case, and anomaly detection, it hands to that function, before anything is made.
"""

from collections.abc import Iterable, Mapping

from flambeau.backends.llvm.dense_view_text import dense_view_text
from flambeau.backends.llvm.object_text import placed
from flambeau.backends.llvm.view_text import view_text

__all__ = ["EXPORTS", "makers_text"]

EXPORTS = ("make_view", "make_parts", "dense_view", "expanded_view")

_MAKE = """
define internal i1 @is_plain(ptr %args, i64 %nargs) {
entry:
  %beyond = sub i64 %nargs, 4
  %fits = icmp ult i64 %beyond, 3
  br i1 %fits, label %of_array, label %no
of_array:
  %array = call ptr @item(ptr %args, i64 2)
  %type = call ptr @type_of(ptr %array)
  %is_array = icmp eq ptr %type, @ndarray
  br i1 %is_array, label %of_source, label %no
of_source:
  %source = call ptr @item(ptr %args, i64 1)
  %plain = call i1 @is_plain_tensor(ptr %source)
  br i1 %plain, label %register, label %no
register:
  %asked = icmp eq i64 %beyond, 0
  br i1 %asked, label %yes, label %flag
flag:
  %flag_is = call ptr @item(ptr %args, i64 4)
  %on = icmp eq ptr %flag_is, @true
  br i1 %on, label %yes, label %no
yes:
  ret i1 true
no:
  ret i1 false
}
; The view by one operator, without its node.
define internal ptr @one_step(ptr %array, ptr %source, ptr %op, ptr %params) {
entry:
  %step = call ptr @tuple(ptr %op, ptr %params)
  %no_step = icmp eq ptr %step, null
  br i1 %no_step, label %error, label %make
make:
  %t = call ptr @view_over(ptr %array, ptr %source, ptr %step)
  call void @Py_DecRef(ptr %step)
  ret ptr %t
error:
  ret ptr null
}
; Makes the view; recorded by a node of `type` where there is a plan. Null with an error set.
define internal ptr @registered(ptr %op, ptr %source, ptr %array, ptr %params, ptr %plan,
                                ptr %type) {
entry:
  %t = call ptr @one_step(ptr %array, ptr %source, ptr %op, ptr %params)
  %no_t = icmp eq ptr %t, null
  br i1 %no_t, label %error, label %register
register:
  %v = call ptr @slot(ptr %t, i64 {V})
  %known = call i32 @register(ptr %v, ptr %t)
  %failed = icmp slt i32 %known, 0
  br i1 %failed, label %drop, label %history
history:
  %no_plan = icmp eq ptr %plan, null
  br i1 %no_plan, label %done, label %record
record:
  %noted = call i32 @record(ptr %t, ptr %array, ptr %source, ptr %plan, ptr %params, ptr %type)
  %unnoted = icmp slt i32 %noted, 0
  br i1 %unnoted, label %drop, label %done
done:
  ret ptr %t
drop:
  call void @Py_DecRef(ptr %t)
  br label %error
error:
  ret ptr null
}
define internal ptr @unrecorded(ptr %op, ptr %source, ptr %array, ptr %params) {
entry:
  %mode = call i32 @silent_mode(ptr %op)
  %unknown = icmp slt i32 %mode, 0
  br i1 %unknown, label %error, label %make
make:
  %t = call ptr @one_step(ptr %array, ptr %source, ptr %op, ptr %params)
  %no_t = icmp eq ptr %t, null
  br i1 %no_t, label %error, label %mark
mark:
  %marked = call i32 @mark(ptr %t, ptr %source, i32 %mode)
  %unmarked = icmp slt i32 %marked, 0
  br i1 %unmarked, label %drop, label %done
done:
  ret ptr %t
drop:
  call void @Py_DecRef(ptr %t)
  br label %error
error:
  ret ptr null
}
define ptr @make_view(ptr %self, ptr %args, i64 %nargs) {
entry:
  %plain = call i1 @is_plain(ptr %args, i64 %nargs)
  br i1 %plain, label %mode, label %python
mode:
  %op = load ptr, ptr %args
  %source = call ptr @item(ptr %args, i64 1)
  %array = call ptr @item(ptr %args, i64 2)
  %params = call ptr @item(ptr %args, i64 3)
  %x = call ptr @slot(ptr %source, i64 {X})
  %grad = call i32 @attribute_is(ptr @modes, ptr @grad, ptr @true)
  %unknown = icmp slt i32 %grad, 0
  br i1 %unknown, label %error, label %facts
facts:
  %records = icmp eq i32 %grad, 1
  %free = call i32 @is_free(ptr %x, i1 %records)
  switch i32 %free, label %error [i32 1, label %choose i32 0, label %python]
choose:
  br i1 %records, label %history, label %silent
silent:
  %silent_t = call ptr @unrecorded(ptr %op, ptr %source, ptr %array, ptr %params)
  ret ptr %silent_t
history:
  %node = call ptr @slot(ptr %source, i64 {NODE})
  %no_node = icmp eq ptr %node, @none
  br i1 %no_node, label %without, label %plan
without:
  %bare_t = call ptr @registered(ptr %op, ptr %source, ptr %array, ptr %params, ptr null,
                                 ptr null)
  ret ptr %bare_t
plan:
  %plan_is = call ptr @plan_of(ptr %op)
  %no_plan = icmp eq ptr %plan_is, null
  br i1 %no_plan, label %error, label %planned
planned:
  %complex = icmp eq ptr %plan_is, @none
  br i1 %complex, label %let_go, label %type
let_go:
  call void @Py_DecRef(ptr %plan_is)
  br label %python
type:
  %usual = call ptr @PyTuple_GetItem(ptr %plan_is, i64 0)
  %six = icmp eq i64 %nargs, 6
  br i1 %six, label %given, label %record
given:
  %given_is = call ptr @item(ptr %args, i64 5)
  %not_given = icmp eq ptr %given_is, @none
  %chosen = select i1 %not_given, ptr %usual, ptr %given_is
  br label %record
record:
  %node_type = phi ptr [%usual, %type], [%chosen, %given]
  %t = call ptr @registered(ptr %op, ptr %source, ptr %array, ptr %params, ptr %plan_is,
                            ptr %node_type)
  call void @Py_DecRef(ptr %plan_is)
  ret ptr %t
python:
  %python_t = call ptr @by_python(ptr @make_view_in_python, ptr %args, i64 %nargs)
  ret ptr %python_t
error:
  ret ptr null
}
"""

# make_parts(op, source, arrays, params, replays): per part the steps that lead to it alone.
_PARTS = """
define internal i1 @are_plain_parts(ptr %args, i64 %nargs) {
entry:
  %five = icmp eq i64 %nargs, 5
  br i1 %five, label %lists, label %no
lists:
  %arrays = call ptr @item(ptr %args, i64 2)
  %steps = call ptr @item(ptr %args, i64 4)
  %arrays_type = call ptr @type_of(ptr %arrays)
  %steps_type = call ptr @type_of(ptr %steps)
  %is_list = icmp eq ptr %arrays_type, @list
  %is_tuple = icmp eq ptr %steps_type, @tuple_type
  %both = and i1 %is_list, %is_tuple
  br i1 %both, label %counts, label %no
counts:
  %n = call i64 @PyList_Size(ptr %arrays)
  %m = call i64 @PyTuple_Size(ptr %steps)
  %same = icmp eq i64 %n, %m
  br i1 %same, label %of_source, label %no
of_source:
  %source = call ptr @item(ptr %args, i64 1)
  %plain = call i1 @is_plain_tensor(ptr %source)
  ret i1 %plain
no:
  ret i1 false
}
define internal i1 @same_sizes(ptr %a, ptr %b) {
entry:
  %a_rank = call i64 @rank_of(ptr %a)
  %b_rank = call i64 @rank_of(ptr %b)
  %a_sizes = call ptr @slot(ptr %a, i64 {SIZES})
  %b_sizes = call ptr @slot(ptr %b, i64 {SIZES})
  %same_rank = icmp eq i64 %a_rank, %b_rank
  br i1 %same_rank, label %next, label %no
next:
  %d = phi i64 [0, %entry], [%d1, %one]
  %more = icmp slt i64 %d, %a_rank
  br i1 %more, label %one, label %yes
one:
  %d1 = add i64 %d, 1
  %a_at = getelementptr i64, ptr %a_sizes, i64 %d
  %b_at = getelementptr i64, ptr %b_sizes, i64 %d
  %a_size = load i64, ptr %a_at
  %b_size = load i64, ptr %b_at
  %same = icmp eq i64 %a_size, %b_size
  br i1 %same, label %next, label %no
yes:
  ret i1 true
no:
  ret i1 false
}
; Shape and dtype of part `i`, or the same of the part before; null without memory.
define internal ptr @output_of(ptr %arrays, ptr %outputs, i64 %i) {
entry:
  %array = call ptr @PyList_GetItem(ptr %arrays, i64 %i)
  %first = icmp eq i64 %i, 0
  br i1 %first, label %make, label %compare
compare:
  %h = sub i64 %i, 1
  %before = call ptr @PyList_GetItem(ptr %arrays, i64 %h)
  %like = call i1 @same_sizes(ptr %before, ptr %array)
  br i1 %like, label %share, label %make
share:
  %known = call ptr @PyList_GetItem(ptr %outputs, i64 %h)
  call void @Py_IncRef(ptr %known)
  ret ptr %known
make:
  %sizes = call ptr @PyObject_GetAttr(ptr %array, ptr @shape)
  %no_sizes = icmp eq ptr %sizes, null
  br i1 %no_sizes, label %error, label %describe
describe:
  %dtype = call ptr @slot(ptr %array, i64 {DTYPE})
  %pair = call ptr @tuple(ptr %sizes, ptr %dtype)
  call void @Py_DecRef(ptr %sizes)
  ret ptr %pair
error:
  ret ptr null
}
; Makes `t` output `i` of the node, which lists its shape and dtype; -1 without memory.
define internal i32 @join(ptr %t, ptr %arrays, ptr %node, ptr %outputs, i64 %i) {
entry:
  %output = call ptr @new(ptr @Output)
  %no_output = icmp eq ptr %output, null
  br i1 %no_output, label %error, label %number
number:
  call void @put(ptr %output, i64 {OUTPUT}, ptr %node)
  %nr = call ptr @PyLong_FromSsize_t(i64 %i)
  call void @give(ptr %output, i64 {NR}, ptr %nr)
  call void @give(ptr %t, i64 {NODE}, ptr %output)
  call void @Py_DecRef(ptr @none)
  %pair = call ptr @output_of(ptr %arrays, ptr %outputs, i64 %i)
  %no_pair = icmp eq ptr %pair, null
  br i1 %no_pair, label %error, label %done
done:
  %listed = call i32 @PyList_SetItem(ptr %outputs, i64 %i, ptr %pair)
  ret i32 %listed
error:
  ret i32 -1
}
; Part `i`, put into `results`. `node` may be null; `mode` is -1 where gradients are recorded.
define internal i32 @part(ptr %results, i64 %i, ptr %args, ptr %node, ptr %outputs, ptr %name,
                          i32 %mode) {
entry:
  %source = call ptr @item(ptr %args, i64 1)
  %arrays = call ptr @item(ptr %args, i64 2)
  %steps = call ptr @item(ptr %args, i64 4)
  %array = call ptr @PyList_GetItem(ptr %arrays, i64 %i)
  %step = call ptr @PyTuple_GetItem(ptr %steps, i64 %i)
  %t = call ptr @view_over(ptr %array, ptr %source, ptr %step)
  %no_t = icmp eq ptr %t, null
  br i1 %no_t, label %error, label %refuse
refuse:
  ; It fails where somebody has found the tuple already; then `t` is gone.
  %put = call i32 @PyTuple_SetItem(ptr %results, i64 %i, ptr %t)
  %lost = icmp slt i32 %put, 0
  br i1 %lost, label %error, label %tell
tell:
  %meta = call ptr @slot(ptr %t, i64 {X})
  %noted = call i32 @PyObject_SetAttr(ptr %meta, ptr @multi_view, ptr %name)
  %unnoted = icmp slt i32 %noted, 0
  br i1 %unnoted, label %error, label %history
history:
  %no_node = icmp eq ptr %node, null
  br i1 %no_node, label %without, label %record
record:
  %joined = call i32 @join(ptr %t, ptr %arrays, ptr %node, ptr %outputs, i64 %i)
  ret i32 %joined
without:
  %records = icmp slt i32 %mode, 0
  br i1 %records, label %done, label %silent
silent:
  %marked = call i32 @mark(ptr %t, ptr %source, i32 %mode)
  ret i32 %marked
done:
  ret i32 0
error:
  ret i32 -1
}
; All parts as a tuple; null with an error set.
define internal ptr @parts(ptr %args, ptr %node, ptr %outputs, i32 %mode) {
entry:
  %op = load ptr, ptr %args
  %arrays = call ptr @item(ptr %args, i64 2)
  %n = call i64 @PyList_Size(ptr %arrays)
  %name = call ptr @PyObject_GetAttr(ptr %op, ptr @node_name)
  %no_name = icmp eq ptr %name, null
  br i1 %no_name, label %error, label %results
results:
  %all = call ptr @PyTuple_New(i64 %n)
  %no_all = icmp eq ptr %all, null
  br i1 %no_all, label %forget, label %next
next:
  %i = phi i64 [0, %results], [%i1, %one]
  %i1 = add i64 %i, 1
  %more = icmp slt i64 %i, %n
  br i1 %more, label %one, label %done
one:
  %made = call i32 @part(ptr %all, i64 %i, ptr %args, ptr %node, ptr %outputs, ptr %name,
                         i32 %mode)
  %failed = icmp slt i32 %made, 0
  br i1 %failed, label %drop, label %next
done:
  call void @Py_DecRef(ptr %name)
  ret ptr %all
drop:
  call void @Py_DecRef(ptr %all)
  br label %forget
forget:
  call void @Py_DecRef(ptr %name)
  br label %error
error:
  ret ptr null
}
; The parts as outputs of one node; null with an error set.
define internal ptr @recorded_parts(ptr %args, ptr %plan) {
entry:
  %source = call ptr @item(ptr %args, i64 1)
  %arrays = call ptr @item(ptr %args, i64 2)
  %params = call ptr @item(ptr %args, i64 3)
  %n = call i64 @PyList_Size(ptr %arrays)
  %type = call ptr @PyTuple_GetItem(ptr %plan, i64 0)
  %node = call ptr @node_of(ptr %source, ptr %plan, ptr %params, ptr %type)
  %no_node = icmp eq ptr %node, null
  br i1 %no_node, label %error, label %list
list:
  %outputs = call ptr @PyList_New(i64 %n)
  %no_outputs = icmp eq ptr %outputs, null
  br i1 %no_outputs, label %drop, label %make
make:
  %noted = call i32 @set(ptr %node, ptr @outputs, ptr %outputs)
  %unnoted = icmp slt i32 %noted, 0
  br i1 %unnoted, label %drop, label %fill
fill:
  %all = call ptr @parts(ptr %args, ptr %node, ptr %outputs, i32 -1)
  br label %drop
drop:
  %answer = phi ptr [null, %list], [null, %make], [%all, %fill]
  call void @Py_DecRef(ptr %node)
  ret ptr %answer
error:
  ret ptr null
}
define ptr @make_parts(ptr %self, ptr %args, i64 %nargs) {
entry:
  %plain = call i1 @are_plain_parts(ptr %args, i64 %nargs)
  br i1 %plain, label %mode, label %python
mode:
  %op = load ptr, ptr %args
  %source = call ptr @item(ptr %args, i64 1)
  %x = call ptr @slot(ptr %source, i64 {X})
  %grad = call i32 @attribute_is(ptr @modes, ptr @grad, ptr @true)
  %unknown = icmp slt i32 %grad, 0
  br i1 %unknown, label %error, label %facts
facts:
  %records = icmp eq i32 %grad, 1
  %free = call i32 @is_free(ptr %x, i1 %records)
  switch i32 %free, label %error [i32 1, label %choose i32 0, label %python]
choose:
  br i1 %records, label %history, label %silent
silent:
  %silent_mode = call i32 @silent_mode(ptr %op)
  %unsaid = icmp slt i32 %silent_mode, 0
  br i1 %unsaid, label %error, label %without
history:
  %node = call ptr @slot(ptr %source, i64 {NODE})
  %no_node = icmp eq ptr %node, @none
  br i1 %no_node, label %without, label %plan
without:
  %how = phi i32 [%silent_mode, %silent], [-1, %history]
  %bare = call ptr @parts(ptr %args, ptr null, ptr null, i32 %how)
  ret ptr %bare
plan:
  %plan_is = call ptr @plan_of(ptr %op)
  %no_plan = icmp eq ptr %plan_is, null
  br i1 %no_plan, label %error, label %planned
planned:
  %complex = icmp eq ptr %plan_is, @none
  br i1 %complex, label %let_go, label %record
let_go:
  call void @Py_DecRef(ptr %plan_is)
  br label %python
record:
  %all = call ptr @recorded_parts(ptr %args, ptr %plan_is)
  call void @Py_DecRef(ptr %plan_is)
  ret ptr %all
python:
  %python_all = call ptr @by_python(ptr @make_parts_in_python, ptr %args, i64 %nargs)
  ret ptr %python_all
error:
  ret ptr null
}
"""

def makers_text(places: Mapping[str, int], objects: Iterable[str]) -> str:
    """The module, given offsets and the names of objects as `view_text` takes them."""
    return view_text(places, objects) + placed(_MAKE + _PARTS, places) + dense_view_text(places)
