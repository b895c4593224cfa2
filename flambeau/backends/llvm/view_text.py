"""LLVM text of what makers of views share: a tensor, its facts and its node.

It does what `core.dispatch` does, step by step, by functions of Python's own. Objects are reached
by the offsets of their slots, which `core.native_views` finds and checks.
"""

from collections.abc import Iterable, Mapping

from flambeau.backends.llvm.object_text import object_text, placed

__all__ = ["view_text"]

# What comes first: is the case plain, and is there a base with facts that are handed on?
_CHECKS = """
define internal i1 @is_plain_tensor(ptr %t) {
entry:
  %type = call ptr @type_of(ptr %t)
  %exact = icmp eq ptr %type, @Tensor
  br i1 %exact, label %array, label %derived
derived:
  %below = call i32 @PyType_IsSubtype(ptr %type, ptr @Tensor)
  %is_below = icmp ne i32 %below, 0
  br i1 %is_below, label %array, label %no
array:
  %own = call ptr @slot(ptr %t, i64 {A})
  %no_array = icmp eq ptr %own, null
  br i1 %no_array, label %no, label %array_type
array_type:
  %own_type = call ptr @type_of(ptr %own)
  %is_array = icmp eq ptr %own_type, @ndarray
  br i1 %is_array, label %version, label %no
version:
  %node = call ptr @slot(ptr %t, i64 {NODE})
  %x = call ptr @slot(ptr %t, i64 {X})
  %v = call ptr @slot(ptr %t, i64 {V})
  %no_node = icmp eq ptr %node, null
  %no_x = icmp eq ptr %x, null
  %no_v = icmp eq ptr %v, null
  %gap1 = or i1 %no_node, %no_x
  %gap = or i1 %gap1, %no_v
  br i1 %gap, label %no, label %counter
counter:
  %v_none = icmp eq ptr %v, @none
  br i1 %v_none, label %facts, label %listed
listed:
  %v_type = call ptr @type_of(ptr %v)
  %is_list = icmp eq ptr %v_type, @list
  br i1 %is_list, label %facts, label %no
facts:
  %x_type = call ptr @type_of(ptr %x)
  %x_none = icmp eq ptr %x, @none
  %is_meta = icmp eq ptr %x_type, @Meta
  %known = or i1 %x_none, %is_meta
  br i1 %known, label %yes, label %no
yes:
  ret i1 true
no:
  ret i1 false
}
; 1 where the source's own facts forbid nothing that a view of it would have to forbid; 0 or -1.
define internal i32 @is_free(ptr %x, i1 %grad) {
entry:
  %none = icmp eq ptr %x, @none
  br i1 %none, label %yes, label %look
look:
  %base = call ptr @slot(ptr %x, i64 {BASE})
  %root = call ptr @slot(ptr %x, i64 {ROOT})
  %replay = call ptr @slot(ptr %x, i64 {REPLAY})
  %no_base = icmp eq ptr %base, null
  %no_root = icmp eq ptr %root, null
  %no_replay = icmp eq ptr %replay, null
  %gap1 = or i1 %no_base, %no_root
  %gap = or i1 %gap1, %no_replay
  br i1 %gap, label %no, label %origin
origin:
  %own = icmp eq ptr %base, @none
  br i1 %own, label %yes, label %multi
multi:
  %m = call i32 @attribute_is(ptr %x, ptr @multi_view, ptr @none)
  %m_free = icmp eq i32 %m, 1
  br i1 %m_free, label %custom, label %told_m
told_m:
  ret i32 %m
custom:
  %c = call i32 @attribute_is(ptr %x, ptr @custom_view, ptr @none)
  %c_free = icmp eq i32 %c, 1
  br i1 %c_free, label %silent, label %told_c
told_c:
  ret i32 %c
silent:
  br i1 %grad, label %silent_look, label %yes
silent_look:
  %s = call i32 @attribute_is(ptr %x, ptr @made_without_grad, ptr @none)
  ret i32 %s
yes:
  ret i32 1
no:
  ret i32 0
}
; The plan of the node to record: a tuple; None where the function in Python must do it; or null.
define internal ptr @plan_of(ptr %op) {
entry:
  %anomaly = call i32 @attribute_is(ptr @modes, ptr @anomaly, ptr @false)
  %failed = icmp slt i32 %anomaly, 0
  br i1 %failed, label %error, label %choose
choose:
  %watched = icmp eq i32 %anomaly, 0
  br i1 %watched, label %python, label %read
read:
  %plan = call ptr @PyObject_GetAttr(ptr %op, ptr @view_plan)
  ret ptr %plan
python:
  call void @Py_IncRef(ptr @none)
  ret ptr @none
error:
  ret ptr null
}
"""

# The source's version counter, made where there was none; borrowed, null without memory.
_COUNTER = """
define internal ptr @counter_of(ptr %source) {
entry:
  %v = call ptr @slot(ptr %source, i64 {V})
  %none = icmp eq ptr %v, @none
  br i1 %none, label %make, label %known
known:
  ret ptr %v
make:
  %fresh = call ptr @PyList_New(i64 1)
  %failed = icmp eq ptr %fresh, null
  br i1 %failed, label %error, label %fill
fill:
  %zero = call ptr @PyLong_FromSsize_t(i64 0)
  %filled = call i32 @PyList_SetItem(ptr %fresh, i64 0, ptr %zero)
  ; Memory may have been collected meanwhile, which runs anything.
  %now = call ptr @slot(ptr %source, i64 {V})
  %still = icmp eq ptr %now, @none
  br i1 %still, label %keep, label %drop
keep:
  call void @give(ptr %source, i64 {V}, ptr %fresh)
  call void @Py_DecRef(ptr @none)
  ret ptr %fresh
drop:
  call void @Py_DecRef(ptr %fresh)
  ret ptr %now
error:
  ret ptr null
}
"""

# Lets the base know its view: in the place of the last one where that is dead, else behind it.
_REGISTER = """
define internal i32 @register(ptr %v, ptr %t) {
entry:
  %weak = call ptr @PyWeakref_NewRef(ptr %t, ptr null)
  %failed = icmp eq ptr %weak, null
  br i1 %failed, label %error, label %last
last:
  %n = call i64 @PyList_Size(ptr %v)
  %at = sub i64 %n, 1
  %any = icmp sgt i64 %n, 1
  br i1 %any, label %look, label %append
look:
  %old = call ptr @PyList_GetItem(ptr %v, i64 %at)
  %old_type = call ptr @type_of(ptr %old)
  %is_weak = icmp eq ptr %old_type, @weak_reference
  br i1 %is_weak, label %ask, label %append
ask:
  %to = call ptr @slot(ptr %old, i64 {HEAD})
  %dead = icmp eq ptr %to, @none
  br i1 %dead, label %replace, label %append
replace:
  %replaced = call i32 @PyList_SetItem(ptr %v, i64 %at, ptr %weak)
  ret i32 %replaced
append:
  %added = call i32 @PyList_Append(ptr %v, ptr %weak)
  call void @Py_DecRef(ptr %weak)
  %more = icmp ult i64 %n, 32
  %count = add i64 %n, 1
  %shared = and i64 %n, %count
  %between = icmp ne i64 %shared, 0
  %enough = or i1 %more, %between
  br i1 %enough, label %done, label %sweep
sweep:
  %args = call ptr @tuple(ptr %v, ptr null)
  %no_args = icmp eq ptr %args, null
  br i1 %no_args, label %error, label %call
call:
  %said = call ptr @PyObject_Call(ptr @forget_dead, ptr %args, ptr null)
  call void @Py_DecRef(ptr %args)
  %raised = icmp eq ptr %said, null
  br i1 %raised, label %error, label %swept
swept:
  call void @Py_DecRef(ptr %said)
  ret i32 0
done:
  ret i32 %added
error:
  ret i32 -1
}
"""

# The facts of a view: base, owner of the memory, and the steps that lead to it.
_FACTS = """
; The steps from the base, given those from the source whose facts are `x`.
define internal ptr @replay_of(ptr %x, ptr %steps) {
entry:
  %plain = icmp eq ptr %x, @none
  br i1 %plain, label %first, label %origin
origin:
  %base = call ptr @slot(ptr %x, i64 {BASE})
  %own = icmp eq ptr %base, @none
  br i1 %own, label %first, label %join
first:
  call void @Py_IncRef(ptr %steps)
  ret ptr %steps
join:
  %before = call ptr @slot(ptr %x, i64 {REPLAY})
  call void @Py_IncRef(ptr %before)
  %all = call ptr @PySequence_Concat(ptr %before, ptr %steps)
  call void @Py_DecRef(ptr %before)
  ret ptr %all
}
; Fills `meta`; -1 without memory.
define internal i32 @describe(ptr %meta, ptr %source, ptr %steps) {
entry:
  %x = call ptr @slot(ptr %source, i64 {X})
  %own = call ptr @slot(ptr %source, i64 {A})
  %plain = icmp eq ptr %x, @none
  br i1 %plain, label %put, label %origin
origin:
  %x_base = call ptr @slot(ptr %x, i64 {BASE})
  %x_root = call ptr @slot(ptr %x, i64 {ROOT})
  %no_base = icmp eq ptr %x_base, @none
  %base1 = select i1 %no_base, ptr %source, ptr %x_base
  %no_root = icmp eq ptr %x_root, @none
  %root1 = select i1 %no_root, ptr %own, ptr %x_root
  br label %put
put:
  %base = phi ptr [%source, %entry], [%base1, %origin]
  %root = phi ptr [%own, %entry], [%root1, %origin]
  call void @put(ptr %meta, i64 {BASE}, ptr %base)
  call void @put(ptr %meta, i64 {ROOT}, ptr %root)
  call void @put(ptr %meta, i64 {GRAD}, ptr @none)
  call void @put(ptr %meta, i64 {HOOKS}, ptr @none)
  call void @put(ptr %meta, i64 {POST_HOOKS}, ptr @none)
  %replay = call ptr @replay_of(ptr %x, ptr %steps)
  call void @give(ptr %meta, i64 {REPLAY}, ptr %replay)
  %failed = icmp eq ptr %replay, null
  %answer = select i1 %failed, i32 -1, i32 0
  ret i32 %answer
}
; The tensor, without its node, `steps` from the source; null without memory.
define internal ptr @view_over(ptr %array, ptr %source, ptr %steps) {
entry:
  %v = call ptr @counter_of(ptr %source)
  %no_v = icmp eq ptr %v, null
  br i1 %no_v, label %error, label %make
make:
  call void @Py_IncRef(ptr %v)
  %t = call ptr @new(ptr @Tensor)
  %no_t = icmp eq ptr %t, null
  br i1 %no_t, label %let_go, label %fill
fill:
  call void @give(ptr %t, i64 {V}, ptr %v)
  call void @put(ptr %t, i64 {A}, ptr %array)
  call void @put(ptr %t, i64 {NODE}, ptr @none)
  %meta = call ptr @new(ptr @Meta)
  call void @give(ptr %t, i64 {X}, ptr %meta)
  %no_meta = icmp eq ptr %meta, null
  br i1 %no_meta, label %drop, label %describe
describe:
  %described = call i32 @describe(ptr %meta, ptr %source, ptr %steps)
  %failed = icmp slt i32 %described, 0
  br i1 %failed, label %drop, label %done
done:
  ret ptr %t
drop:
  call void @Py_DecRef(ptr %t)
  br label %error
let_go:
  call void @Py_DecRef(ptr %v)
  br label %error
error:
  ret ptr null
}
"""

# The node of a view that is recorded.
_NODE = """
define internal ptr @saved_of(ptr %plan, ptr %source, ptr %params) {
entry:
  %n = call i64 @PyTuple_Size(ptr %plan)
  %count = sub i64 %n, 1
  %saved = call ptr @PyTuple_New(i64 %count)
  %failed = icmp eq ptr %saved, null
  br i1 %failed, label %error, label %next
next:
  %i = phi i64 [0, %entry], [%i1, %store]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %one, label %done
one:
  %i1 = add i64 %i, 1
  %name = call ptr @PyTuple_GetItem(ptr %plan, i64 %i1)
  %is_shape = icmp eq ptr %name, @none
  br i1 %is_shape, label %shape, label %param
shape:
  %own = call ptr @slot(ptr %source, i64 {A})
  %sizes = call ptr @PyObject_GetAttr(ptr %own, ptr @shape)
  %no_sizes = icmp eq ptr %sizes, null
  br i1 %no_sizes, label %drop, label %store
param:
  %found = call ptr @PyDict_GetItem(ptr %params, ptr %name)
  %absent = icmp eq ptr %found, null
  %item = select i1 %absent, ptr @none, ptr %found
  call void @Py_IncRef(ptr %item)
  br label %store
store:
  %value = phi ptr [%sizes, %shape], [%item, %param]
  %put = call i32 @PyTuple_SetItem(ptr %saved, i64 %i, ptr %value)
  %lost = icmp slt i32 %put, 0
  br i1 %lost, label %drop, label %next
done:
  ret ptr %saved
drop:
  call void @Py_DecRef(ptr %saved)
  br label %error
error:
  ret ptr null
}
; A node that says nothing of its output yet; null without memory.
define internal ptr @node_of(ptr %source, ptr %plan, ptr %params, ptr %type) {
entry:
  %node = call ptr @new(ptr %type)
  %no_node = icmp eq ptr %node, null
  br i1 %no_node, label %error, label %next
next:
  %edge = call ptr @slot(ptr %source, i64 {NODE})
  %is_leaf = icmp eq ptr %edge, @leaf
  %to = select i1 %is_leaf, ptr %source, ptr %edge
  %edges = call ptr @tuple(ptr %to, ptr null)
  %set1 = call i32 @set(ptr %node, ptr @next, ptr %edges)
  %saved = call ptr @saved_of(ptr %plan, ptr %source, ptr %params)
  %set2 = call i32 @set(ptr %node, ptr @saved, ptr %saved)
  %number = call ptr @PyIter_Next(ptr @sequence)
  %set3 = call i32 @set(ptr %node, ptr @seq, ptr %number)
  %or1 = or i32 %set1, %set2
  %or2 = or i32 %or1, %set3
  %failed = icmp ne i32 %or2, 0
  br i1 %failed, label %drop, label %done
done:
  ret ptr %node
drop:
  call void @Py_DecRef(ptr %node)
  br label %error
error:
  ret ptr null
}
; Puts a node on `t`; -1 without memory.
define internal i32 @record(ptr %t, ptr %array, ptr %source, ptr %plan, ptr %params, ptr %type) {
entry:
  %node = call ptr @node_of(ptr %source, ptr %plan, ptr %params, ptr %type)
  %no_node = icmp eq ptr %node, null
  br i1 %no_node, label %error, label %output
output:
  %sizes = call ptr @PyObject_GetAttr(ptr %array, ptr @shape)
  %set4 = call i32 @set(ptr %node, ptr @shape, ptr %sizes)
  %dtype = call ptr @slot(ptr %array, i64 {DTYPE})
  %set5 = call i32 @PyObject_SetAttr(ptr %node, ptr @dtype, ptr %dtype)
  %or3 = or i32 %set4, %set5
  %failed = icmp ne i32 %or3, 0
  br i1 %failed, label %drop, label %done
done:
  call void @give(ptr %t, i64 {NODE}, ptr %node)
  call void @Py_DecRef(ptr @none)
  ret i32 0
drop:
  call void @Py_DecRef(ptr %node)
  br label %error
error:
  ret i32 -1
}
"""

# Where nothing is recorded, what a view was made in is noted, and it is not registered.
_SILENT = """
; Two bits: whether in inference mode, whether the operator has a derivative; -1 with an error set.
define internal i32 @silent_mode(ptr %op) {
entry:
  %inference = call i32 @attribute_is(ptr @modes, ptr @inference, ptr @true)
  %unknown = icmp slt i32 %inference, 0
  br i1 %unknown, label %error, label %derivative
derivative:
  %derived = call i32 @attribute_is(ptr %op, ptr @differentiable, ptr @true)
  %unsaid = icmp slt i32 %derived, 0
  br i1 %unsaid, label %error, label %done
done:
  %high = shl i32 %derived, 1
  %both = or i32 %inference, %high
  ret i32 %both
error:
  ret i32 -1
}
define internal i32 @mark(ptr %t, ptr %source, i32 %mode) {
entry:
  %meta = call ptr @slot(ptr %t, i64 {X})
  %low = and i32 %mode, 1
  %is_inference = icmp ne i32 %low, 0
  %told = select i1 %is_inference, ptr @inference, ptr @no_grad
  %marked = call i32 @PyObject_SetAttr(ptr %meta, ptr @made_without_grad, ptr %told)
  %node = call ptr @slot(ptr %source, i64 {NODE})
  %has_node = icmp ne ptr %node, @none
  %can = icmp uge i32 %mode, 2
  %leads = and i1 %has_node, %can
  br i1 %leads, label %leaf, label %done
leaf:
  call void @put(ptr %t, i64 {NODE}, ptr @leaf)
  call void @Py_DecRef(ptr @none)
  br label %done
done:
  ret i32 %marked
}
"""


def view_text(places: Mapping[str, int], objects: Iterable[str]) -> str:
    """The parts that makers of views share. ``objects`` are the names that they are linked with.

    ``places`` are the offsets of a tensor's slots (A, NODE, V, X), of those of its facts (BASE,
    ROOT, REPLAY, GRAD, HOOKS, POST_HOOKS) and of an output's (OUTPUT, NR).
    """
    text = "".join((_CHECKS, _COUNTER, _REGISTER, _FACTS, _NODE, _SILENT))
    return object_text(objects) + placed(text, places)
